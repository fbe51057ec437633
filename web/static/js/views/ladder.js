// The book with the own quotes beside it: asks above, bids below, the mid between.

import { h, setAttr, setText } from "../dom.js";
import { decimalsOf, fixed, grouped } from "../format.js";
import { t } from "../i18n.js";

export class Ladder {
  #body = h("tbody", {});
  #rows = [];

  constructor() {
    this.element = h("table", { class: "ladder" },
      h("caption", { class: "unseen" }, t("ladder.title")),
      h("thead", {}, h("tr", {}, ["ladder.own", "ladder.price", "ladder.book"].map((key) => h("th", { scope: "col" }, t(key))))),
      this.#body);
  }

  /** Show a book, `[[price, quantity], …]` a side, best first, and the own quotes. */
  show({ bids, asks, mid }, quotes) {
    const sell = linesOf("sell", asks, quotes);
    const buy = linesOf("buy", bids, quotes);
    const priced = [...sell, ...buy];
    const prices = decimalsOf(priced.map((each) => each.price));
    const quantities = decimalsOf(priced.flatMap((each) => [each.book ?? "0", each.own ?? "0"]));
    const most = Math.max(...priced.map((each) => Number(each.book ?? 0)), 0);
    const lines = [...sell, { mid }, ...buy];
    while (this.#rows.length > lines.length) this.#rows.pop().element.remove();
    while (this.#rows.length < lines.length) {
      const made = newLine();
      this.#rows.push(made);
      this.#body.append(made.element);
    }
    lines.forEach((line, index) => showLine(this.#rows[index], line, { prices, quantities, most }));
  }
}

function newLine() {
  const own = h("td", { class: "own" });
  const price = h("th", { scope: "row" });
  const book = h("td", { class: "book" }, h("span", {}));
  return { element: h("tr", {}, own, price, book), own, price, book };
}

function showLine({ element, own, price, book }, line, { prices, quantities, most }) {
  const isMid = "mid" in line;
  element.className = isMid ? "mid" : line.side;
  setAttr(element, "data-own", String(Boolean(line.own)));
  if (isMid) {
    setText(own, "");
    setText(price, grouped(line.mid));
    setText(book.firstElementChild, t("ladder.mid"));
    element.style.setProperty("--depth", "0%");
    return;
  }
  setText(own, line.own ? `${line.levels}  ${fixed(line.own, quantities)}` : "");
  setText(price, fixed(line.price, prices));
  setText(book.firstElementChild, line.book === null ? "" : fixed(line.book, quantities));
  element.style.setProperty("--depth", `${most ? Math.round((100 * Number(line.book ?? 0)) / most) : 0}%`);
}

/** Return the prices of a side, the highest first, with what rests there: of everybody, and of us. */
function linesOf(side, levels, quotes) {
  const found = new Map();
  for (const [price, quantity] of levels) found.set(Number(price), { side, price, book: quantity, own: null, levels: "" });
  for (const quote of quotes) {
    if (quote.side !== side || quote.price === null) continue;
    const at = Number(quote.price);
    const line = found.get(at) ?? { side, price: quote.price, book: null, own: null, levels: "" };
    line.own = Number(line.own ?? 0) + Number(quote.quantity);
    found.set(at, line);
  }
  const own = [...found.entries()].filter(([, line]) => line.own !== null);
  // Counted from the touch: an order that kept its place may still carry the level that it once had.
  own.sort(([one], [other]) => (side === "buy" ? other - one : one - other));
  own.forEach(([, line], index) => (line.levels = t("ladder.level", { level: index + 1 })));
  return [...found.entries()].sort(([one], [other]) => other - one).map(([, line]) => line);
}
