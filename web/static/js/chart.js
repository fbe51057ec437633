// Three charts over one time: price with own quotes and fills, position, profit. Drawn by uPlot.

import uPlot from "../vendor/uplot/uPlot.esm.js";

const SYNC = "market";
const HEIGHTS = { price: 300, position: 110, profit: 110 };
const NARROW_HEIGHTS = { price: 240, position: 90, profit: 90 };
const AXIS_PX = 72;
/** The window is redrawn at most so often while nothing else changes. */
const FRAME_MS = 250;

/** Colours of the style sheet in use. */
function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(`--${name}`).trim();
  return { text: read("muted"), line: read("line"), mid: read("text"), buy: read("bid"), sell: read("ask"), area: read("area"), panel: read("panel") };
}

/** Return a number's text for an axis. */
function axisText(values) {
  const step = Math.abs((values[1] ?? 0) - (values[0] ?? 0));
  const decimals = step > 0 ? Math.min(8, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9))) : 2;
  return values.map((value) => value.toFixed(decimals).replace("-", "−"));
}

export class MarketCharts {
  #element;
  #source;
  #plots = [];
  #frame = 0;
  #drawn_at = 0;
  #observer;
  #rebuild = () => this.#build();
  #scheme = matchMedia("(prefers-color-scheme: dark)");

  /** `source` gives what is drawn: see `market_data.js`. `read(index_ms)` is told where the pointer is, null when away. */
  constructor(element, source, { titles, read }) {
    this.#element = element;
    this.#source = source;
    this.titles = titles;
    this.read = read;
    this.#build();
    this.#observer = new ResizeObserver(() => this.#resize());
    this.#observer.observe(element);
    addEventListener("themechange", this.#rebuild);
    this.#scheme.addEventListener("change", this.#rebuild);
  }

  end() {
    cancelAnimationFrame(this.#frame);
    this.#observer.disconnect();
    removeEventListener("themechange", this.#rebuild);
    this.#scheme.removeEventListener("change", this.#rebuild);
    this.#plots.forEach((plot) => plot.destroy());
  }

  /** Draw anew soon: many changes make one drawing. */
  draw() {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      const now = performance.now();
      if (now - this.#drawn_at < FRAME_MS) return;
      this.#drawn_at = now;
      this.#setData();
    });
  }

  #setData() {
    const { mid, position, profit } = this.#source;
    const [price, held, made] = this.#plots;
    price.setData([mid.times, mid.values]);
    held.setData([position.times, position.values]);
    made.setData([profit.times, profit.values]);
  }

  #width() {
    return Math.max(240, Math.floor(this.#element.clientWidth));
  }

  #heights() {
    return this.#width() < 520 ? NARROW_HEIGHTS : HEIGHTS;
  }

  #resize() {
    const width = this.#width();
    if (width === this.#plots[0]?.width) return;
    const heights = this.#heights();
    ["price", "position", "profit"].forEach((name, index) => this.#plots[index].setSize({ width, height: heights[name] }));
  }

  #build() {
    this.#plots.forEach((plot) => plot.destroy());
    this.#element.replaceChildren();
    const shades = colours();
    this.#plots = [
      this.#plot("price", shades, { series: { stroke: shades.mid, width: 1.25, points: { show: false } }, drawn: (plot) => this.#quotesAndFills(plot, shades) }),
      this.#plot("position", shades, { series: { stroke: shades.buy, width: 1.25, fill: shades.area, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }, zero: true }),
      this.#plot("profit", shades, { series: { stroke: shades.mid, width: 1.25, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }, zero: true, last: true }),
    ];
    this.#setData();
  }

  #plot(name, shades, { series, drawn, zero = false, last = false }) {
    const title = document.createElement("p");
    title.className = "chart-title";
    title.textContent = this.titles[name];
    const holder = document.createElement("div");
    holder.append(title);
    this.#element.append(holder);
    const axis = { stroke: shades.text, grid: { stroke: shades.line, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
    return new uPlot(
      {
        width: this.#width(),
        height: this.#heights()[name],
        ms: 1,
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: { sync: { key: SYNC }, drag: { x: false, y: false }, y: name === "price", points: { size: 5 } },
        scales: {
          x: { time: true, range: () => this.#source.window() },
          y: { range: (plot, low, high) => this.#range(name, low, high, zero) },
        },
        axes: [
          { ...axis, space: 80, size: last ? 28 : 10, values: last ? timeTexts : () => [] },
          { ...axis, side: 1, size: AXIS_PX, space: 26, values: (_, values) => axisText(values) },
        ],
        series: [{}, series],
        hooks: {
          draw: drawn ? [drawn] : [],
          setCursor: name === "price" ? [(plot) => this.read(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)] : [],
        },
      },
      [[], []],
      holder,
    );
  }

  #range(name, low, high, zero) {
    let [from, to] = name === "price" ? this.#source.priceRange() : [low, high];
    if (from === null || from === undefined || !Number.isFinite(from)) return [0, 1];
    if (zero) [from, to] = [Math.min(0, from), Math.max(0, to)];
    const room = (to - from) * 0.08 || Math.abs(to) * 0.001 || 1;
    return [from - room, to + room];
  }

  #quotesAndFills(plot, shades) {
    const { ctx } = plot;
    const { left, top, width, height } = plot.bbox;
    const ratio = devicePixelRatio;
    const x = (at_ms) => plot.valToPos(at_ms, "x", true);
    const y = (price) => plot.valToPos(price, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    ctx.lineWidth = 1.5 * ratio;
    for (const { from_ms, to_ms, side, price, level } of this.#source.quoteSpans()) {
      ctx.strokeStyle = shades[side];
      // The innermost is the strongest.
      ctx.globalAlpha = Math.max(0.35, 0.95 - 0.15 * level);
      ctx.beginPath();
      ctx.moveTo(x(from_ms), y(price));
      ctx.lineTo(x(to_ms), y(price));
      ctx.stroke();
    }
    ctx.globalAlpha = 1;
    for (const fill of this.#source.visibleFills()) this.#fillMark(ctx, x(fill.at_ms), y(fill.price), fill.side, shades, ratio);
    ctx.restore();
  }

  /** Buys point up, sells down: the shape says it without the colour. */
  #fillMark(ctx, x, y, side, shades, ratio) {
    const size = 4.5 * ratio;
    const tip = side === "buy" ? -size : size;
    ctx.beginPath();
    ctx.moveTo(x, y + tip);
    ctx.lineTo(x - size, y - tip);
    ctx.lineTo(x + size, y - tip);
    ctx.closePath();
    ctx.fillStyle = shades[side];
    ctx.strokeStyle = shades.panel;
    ctx.lineWidth = ratio;
    ctx.fill();
    ctx.stroke();
  }
}

function timeTexts(plot, splits, _, __, step_ms) {
  return splits.map((at_ms) => new Date(at_ms).toLocaleTimeString("en-GB", step_ms >= 60_000 ? { hour: "2-digit", minute: "2-digit" } : {}));
}
