// The market tab of an instance: charts, and the ladder beside the book.

import { get, instancePath } from "../api.js";
import { MarketCharts } from "../chart.js";
import { fill, h, setText } from "../dom.js";
import { clock, fixed, grouped, plain, signed } from "../format.js";
import { t } from "../i18n.js";
import { MarketData } from "../market_data.js";
import { serverNow } from "../store.js";
import { Ladder } from "./ladder.js";

const MINUTES = [5, 15, 60, 240];
/** Fills and what follows from them come from the ledger, which a feed keeps. */
const SERIES_MS = 5000;
const SUMMARY_MS = 15_000;

/** Show the market of an instance; returns what takes it away. */
export function showMarket(panel, id) {
  const view = new MarketView(panel, id);
  return () => view.end();
}

class MarketView {
  #id;
  #data = new MarketData();
  #ladder = new Ladder();
  #charts;
  #canvas;
  #readout = h("p", { class: "readout", "aria-hidden": "true" });
  #age = h("p", { class: "age" });
  #problem = h("p", { class: "problem", role: "alert" });
  #timers;
  #summary_at = 0;
  /** Where the pointer is, null when it is elsewhere: then the newest is told. */
  #pointer_ms = null;
  #onTick = (event) => this.#tick(event.detail);
  #onBack = () => this.#readAll();

  constructor(panel, id) {
    this.#id = id;
    this.#canvas = h("div", { class: "charts", role: "img", "aria-label": t("chart.title") });
    const ranges = h("div", { class: "ranges", role: "group", "aria-label": t("chart.range") }, MINUTES.map((minutes) =>
      h("button", { type: "button", "aria-pressed": String(minutes === this.#data.minutes), on: { click: (event) => this.#range(event.currentTarget, minutes) } },
        minutes < 60 ? t("chart.minutes", { count: minutes }) : t("chart.hours", { count: minutes / 60 }))));
    fill(panel, this.#problem, h("div", { class: "market" },
      h("section", { class: "panel chart", "aria-label": t("chart.title") },
        h("div", { class: "chart-head" }, legend(), h("span", { class: "spring" }), ranges), this.#readout, this.#canvas),
      h("section", { class: "panel book", "aria-label": t("ladder.title") }, h("div", { class: "chart-head" }, h("h2", {}, t("ladder.title")), h("span", { class: "spring" }), this.#age), this.#ladder.element)));
    this.#charts = new MarketCharts(this.#canvas, this.#data, {
      titles: { price: t("chart.price"), position: t("chart.position"), profit: t("chart.profit") },
      read: (at_ms) => this.#read(at_ms),
    });
    addEventListener("stream:tick", this.#onTick);
    addEventListener("stream:back", this.#onBack);
    this.#timers = [setInterval(() => this.#readSeries(), SERIES_MS), setInterval(() => this.#charts.draw(), 1000)];
    this.#readAll();
  }

  end() {
    removeEventListener("stream:tick", this.#onTick);
    removeEventListener("stream:back", this.#onBack);
    this.#timers.forEach(clearInterval);
    this.#charts.end();
  }

  #range(button, minutes) {
    this.#data.minutes = minutes;
    for (const other of button.parentElement.children) other.setAttribute("aria-pressed", String(other === button));
    this.#readSeries();
  }

  async #readAll() {
    await this.#readSeries();
    try {
      const [market, { quotes }] = await Promise.all([get(instancePath(this.#id, "/market")), get(instancePath(this.#id, "/quotes"))]);
      this.#show(market, quotes);
    } catch (error) {
      setText(this.#problem, error.message);
    }
  }

  async #readSeries() {
    if (document.hidden) return;
    try {
      this.#data.takeSeries(await get(instancePath(this.#id, `/series?minutes=${this.#data.minutes}`)));
      setText(this.#problem, "");
      this.#charts.draw();
    } catch (error) {
      // A lost connection has its banner.
      if (error.status !== 0) setText(this.#problem, error.message);
    }
  }

  #tick(tick) {
    if (tick.instance_id === this.#id) this.#show(tick.market, tick.quotes, tick.position);
  }

  #show(market, quotes, position) {
    const at_ms = serverNow();
    this.#data.takeTick({ mid: market.mid, quotes, position, at_ms });
    this.#ladder.show(market, quotes);
    setText(this.#age, market.at_ms ? clock(market.at_ms) : t("ladder.no_feed"));
    this.#charts.draw();
    this.#tellFigures();
    if (at_ms - this.#summary_at < SUMMARY_MS) return;
    this.#summary_at = at_ms;
    this.#canvas.setAttribute("aria-label", this.#words(market, quotes));
  }

  /** Return the charts in words, for who does not see them. */
  #words(market, quotes) {
    const count = (side) => quotes.filter((quote) => quote.side === side).length;
    return t("chart.words", {
      mid: grouped(market.mid),
      bids: count("buy"),
      asks: count("sell"),
      position: plain(this.#data.position.values.at(-1) ?? 0),
      profit: signed(this.#data.profit.values.at(-1) ?? 0),
      fills: this.#data.visibleFills().length,
    });
  }

  #read(at_ms) {
    this.#pointer_ms = at_ms;
    this.#tellFigures();
  }

  #tellFigures() {
    const at = this.#pointer_ms ?? serverNow();
    const { mid, position, profit } = this.#data;
    const value = (line, text) => {
      const found = MarketData.valueAt(line, at);
      return found === undefined ? "–" : text(found);
    };
    setText(this.#readout, [
      clock(at),
      `${t("chart.mid")} ${value(mid, grouped)}`,
      `${t("chart.position")} ${value(position, (found) => fixed(found, 4))}`,
      `${t("chart.profit")} ${value(profit, signed)}`,
    ].join("   "));
  }
}

function legend() {
  return h("ul", { class: "legend" }, ["mid", "own_bids", "own_asks", "buys", "sells"].map((name) =>
    h("li", {}, h("i", { class: `key ${name}`, "aria-hidden": "true" }), t(`chart.${name}`))));
}
