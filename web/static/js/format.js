// Numbers and times as people read them. Money arrives as text and is only rounded for the eye.

import { currentLanguage, t } from "./i18n.js";

const MINUS = "−";

/** Return a number with a fixed count of decimals, and a true minus sign. */
export function fixed(value, decimals) {
  const number = Number(value);
  if (!Number.isFinite(number)) return "–";
  const text = Math.abs(number).toLocaleString("en-US", {
    minimumFractionDigits: decimals,
    maximumFractionDigits: decimals,
  });
  return number < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

/** Return a price or a quantity as it was written, without needless zeros. */
export function plain(value) {
  if (value === null || value === undefined || value === "") return "–";
  const text = String(value);
  if (!/^-?\d+(\.\d+)?$/.test(text)) return text;
  const short = text.includes(".") ? text.replace(/\.?0+$/, "") : text;
  return short.startsWith("-") ? MINUS + short.slice(1) : short;
}

/** Return a price as it was written, its thousands set apart. */
export function grouped(value) {
  return value === null || value === undefined ? "–" : fixed(value, decimalsOf([value]));
}

/** Return how many decimals a list of written numbers needs at most. */
export function decimalsOf(values) {
  return values.reduce((most, value) => Math.max(most, plain(value).split(".")[1]?.length ?? 0), 0);
}

/** Return a profit with its sign; cents, or four decimals where those would hide it. */
export function signed(value) {
  if (value === null || value === undefined) return "–";
  const number = Number(value);
  const size = Math.abs(number);
  const text = fixed(size, size > 0 && size < 0.1 ? 4 : 2);
  if (!/[1-9]/.test(text)) return text;
  return (number < 0 ? MINUS : "+") + text;
}

/** Return -1, 0 or 1. */
export function signOf(value) {
  return Math.sign(Number(value ?? 0)) || 0;
}

/** Return a length of time, ms in: `42 ms`, `1.4 s`, `3 min`, `2 h`. */
export function duration(ms) {
  if (ms === null || ms === undefined) return "–";
  const size = Math.abs(ms);
  const sign = ms < 0 ? MINUS : "";
  if (size < 1000) return `${sign}${Math.round(size)} ms`;
  if (size < 60_000) return `${sign}${(size / 1000).toFixed(1)} s`;
  if (size < 3_600_000) return `${sign}${Math.floor(size / 60_000)} min ${Math.floor((size % 60_000) / 1000)} s`;
  if (size < 86_400_000) return `${sign}${Math.floor(size / 3_600_000)} h ${Math.floor((size % 3_600_000) / 60_000)} min`;
  return `${sign}${Math.floor(size / 86_400_000)} d`;
}

/** Return seconds since something, as the phases of a stop are timed. */
export function after(ms) {
  return `${ms < 0 ? MINUS : "+"}${(Math.abs(ms) / 1000).toFixed(3)} s`;
}

/** Return the time of day, with milliseconds where asked for. */
export function clock(ms, { millis = false } = {}) {
  if (!ms) return "–";
  const at = new Date(ms);
  const text = at.toLocaleTimeString("en-GB", { hour12: false });
  return millis ? `${text}.${String(at.getMilliseconds()).padStart(3, "0")}` : text;
}

/** Return date and time of day. */
export function dateTime(ms) {
  if (!ms) return "–";
  const at = new Date(ms);
  const day = at.toLocaleDateString(currentLanguage() === "zh-TW" ? "zh-TW" : "en-CA", {
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
  });
  return `${day} ${clock(ms)}`;
}

/** Return when something was: the time of day, with the date where that was another day. */
export function moment(ms, { millis = false } = {}) {
  const isToday = ms && new Date(ms).toDateString() === new Date().toDateString();
  return isToday ? clock(ms, { millis }) : dateTime(ms);
}

/** Return the time until something is due, for a row of the list. */
export function until(due_ms, now_ms) {
  if (!due_ms) return "–";
  const left_ms = due_ms - now_ms;
  if (left_ms <= 0) return t("due.now");
  return left_ms < 60_000 ? `${(left_ms / 1000).toFixed(left_ms < 10_000 ? 1 : 0)} s` : duration(left_ms);
}
