// One user: the account, its logins, and its connections on all replicas.

import { $, element } from "../view.js";
import { count, moment } from "./words.js";

const NAMES_MAX = 100;

export function showUser({ user, account, logins, connections, missing }, { disconnect }) {
  $("user").hidden = false;
  $("user-name").textContent = user;
  $("user-account").textContent = account
    ? `Roles: ${account.roles.join(", ") || "none"}.${account.disabled ? " Disabled." : ""}`
    : "No account here; tokens of that name may come from elsewhere.";
  $("user-missing").textContent = missing;
  $("user-missing").hidden = missing === "";
  $("logins").replaceChildren(...lines(logins, ({ started_at: since, expires_at: until }) =>
    element("li", "", `since ${moment(since)}, until ${moment(until)} at the latest`)));
  $("connections").replaceChildren(...lines(connections, (one) => connectionLine(one, disconnect)));
  $("disconnect").disabled = connections.length === 0;
}

export function showConnected(users, { choose }) {
  const shown = users.slice(0, NAMES_MAX).map(({ user, connections }) => {
    const button = element("button", "small quiet", connections > 1 ? `${user} × ${connections}` : user);
    button.type = "button";
    button.addEventListener("click", () => choose(user));
    const line = element("li");
    line.append(button);
    return line;
  });
  if (users.length > NAMES_MAX) shown.push(element("li", "", `and ${users.length - NAMES_MAX} more`));
  $("connected").replaceChildren(...(shown.length ? shown : [nobody()]));
  $("connected").hidden = false;
}

function lines(items, lineOf) {
  return items.length ? items.map(lineOf) : [nobody()];
}

const nobody = () => element("li", "empty", "None.");

function connectionLine(connection, disconnect) {
  const { replica, client, channels, channel_count: all, roles, expires_at: end } = connection;
  const more = all > channels.length ? ` and ${all - channels.length} more` : "";
  const line = element("li");
  line.append(element("span", "", `${replica}: ${channels.join(", ") || count(0, "channel")}${more}; ` +
    `roles: ${roles.join(", ") || "none"}; token until ${moment(end)} `));
  if (client) {
    // Sockets of one channel have no id, and go with all that the user has.
    const button = element("button", "small quiet", "Disconnect");
    button.type = "button";
    button.setAttribute("aria-label", `Disconnect this connection on ${replica}`);
    button.addEventListener("click", () => disconnect(client));
    line.append(button);
  }
  return line;
}
