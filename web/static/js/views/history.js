// Tables of what was: fills, orders, events, receipts.

import { get, instancePath } from "../api.js";
import { fill, h } from "../dom.js";
import { dateTime, decimalsOf, fixed, moment, plain } from "../format.js";
import { hasText, t } from "../i18n.js";
import { receiptView } from "./receipt.js";

const LIMIT = 200;

/** Return a table; `columns`: `[key, align, cell(row)]`. */
function table(label, columns, rows) {
  if (!rows.length) return h("p", { class: "empty" }, t("history.none"));
  return h("div", { class: "scroll panel", tabindex: 0, role: "region", "aria-label": label }, h("table", { class: "plain" },
    h("thead", {}, h("tr", {}, columns.map(([key, align]) => h("th", { scope: "col", class: align }, t(key))))),
    h("tbody", {}, rows.map((each) => h("tr", {}, columns.map(([, align, cell]) => h("td", { class: align }, cell(each))))))));
}

/** Show what `read` gives; `refresh` reads again, `end` stops that. */
function shown(panel, read) {
  let current = true;
  const refresh = async () => {
    try {
      const content = await read();
      if (current) fill(panel, content);
    } catch (error) {
      if (current && error.status !== 0) fill(panel, h("p", { class: "problem", role: "alert" }, error.message));
    }
  };
  fill(panel, h("p", { class: "reading" }, t("history.reading")));
  refresh();
  return { refresh, end: () => (current = false) };
}

/** Return what writes an amount of a row, with as many decimals as any row of its column needs. */
function column(rows, name) {
  const decimals = decimalsOf(rows.map((each) => each[name] ?? "0"));
  return (each) => (each[name] === null ? "–" : fixed(each[name], decimals));
}

const side = (each) => h("span", { class: "side", data: { side: each.side } }, t(`side.${each.side}`));

/** Show fills, newest first, with orders below. */
export function showFills(panel, id) {
  const view = shown(panel, async () => {
    const [{ fills }, { orders }] = await Promise.all([
      get(instancePath(id, `/fills?limit=${LIMIT}`)),
      get(instancePath(id, `/orders?limit=${LIMIT}`)),
    ]);
    return [
      h("h2", {}, t("fills.title")),
      table(t("fills.title"), [
        ["fills.at", "", (each) => moment(each.filled_at_ms, { millis: true })],
        ["fills.side", "", side],
        ["fills.price", "right", column(fills, "price")],
        ["fills.quantity", "right", column(fills, "quantity")],
        ["fills.fee", "right", (each) => `${plain(each.fee)} ${each.fee_asset}`],
        ["fills.maker", "", (each) => t(each.is_maker ? "fills.is_maker" : "fills.is_taker")],
        ["fills.level", "right", (each) => (each.level === null ? "–" : String(each.level + 1))],
        ["fills.run", "right", (each) => String(each.epoch)],
        ["fills.order", "", (each) => each.order_id],
      ], fills),
      h("h2", {}, t("orders.title")),
      table(t("orders.title"), [
        ["orders.at", "", (each) => moment(each.updated_at_ms, { millis: true })],
        ["fills.side", "", side],
        ["fills.price", "right", column(orders, "price")],
        ["fills.quantity", "right", column(orders, "quantity")],
        ["orders.executed", "right", column(orders, "executed")],
        ["orders.status", "", (each) => each.status],
        ["fills.level", "right", (each) => (each.level === null ? "–" : String(each.level + 1))],
        ["fills.run", "right", (each) => String(each.epoch)],
        ["fills.order", "", (each) => each.order_id],
      ], orders),
    ];
  });
  const timer = setInterval(view.refresh, 5000);
  return () => {
    clearInterval(timer);
    view.end();
  };
}

/** Show what happened, newest first; new events come by themselves. */
export function showEvents(panel, id) {
  const view = shown(panel, async () => {
    const { events } = await get(instancePath(id, `/events?limit=${LIMIT}`));
    return [h("h2", {}, t("events.title")), table(t("events.title"), [
      ["events.at", "", (each) => dateTime(each.at_ms)],
      ["fills.run", "right", (each) => String(each.epoch)],
      ["events.event", "", (each) => eventText(each)],
      ["events.detail", "wrap", (each) => each.detail || detailOf(each)],
    ], [...events].reverse())];
  });
  const refresh = (event) => event.detail?.instance_id === id && view.refresh();
  addEventListener("stream:lifecycle", refresh);
  return () => {
    removeEventListener("stream:lifecycle", refresh);
    view.end();
  };
}

function eventText(each) {
  const key = each.event === "cleanup_step" ? `phase.${each.fields.step}` : `event.${each.event}`;
  return hasText(key) ? t(key) : each.phase || each.event;
}

function detailOf(each) {
  return Object.entries(each.fields).filter(([name, value]) => value && !["outcome", "step", "facts", "silence", "silent_s", "queue"].includes(name)).map(([name, value]) => `${name} ${value}`).join(" · ");
}

/** Show the receipts of all stops, newest first. */
export function showReceipts(panel, id) {
  const view = shown(panel, async () => {
    const { receipts } = await get(instancePath(id, "/receipts"));
    if (!receipts.length) return h("p", { class: "empty" }, t("receipts.none"));
    return [h("h2", {}, t("tab.receipts")), h("div", { class: "receipts" }, receipts.map(receiptView))];
  });
  const refresh = (event) => event.detail?.instance_id === id && event.detail.event === "finished" && view.refresh();
  addEventListener("stream:lifecycle", refresh);
  return () => {
    removeEventListener("stream:lifecycle", refresh);
    view.end();
  };
}
