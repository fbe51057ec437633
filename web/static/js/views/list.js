// All instances: one row each, changed in place.

import { fill, h, reorder, setAttr, setText } from "../dom.js";
import { signed, signOf } from "../format.js";
import { t } from "../i18n.js";
import { STATES } from "../mark.js";
import { allRows, onRows, row, runningCount, serverNow, stateOf } from "../store.js";
import { COLUMNS, newRow, showDue, updateRow, valueFor } from "./list_row.js";
import { askStopAll } from "./stop_all.js";

/** Rows that change sort order by themselves do not jump about more often than this. */
const REORDER_MS = 2000;
const DUE_MS = 500;

/** What the user chose, kept while the page is open. */
const chosen = { search: "", state: "all", sort: "instance", descending: false };

/** Show the list; returns what takes it away. */
export function showList(main) {
  const view = new List(main);
  return () => view.end();
}

class List {
  #rows = new Map();
  #body = h("tbody", { role: "rowgroup" });
  #filters = new Map();
  #headers = new Map();
  #totals = h("p", { class: "totals" });
  #count = h("p", { class: "count", role: "status" });
  #empty = h("p", { class: "empty" }, t("list.none"));
  #stopAll;
  #timers;
  #unsubscribe;
  #order_due = false;
  #reordered_at = 0;
  #search;

  constructor(main) {
    document.title = `${t("list.title")} · Cleanbook`;
    this.#stopAll = h("button", { class: "danger", type: "button", on: { click: () => askStopAll(runningCount()) } }, t("list.stop_all"));
    fill(main, this.#head(), this.#tools(), this.#table(), this.#empty);
    this.#take([...allRows().keys()], true);
    this.#unsubscribe = onRows((ids, complete) => this.#take(ids, complete));
    this.#timers = [setInterval(() => this.#tick(), DUE_MS)];
    this.onKey = (event) => this.#key(event);
    addEventListener("keydown", this.onKey);
  }

  end() {
    this.#unsubscribe();
    this.#timers.forEach(clearInterval);
    removeEventListener("keydown", this.onKey);
  }

  #head() {
    return h("div", { class: "head" }, h("h1", {}, t("list.title")), this.#totals, h("span", { class: "spring" }), this.#stopAll);
  }

  #tools() {
    this.#search = h("input", {
      type: "search",
      id: "search",
      value: chosen.search,
      placeholder: t("list.search"),
      "aria-label": t("list.search"),
      "aria-keyshortcuts": "/",
      on: { input: (event) => this.#choose({ search: event.target.value }) },
    });
    const filters = ["all", ...STATES].map((state) => {
      const button = h("button", { type: "button", "aria-pressed": "false", data: { state }, on: { click: () => this.#choose({ state }) } },
        h("i", { class: "mark", "aria-hidden": "true" }), h("span", {}, t(`state.${state}`)), h("b", {}, "0"));
      this.#filters.set(state, button);
      return button;
    });
    const sort = h("select", { class: "sort", "aria-label": t("list.sort"), on: { change: (event) => this.#choose({ sort: event.target.value, descending: false }) } },
      COLUMNS.map((column) => h("option", { value: column.key, selected: column.key === chosen.sort }, t(`column.${column.key}`))));
    return h("div", { class: "tools" }, this.#search, h("div", { class: "filters", role: "group", "aria-label": t("list.filter") }, filters), sort, this.#count);
  }

  #table() {
    const heads = COLUMNS.map((column) => {
      const button = h("button", { type: "button", on: { click: () => this.#sortBy(column.key) } }, t(`column.${column.key}`));
      const head = h("th", { role: "columnheader", scope: "col", class: column.align ?? null }, button);
      this.#headers.set(column.key, head);
      return head;
    });
    return h("table", { class: "instances", role: "table", "aria-label": t("list.title") },
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), this.#body);
  }

  #key(event) {
    const typing = /^(input|textarea|select)$/i.test(event.target.tagName);
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.#search.focus();
  }

  #choose(choice) {
    Object.assign(chosen, choice);
    this.#arrange();
  }

  #sortBy(key) {
    this.#choose({ sort: key, descending: chosen.sort === key ? !chosen.descending : false });
  }

  #take(ids, complete) {
    for (const id of ids) {
      const each = row(id);
      if (!each) continue;
      let held = this.#rows.get(id);
      if (!held) this.#rows.set(id, (held = newRow(each)));
      updateRow(held, each);
      showDue(held, serverNow());
    }
    if (complete) for (const id of this.#rows.keys()) if (!row(id)) this.#rows.delete(id);
    this.#summary();
    this.#order_due = true;
    if (complete) this.#arrange();
  }

  #tick() {
    const now_ms = serverNow();
    for (const held of this.#rows.values()) showDue(held, now_ms);
    if (this.#order_due && performance.now() - this.#reordered_at > REORDER_MS) this.#arrange();
  }

  #summary() {
    const counts = Object.fromEntries(STATES.map((state) => [state, 0]));
    const profits = new Map();
    for (const each of allRows().values()) {
      counts[stateOf(each)] += 1;
      const asset = each.profit_asset;
      if (!asset || each.profit_today === null || each.profit_today === undefined) continue;
      profits.set(asset, (profits.get(asset) ?? 0) + Number(each.profit_today));
    }
    counts.all = allRows().size;
    for (const [state, button] of this.#filters) {
      setText(button.lastElementChild, String(counts[state]));
      // A state that nobody is in needs no button, unless it is the one that is chosen.
      button.hidden = counts[state] === 0 && state !== "all" && state !== chosen.state;
    }
    const running = runningCount();
    this.#stopAll.disabled = running === 0;
    setText(this.#stopAll, running ? t("list.stop_all_count", { count: running }) : t("list.stop_all"));
    const parts = [...profits].sort().map(([asset, sum]) =>
      h("span", { class: "profit", data: { sign: String(signOf(sum)) } }, `${signed(sum)} ${asset}`));
    const text = parts.map((part) => part.textContent).join();
    if (this.#totals.dataset.text !== text) {
      this.#totals.dataset.text = text;
      fill(this.#totals, parts.length ? h("span", {}, t("list.today")) : null, parts);
    }
  }

  #arrange() {
    this.#order_due = false;
    this.#reordered_at = performance.now();
    const words = chosen.search.toLowerCase().split(/\s+/).filter(Boolean);
    const found = [...allRows().values()].filter((each) => matches(each, words));
    const direction = chosen.descending ? -1 : 1;
    found.sort((one, other) => direction * compare(valueFor(one, chosen.sort), valueFor(other, chosen.sort)) || compare(one.instance_id, other.instance_id));
    reorder(this.#body, found.map((each) => this.#rows.get(each.instance_id).element));
    for (const [key, head] of this.#headers) setAttr(head, "aria-sort", key !== chosen.sort ? null : chosen.descending ? "descending" : "ascending");
    for (const [state, button] of this.#filters) setAttr(button, "aria-pressed", String(state === chosen.state));
    const all = allRows().size;
    setText(this.#count, found.length === all ? t("list.count", { count: all }) : t("list.count_of", { count: found.length, all }));
    this.#empty.hidden = found.length > 0;
    setText(this.#empty, all ? t("list.none_found") : t("list.none"));
  }
}

function matches(each, words) {
  if (chosen.state !== "all" && stateOf(each) !== chosen.state) return false;
  const text = [each.instance_id, each.strategy, each.symbol, each.exchange, each.account, each.last_error].join(" ").toLowerCase();
  return words.every((word) => text.includes(word));
}

function compare(one, other) {
  if (typeof one === "number" && typeof other === "number") return one - other;
  return String(one).localeCompare(String(other), "en", { numeric: true });
}
