// One row of the list: its cells are made once, then only what changed is written.

import { h, setAttr, setText } from "../dom.js";
import { duration, plain, signed, signOf, until } from "../format.js";
import { t } from "../i18n.js";
import { showState, stateMark } from "../mark.js";
import { stateOf } from "../store.js";

/** An iteration that begins later than this is worth a look. */
export const LATE_MS = 1000;

/** The columns, in their order. Failed instances sort before the others: they need somebody. */
export const COLUMNS = [
  { key: "state", value: (each) => ["failed", "stopping", "unknown", "paused", "running", "stopped"].indexOf(stateOf(each)) },
  { key: "instance", value: (each) => each.instance_id },
  { key: "strategy", value: (each) => each.strategy ?? "" },
  { key: "symbol", value: (each) => each.symbol ?? "" },
  { key: "profit", align: "right", value: (each) => -numberOr(each.profit_today, 0) },
  { key: "position", align: "right", value: (each) => -Math.abs(numberOr(each.position, 0)) },
  { key: "orders", align: "right", value: (each) => -numberOr(each.open_orders, 0) },
  { key: "next", align: "right", value: (each) => numberOr(each.next_due_ms, Number.MAX_SAFE_INTEGER) },
  { key: "late", align: "right", value: (each) => -numberOr(each.lateness_ms, -1) },
  { key: "error", value: (each) => (each.last_error ? `0${each.last_error}` : "1") },
];

const VALUES = new Map(COLUMNS.map((column) => [column.key, column.value]));

/** Return by what a row is sorted in a column. */
export function valueFor(each, key) {
  return VALUES.get(key)(each);
}

function numberOr(value, otherwise) {
  const number = Number(value ?? Number.NaN);
  return Number.isFinite(number) ? number : otherwise;
}

/** Return the elements of a row. */
export function newRow(each) {
  const cells = {};
  for (const { key, align } of COLUMNS) cells[key] = h("td", { role: "cell", class: align ?? null, data: { column: key } });
  cells.state.append(stateMark(stateOf(each)));
  cells.instance.append(h("a", { href: `#/instances/${encodeURIComponent(each.instance_id)}` }, each.instance_id), h("span", { class: "tag" }));
  for (const key of ["profit", "position", "orders", "next", "late"]) cells[key].dataset.label = t(`column.${key}`);
  const element = h("tr", { role: "row", data: { id: each.instance_id } }, COLUMNS.map(({ key }) => cells[key]));
  // The whole row is a target for a pointer; keyboards and screen readers have the link.
  element.addEventListener("click", (event) => {
    if (!event.target.closest("a") && !getSelection()?.toString()) cells.instance.firstElementChild.click();
  });
  return { element, cells, due_ms: null };
}

/** Write what changed. */
export function updateRow({ element, cells }, each) {
  const state = stateOf(each);
  element.dataset.state = state;
  showState(cells.state.firstElementChild, state);
  const tag = cells.instance.lastElementChild;
  setText(tag, each.live ? t("tag.live") : t("tag.sim"));
  setAttr(tag, "data-live", String(Boolean(each.live)));
  setText(cells.strategy, each.strategy ?? "–");
  setText(cells.symbol, each.symbol ?? "–");
  setText(cells.profit, signed(each.profit_today));
  setAttr(cells.profit, "data-sign", String(signOf(each.profit_today)));
  setAttr(cells.profit, "title", each.profit_today ? `${each.profit_today} ${each.profit_asset ?? ""}` : null);
  setText(cells.position, plain(each.position));
  setText(cells.orders, each.open_orders === null || each.open_orders === undefined ? "–" : String(each.open_orders));
  const active = stateOf(each) === "running";
  setText(cells.late, active ? duration(each.lateness_ms) : "–");
  setAttr(cells.late, "data-late", String(active && numberOr(each.lateness_ms, 0) > LATE_MS));
  const error = each.last_error ? String(each.last_error.message ?? each.last_error) : "";
  setText(cells.error, error);
  setAttr(cells.error, "title", error || null);
  cells.next.dataset.due = active ? String(each.next_due_ms ?? "") : "";
}

/** Write how long it is until the next iteration. */
export function showDue({ cells }, now_ms) {
  setText(cells.next, until(Number(cells.next.dataset.due), now_ms));
}

