// Who we are to the gateway: signing in, and the tokens that come of it.

import { call } from "./call.js";

// In sessionStorage, which ends with the tab and is no other tab's: a reload goes on, and a token
// does not lie about on a machine that others use. Never in a URL, which histories and logs keep.
const KEEP_AT = "gateway.token";

export class Account {
  // In memory alone: it works once, and a duplicated tab would bring its copy as a second use.
  #refreshToken = "";

  constructor(token, refreshToken = "") {
    this.token = token;
    this.#refreshToken = refreshToken;
    sessionStorage.setItem(KEEP_AT, token);
  }

  static remembered() {
    const token = sessionStorage.getItem(KEEP_AT);
    return token ? new Account(token) : null;
  }

  static async logIn(username, password) {
    return Account.#from(await call("POST", "login", { body: { username, password } }));
  }

  static async register(username, password) {
    await call("POST", "register", { body: { username, password } });
    return Account.logIn(username, password);
  }

  // Where the gateway runs as a demo a name is enough.
  static async comeIn(name) {
    return Account.#from(await call("POST", "login?username=" + encodeURIComponent(name)));
  }

  static #from({ access_token, refresh_token }) {
    return new Account(access_token, refresh_token);
  }

  // For showing alone; what is in a token counts where it is verified.
  get name() {
    try {
      const body = this.token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      const bytes = Uint8Array.from(atob(body), (each) => each.charCodeAt(0));
      return String(JSON.parse(new TextDecoder().decode(bytes)).sub);
    } catch {
      return "";
    }
  }

  get canRefresh() {
    return this.#refreshToken !== "";
  }

  async refresh() {
    const answer = await call("POST", "refresh", { body: { refresh_token: this.#refreshToken } });
    this.token = answer.access_token;
    this.#refreshToken = answer.refresh_token;
    sessionStorage.setItem(KEEP_AT, this.token);
    return this.token;
  }

  // The tokens end on the gateway, too, where it can be reached.
  async logOut() {
    this.forget();
    await call("POST", "logout", { token: this.token });
  }

  forget() {
    sessionStorage.removeItem(KEEP_AT);
  }
}
