import { createElement } from "react";
import { useChannel } from "./useChannel.js";

// With JSX: <ol>{messages.map(({ offset, data }) => <li key={offset}>{data}</li>)}</ol>
export function Channel({ client, name }) {
  const { state, messages, isIncomplete } = useChannel(client, name);
  return createElement(
    "section",
    { "data-state": state },
    isIncomplete && createElement("p", null, "Some messages were missed."),
    createElement(
      "ol",
      null,
      messages.map(({ offset, data }) => createElement("li", { key: offset }, data)),
    ),
  );
}
