// What the charts of one instance show: the past from the ledger, the present from the stream.

import { serverNow } from "./store.js";

/** As many points as a screen can show are enough. */
const MOST_POINTS = 4000;
/** Spans of quotes that ended so long ago are forgotten. */
const KEEP_MS = 65 * 60_000;

/** A chart that has just begun is not drawn wider than this. */
const LEAST_MS = 60_000;

class Line {
  times = [];
  values = [];

  take(pairs) {
    this.times = pairs.map(([at_ms]) => at_ms);
    this.values = pairs.map(([, value]) => Number(value));
  }

  add(at_ms, value) {
    if (!Number.isFinite(value) || at_ms <= (this.times.at(-1) ?? 0)) return;
    this.times.push(at_ms);
    this.values.push(value);
    if (this.times.length > MOST_POINTS) {
      this.times.splice(0, MOST_POINTS / 10);
      this.values.splice(0, MOST_POINTS / 10);
    }
  }
}

export class MarketData {
  minutes = 5;
  mid = new Line();
  position = new Line();
  profit = new Line();
  fills = [];
  #live = new Line();
  #position = null;
  #spans = [];
  #open = new Map();

  /** Return the time shown, `[from, to]` in ms: as long as asked for, or as far back as anything is known. */
  window() {
    const now_ms = serverNow();
    const first_ms = Math.min(this.mid.times[0] ?? now_ms, this.fills[0]?.at_ms ?? now_ms);
    return [Math.max(now_ms - this.minutes * 60_000, Math.min(first_ms, now_ms - LEAST_MS)), now_ms];
  }

  /** Take in the answer of `/series`. */
  takeSeries(series) {
    // The ledger also tells prices of fills: those have marks of their own, and lie beside the mid.
    const filled = new Set(series.fills.map((fill) => fill.at_ms));
    const past = series.mid.filter(([at_ms]) => !filled.has(at_ms));
    const live_from_ms = this.#live.times[0] ?? Infinity;
    const before = past.filter(([at_ms]) => at_ms < live_from_ms);
    this.mid.take([...before, ...this.#live.times.map((at_ms, index) => [at_ms, this.#live.values[index]])]);
    this.position.take(upToNow(series.position.length || this.#position === null ? series.position : [[this.window()[0], this.#position]]));
    this.profit.take(upToNow(series.profit));
    this.fills = series.fills.map((fill) => ({ ...fill, price: Number(fill.price) }));
  }

  /** Take in what the book and the own quotes are now. */
  takeTick({ mid, quotes, position, at_ms }) {
    // Known also where no fill is in the time shown.
    if (position !== null && position !== undefined) this.#position = position;
    if (mid !== null && mid !== undefined) {
      this.#live.add(at_ms, Number(mid));
      this.mid.add(at_ms, Number(mid));
    }
    const seen = new Set();
    for (const quote of quotes.filter(({ price }) => price !== null)) {
      const key = `${quote.side} ${quote.price}`;
      seen.add(key);
      const open = this.#open.get(key);
      if (open) open.to_ms = at_ms;
      else this.#open.set(key, { from_ms: at_ms, to_ms: at_ms, side: quote.side, price: Number(quote.price), level: outwards(quote, quotes) });
    }
    for (const [key, span] of this.#open) {
      if (seen.has(key)) continue;
      this.#open.delete(key);
      this.#spans.push({ ...span, to_ms: at_ms });
    }
    const oldest_ms = at_ms - KEEP_MS;
    while (this.#spans.length && this.#spans[0].to_ms < oldest_ms) this.#spans.shift();
    for (const line of [this.position, this.profit]) {
      // Both hold until the next fill.
      if (line.values.length) line.add(at_ms, line.values.at(-1));
    }
  }

  /** Yield from when to when each own quote rested, as far as this page saw it. */
  *quoteSpans() {
    const [from_ms] = this.window();
    for (const span of this.#spans) if (span.to_ms >= from_ms) yield span;
    yield* this.#open.values();
  }

  /** Return the fills in the time shown. */
  visibleFills() {
    const [from_ms] = this.window();
    return this.fills.filter((fill) => fill.at_ms >= from_ms);
  }

  /** Return the lowest and highest price shown, nulls when there is none. */
  priceRange() {
    const [from_ms] = this.window();
    let low = Infinity;
    let high = -Infinity;
    const see = (price) => {
      if (price < low) low = price;
      if (price > high) high = price;
    };
    this.mid.times.forEach((at_ms, index) => at_ms >= from_ms && see(this.mid.values[index]));
    for (const span of this.quoteSpans()) see(span.price);
    for (const fill of this.visibleFills()) see(fill.price);
    return low <= high ? [low, high] : [null, null];
  }

  /** Return what a line was at a time, undefined before its first point. */
  static valueAt(line, at_ms) {
    let low = 0;
    let high = line.times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (line.times[middle] <= at_ms) low = middle + 1;
      else high = middle;
    }
    return line.values[low - 1];
  }
}

/** Return how many quotes of its side are nearer to the touch. */
function outwards({ side, price }, quotes) {
  const sign = side === "buy" ? 1 : -1;
  return quotes.filter((other) => other.side === side && sign * (Number(other.price) - Number(price)) > 0).length;
}

function upToNow(pairs) {
  return pairs.length ? [...pairs, [Math.max(serverNow(), pairs.at(-1)[0] + 1), pairs.at(-1)[1]]] : pairs;
}
