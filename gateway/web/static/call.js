// Asking the gateway: JSON there and JSON back, and a refusal in the gateway's own words.

// A gateway that hangs is to be noticed, and not to be waited for.
const WAIT_MILLISECONDS = 10_000;

export class Refused extends Error {
  constructor(detail, status) {
    super(detail);
    this.status = status;
  }
}

// Raises `Refused`, or what `fetch` does where there was no answer.
export async function call(method, path, { body, token, headers = {} } = {}) {
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token !== undefined) headers.Authorization = "Bearer " + token;
  const signal = AbortSignal.timeout(WAIT_MILLISECONDS);
  const options = { method, headers, signal, credentials: "omit", cache: "no-store" };
  if (body !== undefined) options.body = JSON.stringify(body);
  const answer = await fetch(new URL(path, document.baseURI), options);
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refused(content.detail ?? content.message ?? `error ${answer.status}`, answer.status);
  }
  return content;
}
