// What the server last said of every instance, and its clock.

const rows = new Map();
const listeners = new Set();
let offset_ms = 0;

/** Return the time on the server's clock, Unix ms. */
export function serverNow() {
  return Date.now() + offset_ms;
}

/** Take in what time the server says it is. */
export function setServerTime(server_ms) {
  if (Number.isFinite(server_ms)) offset_ms = server_ms - Date.now();
}

/** Return one row, undefined when there is none. */
export function row(id) {
  return rows.get(id);
}

/** Return all rows. */
export function allRows() {
  return rows;
}

/** Take in rows; `complete` forgets those that are not among them, `gone` names some to forget. */
export function takeRows(list, { complete = false, gone = [] } = {}) {
  const changed = [];
  for (const id of gone) rows.delete(id);
  for (const each of list) {
    rows.set(each.instance_id, { ...rows.get(each.instance_id), ...each });
    changed.push(each.instance_id);
  }
  if (complete) {
    const known = new Set(changed);
    for (const id of rows.keys()) if (!known.has(id)) rows.delete(id);
  }
  for (const listener of listeners) listener(changed, complete || gone.length > 0);
}

/** Call `listener(ids, complete)` at every change; returns what ends it. */
export function onRows(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Return the state of a row as people see it: `paused` is one, though the phase is `running`. */
export function stateOf(each) {
  if (!each) return "unknown";
  return each.phase === "running" && each.paused ? "paused" : (each.phase ?? "unknown");
}

/** Return how many instances run, those that stop not among them. */
export function runningCount() {
  let count = 0;
  for (const each of rows.values()) if (each.phase === "running") count += 1;
  return count;
}
