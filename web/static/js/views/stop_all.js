// Stopping everything: a typed number confirms it, then each instance is followed to its end.

import { get, instancePath, post } from "../api.js";
import { ask } from "../dialogs.js";
import { fill, h, say, setText } from "../dom.js";
import { after } from "../format.js";
import { t } from "../i18n.js";
import { StopProgress } from "../stop_progress.js";

/** Ask, with the number of running instances to be typed in; then show what becomes of each. */
export function askStopAll(count) {
  const typed = h("input", { id: "confirm-count", type: "text", inputmode: "numeric", autocomplete: "off", "aria-describedby": "confirm-why" });
  const { confirm } = ask({
    title: t("stop_all.title", { count }),
    body: [h("p", { id: "confirm-why" }, t("stop_all.why", { count })), h("label", { for: "confirm-count" }, t("stop_all.type", { count })), typed],
    yes: t("stop_all.go"),
    danger: true,
    act: async () => show((await post("/stop-all", { confirm: Number(typed.value) })).instances),
  });
  confirm.disabled = true;
  typed.addEventListener("input", () => {
    confirm.disabled = typed.value.trim() !== String(count);
  });
  typed.focus();
}

function show(stops) {
  const main = document.getElementById("main");
  main.querySelector(".stop-all")?.remove();
  const title = h("h2", {}, "");
  const body = h("tbody", {});
  const close = h("button", { type: "button" }, t("dialog.close"));
  const panel = h("section", { class: "stop-all panel", "aria-label": t("stop_all.progress"), data: { ending: "open" } },
    h("div", { class: "head" }, h("i", { class: "mark", "aria-hidden": "true" }), title, h("span", { class: "spring" }), close),
    h("div", { class: "scroll", tabindex: 0 }, h("table", { class: "plain" },
      h("thead", {}, h("tr", {}, ["column.instance", "stop_all.time", "stop_all.phase", "stop_all.detail"].map((key) => h("th", { scope: "col" }, t(key))))), body)));
  const progress = new Map();
  for (const stop of stops) {
    const cells = ["", "", "", ""].map((text) => h("td", {}, text));
    fill(cells[0], h("a", { href: `#/instances/${encodeURIComponent(stop.instance_id)}` }, stop.instance_id));
    body.append(h("tr", {}, cells));
    progress.set(stop.instance_id, { stop: new StopProgress(stop.instance_id, Number(stop.epoch)), cells });
  }
  const tell = () => {
    const clean = [...progress.values()].filter(({ stop }) => stop.ending === "clean").length;
    const done = clean === progress.size;
    const text = t(done ? "stop_all.done" : "stop_all.so_far", { clean, count: progress.size });
    if (title.textContent === text) return;
    setText(title, text);
    panel.dataset.ending = done ? "clean" : "open";
    if (done) say(text);
  };
  const take = (event) => {
    const held = progress.get(event.instance_id);
    const phase = held?.stop.take(event);
    if (!phase) return;
    setText(held.cells[1], after(phase.after_ms));
    setText(held.cells[2], phase.name);
    setText(held.cells[3], phase.detail);
    held.cells[2].dataset.kind = phase.kind;
    tell();
  };
  const listen = (event) => take(event.detail);
  // Phases that came before this was shown, or while the connection was lost.
  const catchUp = () => progress.forEach(async ({ stop }, id) => {
    if (stop.isOver) return;
    try {
      const { events } = await get(instancePath(id, "/events?limit=100"));
      events.forEach(take);
    } catch (error) {
      console.info("events:", error.message);
    }
  });
  addEventListener("stream:lifecycle", listen);
  addEventListener("stream:back", catchUp);
  const end = () => {
    removeEventListener("stream:lifecycle", listen);
    removeEventListener("stream:back", catchUp);
    removeEventListener("hashchange", end);
    panel.remove();
  };
  addEventListener("hashchange", end);
  close.addEventListener("click", end);
  main.prepend(panel);
  catchUp();
  tell();
}
