// One instance: how it stands, what can be done to it, and its tabs.

import { get, instancePath, post } from "../api.js";
import { ask } from "../dialogs.js";
import { fill, h, say, setAttr, setText } from "../dom.js";
import { duration, plain, signed, signOf, until } from "../format.js";
import { t } from "../i18n.js";
import { showState, stateMark } from "../mark.js";
import { onRows, row, serverNow, stateOf, takeRows } from "../store.js";
import { showEvents, showFills, showReceipts } from "./history.js";
import { LATE_MS } from "./list_row.js";
import { showMarket } from "./market.js";
import { showParams } from "./params.js";
import { askStop, StopPanel } from "./stop.js";

const TABS = {
  market: (panel, view) => showMarket(panel, view.id),
  parameters: (panel, view) => showParams(panel, view.instance),
  fills: (panel, view) => showFills(panel, view.id),
  events: (panel, view) => showEvents(panel, view.id),
  receipts: (panel, view) => showReceipts(panel, view.id),
};
const FIGURES = ["profit", "position", "orders", "next", "late", "iteration", "run", "version"];

/** Show an instance, on one of its tabs; returns what takes it away. */
export function showInstance(main, id, tab) {
  const view = new InstanceView(main, id, tab in TABS ? tab : "market");
  return () => view.end();
}

class InstanceView {
  instance = null;
  #main;
  #tab;
  #endTab = () => {};
  #state = stateMark("unknown");
  #actions = h("div", { class: "actions", role: "group", "aria-label": t("instance.actions") });
  #shownActions = "";
  #where = h("p", { class: "where" });
  #figures = new Map();
  #notice = h("div", { class: "notice" });
  #warnings = h("div", { role: "status" });
  #stopSlot = h("div", {});
  #stop = null;
  #panel = h("div", { role: "tabpanel", id: "panel", tabindex: -1 });
  #tabs = new Map();
  #timer;
  #unsubscribe;
  #onLifecycle = (event) => this.#lifecycle(event.detail);
  #onBack = () => {
    this.#stop?.catchUp();
    this.#read();
  };

  constructor(main, id, tab) {
    this.#main = main;
    this.id = id;
    this.#tab = tab;
    document.title = `${id} · Cleanbook`;
    this.#draw();
    this.#unsubscribe = onRows((ids) => ids.includes(id) && this.#update());
    this.#timer = setInterval(() => this.#due(), 250);
    addEventListener("stream:lifecycle", this.#onLifecycle);
    addEventListener("stream:back", this.#onBack);
    this.#read(true);
  }

  end() {
    this.#endTab();
    this.#stop?.end();
    this.#unsubscribe();
    clearInterval(this.#timer);
    removeEventListener("stream:lifecycle", this.#onLifecycle);
    removeEventListener("stream:back", this.#onBack);
  }

  #draw() {
    const figures = FIGURES.map((name) => {
      const value = h("dd", {}, "–");
      this.#figures.set(name, value);
      return h("div", {}, h("dt", {}, t(`figure.${name}`)), value);
    });
    const tabs = Object.keys(TABS).map((name) => {
      const button = h("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "panel", on: { click: () => this.#show(name), keydown: (event) => this.#tabKey(event) } }, t(`tab.${name}`));
      this.#tabs.set(name, button);
      return button;
    });
    fill(this.#main,
      h("div", { class: "head" },
        h("a", { class: "back", href: "#/" }, `‹ ${t("list.title")}`),
        h("h1", {}, this.id), this.#state, this.#where, h("span", { class: "spring" }), this.#actions),
      this.#notice, this.#warnings, this.#stopSlot,
      h("dl", { class: "figures panel" }, figures),
      h("div", { class: "tabs", role: "tablist", "aria-label": this.id }, tabs), this.#panel);
  }

  async #read(first = false) {
    try {
      this.instance = await get(instancePath(this.id));
    } catch (error) {
      if (error.status === 0) return;
      fill(this.#main, h("p", { class: "problem", role: "alert" }, error.message), h("a", { href: "#/" }, t("instance.back")));
      return;
    }
    takeRows([this.instance]);
    this.#update();
    if (first) this.#show(this.#tab);
    if (["stopping", "failed"].includes(this.#now().phase)) this.#follow(this.#now().epoch);
  }

  /** Return the newest of what the page knows. */
  #now() {
    return { ...this.instance, ...row(this.id) };
  }

  #update() {
    if (!this.instance) return;
    const now = this.#now();
    showState(this.#state, stateOf(now));
    setText(this.#where, [now.strategy, now.symbol, now.exchange, now.account, t(now.live ? "tag.live" : "tag.paper")].filter(Boolean).join(" · "));
    const figure = (name, text) => setText(this.#figures.get(name), text);
    figure("profit", now.profit_today === null ? "–" : `${signed(now.profit_today)} ${now.profit_asset ?? ""}`);
    setAttr(this.#figures.get("profit"), "data-sign", String(signOf(now.profit_today)));
    figure("position", plain(now.position));
    figure("orders", String(now.open_orders ?? "–"));
    const active = stateOf(now) === "running";
    figure("late", active ? duration(now.lateness_ms) : "–");
    setAttr(this.#figures.get("late"), "data-late", String(active && now.lateness_ms > LATE_MS));
    figure("iteration", now.seq ? `seq ${now.seq}` : "–");
    figure("run", now.epoch ? String(now.epoch) : "–");
    figure("version", now.config_version || "–");
    this.#due();
    this.#showNotice(now);
    this.#showActions(now);
  }

  #due() {
    const now = row(this.id);
    if (now) setText(this.#figures.get("next"), stateOf(now) === "running" ? until(now.next_due_ms, serverNow()) : "–");
  }

  #showNotice(now) {
    const text = [now.last_error, now.config_problem].filter(Boolean).join(" · ");
    if (this.#notice.dataset.text === text) return;
    this.#notice.dataset.text = text;
    fill(this.#notice, text && h("p", { class: "trouble" }, h("i", { class: "mark", "aria-hidden": "true" }), h("strong", {}, t("column.error")), " ", text));
  }

  #showActions(now) {
    const state = stateOf(now);
    if (state === this.#shownActions) return;
    const held = this.#actions.contains(document.activeElement);
    this.#shownActions = state;
    const act = (name, path) => h("button", { type: "button", on: { click: () => this.#do(name, path) } }, t(`action.${name}`));
    const stop = () => h("button", { type: "button", class: "danger", on: { click: () => askStop(this.instance, (answer) => this.#accepted(answer)) } }, t("action.stop"));
    const start = () => h("button", { type: "button", class: "primary", on: { click: () => this.#do("start", "/start") } }, t("action.start"));
    const force = () => h("button", { type: "button", class: "danger", on: { click: () => this.#askForce() } }, t("action.force"));
    const buttons = {
      running: () => [act("pause", "/pause"), act("restart", "/restart"), stop()],
      paused: () => [act("resume", "/resume"), act("restart", "/restart"), stop()],
      stopped: () => [start()],
      failed: () => [force()],
      stopping: () => [],
      unknown: () => [],
    }[state];
    fill(this.#actions, buttons());
    // The button is gone: the next thing of interest gets the focus, without moving the page.
    if (held) (this.#actions.firstElementChild ?? this.#stop?.element ?? this.#panel).focus({ preventScroll: true });
  }

  async #do(name, path) {
    const buttons = [...this.#actions.children];
    buttons.forEach((button) => (button.disabled = true));
    try {
      this.#accepted(await post(instancePath(this.id, path)));
      say(t(`said.${name}`, { id: this.id }));
    } catch (error) {
      this.#refused(t(`action.${name}`), error);
    } finally {
      buttons.forEach((button) => (button.disabled = false));
    }
  }

  /** Take in the answer to a change: follow a stop, and show what the server warns of. */
  #accepted({ phase, epoch, warnings }) {
    if (phase === "stopping") this.#follow(epoch);
    fill(this.#warnings, warnings?.map((warning) => h("p", { class: "warning" }, warning)));
  }

  #refused(title, error) {
    ask({ title, body: [h("p", { role: "alert" }, error.message)], yes: t("dialog.close"), act: async () => {} });
  }

  #askForce() {
    const left = this.instance.order_ids_left;
    const ids = left === null || left === undefined ? ["unknown"] : left;
    ask({
      title: t("force.title", { id: this.id }),
      body: [h("p", {}, t("force.why")), h("p", {}, left ? t("force.left", { count: left.length, ids: left.join(", ") }) : t("force.unknown"))],
      yes: t("force.go"),
      danger: true,
      act: async () => {
        try {
          this.#accepted(await post(instancePath(this.id, "/start"), { force: true, accept_orders: ids }));
        } finally {
          // Where it was refused since other orders are left by now, the next question names those.
          await this.#read();
        }
      },
    });
  }

  #lifecycle(event) {
    if (event.instance_id !== this.id) return;
    if (event.event === "stop_requested") this.#follow(event.epoch);
    this.#stop?.take(event);
    if (event.event === "started" && this.#stop?.isOver) this.#forgetStop();
    if (["started", "finished", "stop_requested"].includes(event.event)) this.#read();
  }

  #follow(epoch) {
    if (this.#stop?.epoch === epoch) return;
    this.#stop?.end();
    this.#stop = new StopPanel(this.id, epoch, () => this.#read());
    fill(this.#stopSlot, this.#stop.element);
  }

  #forgetStop() {
    this.#stop.end();
    this.#stop = null;
    fill(this.#stopSlot);
  }

  #show(name) {
    this.#tab = name;
    this.#endTab();
    for (const [each, button] of this.#tabs) {
      button.setAttribute("aria-selected", String(each === name));
      button.tabIndex = each === name ? 0 : -1;
    }
    this.#panel.setAttribute("aria-labelledby", `tab-${name}`);
    // Replacing does not count as another page, and does not draw this one anew.
    history.replaceState(null, "", `#/instances/${encodeURIComponent(this.id)}${name === "market" ? "" : `/${name}`}`);
    fill(this.#panel);
    this.#endTab = TABS[name](this.#panel, this) ?? (() => {});
  }

  #tabKey(event) {
    const names = Object.keys(TABS);
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const next = names[(names.indexOf(this.#tab) + step + names.length) % names.length];
    this.#show(next);
    this.#tabs.get(next).focus();
  }
}
