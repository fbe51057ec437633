// The server's events, followed for as long as the page is open: it reconnects by itself and says when it cannot.
//
// Not `EventSource`: that one gives up for good on any answer but 200, cannot be told where to go on, and does not
// notice a connection that has silently died.

import { openStream } from "./api.js";

/** The server sends something at least every 15 s. */
const SILENCE_MS = 35_000;
const RETRIES_MS = [300, 1000, 2000, 3000, 5000];
/** A browser has six connections for a server: tabs that nobody looks at give theirs back. */
const HIDDEN_MS = 60_000;

export class Stream {
  #handlers;
  #instance = null;
  #abort = null;
  #lastId = "";
  #failures = 0;
  #timer = 0;
  #silence = 0;
  #hidden = 0;
  #running = false;

  /** `handlers`: `event(name, data, id)`, `live()`, `lost(retry_ms)`, `signedOut()`. */
  constructor(handlers) {
    this.#handlers = handlers;
    addEventListener("online", () => this.#retryNow());
    addEventListener("offline", () => this.#abort?.abort());
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /** Follow everything, and closely `instance` where one is given. */
  follow(instance) {
    if (this.#running && instance === this.#instance) return;
    this.#instance = instance;
    this.#running = true;
    this.#connect();
  }

  /** End it. */
  end() {
    this.#running = false;
    clearTimeout(this.#timer);
    this.#abort?.abort();
    this.#lastId = "";
  }

  #visibility() {
    clearTimeout(this.#hidden);
    if (document.hidden) {
      this.#hidden = setTimeout(() => this.#running && this.#pause(), HIDDEN_MS);
    } else if (this.#running && this.#abort === null) this.#retryNow();
  }

  #pause() {
    clearTimeout(this.#timer);
    const abort = this.#abort;
    this.#abort = null;
    abort?.abort();
  }

  #retryNow() {
    if (!this.#running) return;
    this.#failures = 0;
    this.#connect();
  }

  async #connect() {
    clearTimeout(this.#timer);
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    try {
      this.#watch(abort);
      const answer = await openStream({ instance: this.#instance, lastId: this.#lastId, signal: abort.signal });
      if (this.#abort !== abort) return;
      if (answer.status === 401) {
        this.end();
        this.#handlers.signedOut();
        return;
      }
      if (!answer.ok) throw new Error(`event stream: ${answer.status}`);
      this.#failures = 0;
      this.#handlers.live();
      await this.#read(answer.body.getReader(), abort);
      throw new Error("event stream ended");
    } catch (error) {
      // Another connection, or none, has taken this one's place.
      if (this.#abort !== abort || !this.#running) return;
      console.info("event stream:", error.message);
      this.#retryLater();
    } finally {
      if (this.#abort === abort) clearTimeout(this.#silence);
    }
  }

  #retryLater() {
    this.#abort = null;
    const wait_ms = RETRIES_MS[Math.min(this.#failures, RETRIES_MS.length - 1)];
    this.#failures += 1;
    this.#handlers.lost(wait_ms);
    this.#timer = setTimeout(() => this.#connect(), wait_ms);
  }

  #watch(abort) {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(() => abort.abort(), SILENCE_MS);
  }

  async #read(reader, abort) {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#watch(abort);
      rest += decoder.decode(value, { stream: true });
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) if (this.#abort === abort) this.#take(block);
    }
  }

  #take(block) {
    let name = "message";
    let id = "";
    const data = [];
    for (const line of block.split(/\r?\n/)) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("id:")) id = line.slice(3).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5));
    }
    if (id) this.#lastId = id;
    if (!data.length) return;
    let value;
    try {
      value = JSON.parse(data.join("\n"));
    } catch {
      console.warn("event stream: no JSON in", name);
      return;
    }
    this.#handlers.event(name, value, id);
  }
}
