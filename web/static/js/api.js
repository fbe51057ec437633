// Calls to the HTTP API of this server.

const BASE = "/api/v1";
const TIMEOUT_MS = 15_000;

/** What went wrong with a call. `status` 0: the server could not be reached. */
export class ApiError extends Error {
  constructor(status, code, message, errors = []) {
    super(message);
    this.status = status;
    this.code = code;
    /** For each field that was refused: `{field, value, message, allowed}`. */
    this.errors = errors;
  }
}

let csrf = "";
let onSignedOut = () => {};

/** Set what happens when the server no longer knows the session. */
export function whenSignedOut(action) {
  onSignedOut = action;
}

/** Return who is signed in, null when nobody is. */
export async function currentSession() {
  try {
    const session = await call("GET", "/session", undefined, { quiet: true });
    csrf = session.csrf ?? "";
    return session;
  } catch (error) {
    if (error.status === 401) return null;
    throw error;
  }
}

/** Sign in with the password. */
export async function signIn(password) {
  await call("POST", "/session", { password }, { quiet: true });
  return currentSession();
}

/** Sign out. */
export async function signOut() {
  await call("DELETE", "/session");
  csrf = "";
}

export const get = (path) => call("GET", path);
export const post = (path, body = {}) => call("POST", path, body);
export const put = (path, body) => call("PUT", path, body);

/** Return the path of an instance, and of what is below it. */
export function instancePath(id, rest = "") {
  return `/instances/${encodeURIComponent(id)}${rest}`;
}

/** Open the event stream; the caller reads its body. */
export function openStream({ instance, lastId, signal }) {
  const headers = { Accept: "text/event-stream" };
  if (lastId) headers["Last-Event-ID"] = lastId;
  const query = instance ? `?instance=${encodeURIComponent(instance)}` : "";
  return fetch(`${BASE}/events/stream${query}`, { headers, signal, cache: "no-store" });
}

async function call(method, path, body, { quiet = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  let answer;
  try {
    answer = await fetch(BASE + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      cache: "no-store",
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new ApiError(0, "unreachable", error.message);
  }
  const value = await readJson(answer);
  if (answer.ok) return value;
  if (answer.status === 401 && !quiet) onSignedOut();
  const told = value?.error ?? {};
  throw new ApiError(
    answer.status,
    told.code ?? "error",
    told.message ?? `${answer.status} ${answer.statusText}`,
    told.errors ?? [],
  );
}

async function readJson(answer) {
  const text = await answer.text();
  if (!text) return {};
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
