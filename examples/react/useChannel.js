import { useEffect, useState } from "react";

// Listens to a channel for as long as the component is there.
//
// `client` is a connected Centrifuge client, one for the whole application; what was published
// while its connection was away comes as well, in its place. Returns the newest messages, oldest
// first, the state of the subscription, and whether something was missed for good.
export function useChannel(client, channel, { messagesMax = 200 } = {}) {
  const [state, setState] = useState("subscribing");
  const [messages, setMessages] = useState([]);
  const [isIncomplete, setIncomplete] = useState(false);

  useEffect(() => {
    setState("subscribing");
    setMessages([]);
    setIncomplete(false);
    const subscription = client.newSubscription(channel);
    subscription.on("state", ({ newState }) => setState(newState));
    subscription.on("subscribed", ({ wasRecovering, recovered }) => {
      if (wasRecovering && !recovered) setIncomplete(true);
    });
    subscription.on("publication", ({ data, offset, info }) =>
      setMessages((before) =>
        [...before, { data, offset, user: info?.user }].slice(-messagesMax)));
    subscription.subscribe();
    return () => {
      // Not only unsubscribed: the client would keep it, and refuse a second one of that name.
      subscription.removeAllListeners();
      client.removeSubscription(subscription);
    };
  }, [client, channel, messagesMax]);

  return { state, messages, isIncomplete };
}
