// The stop button's question, and the stop while it happens.

import { get, instancePath, post } from "../api.js";
import { ask, radios } from "../dialogs.js";
import { fill, h, setText } from "../dom.js";
import { after, duration } from "../format.js";
import { t } from "../i18n.js";
import { serverNow } from "../store.js";
import { StopProgress } from "../stop_progress.js";
import { receiptView } from "./receipt.js";

/** Ask how to stop; `stopped(answer)` gets the server's answer. */
export function askStop(instance, stopped) {
  const policies = radios("policy", t("stop.policy"), [
    ["", t("stop.as_configured"), configuredPolicy(instance.config)],
    ["keep", t("stop.keep"), t("stop.keep_hint")],
    ["close", t("stop.close"), t("stop.close_hint")],
  ], "");
  const reason = h("input", { id: "reason", type: "text", maxlength: 200, autocomplete: "off" });
  ask({
    title: t("stop.title", { id: instance.instance_id }),
    body: [policies, h("label", { for: "reason" }, t("stop.reason")), reason, h("p", { class: "hint" }, t("stop.promise"))],
    yes: t("stop.go"),
    danger: true,
    act: async () => stopped(await post(instancePath(instance.instance_id, "/stop"), { policy: policies.value() || null, reason: reason.value })),
  });
}

function configuredPolicy(config) {
  const stop = config?.stop;
  if (!stop) return null;
  return `${t(`stop.orders_${stop.orders ?? "cancel"}`)} · ${t(`stop.position_${stop.position ?? "keep"}`)}`;
}

/** Shows one stop, phase by phase, and its receipt at the end. */
export class StopPanel {
  #progress;
  #list = h("ol", { class: "phases" });
  #clock = h("span", { class: "elapsed" });
  #title = h("h2", {}, "");
  #receipt = h("div", {});
  #timer = 0;
  #ended;

  /** `ended` is called once, when the stop is over. */
  constructor(instanceId, epoch, ended = () => {}) {
    this.#progress = new StopProgress(instanceId, epoch);
    this.#ended = ended;
    setText(this.#title, t("stop.stopping", { id: instanceId }));
    this.element = h("section", { class: "stopping panel", tabindex: -1, data: { ending: "open" }, "aria-label": t("stop.phases") },
      h("div", { class: "head" }, h("i", { class: "mark", "aria-hidden": "true" }), this.#title, h("span", { class: "spring" }), this.#clock),
      h("div", { class: "log", role: "log", "aria-live": "polite", "aria-label": t("stop.phases") }, this.#list), this.#receipt);
    this.#timer = setInterval(() => this.#elapsed(), 100);
    this.#catchUp();
  }

  get epoch() {
    return this.#progress.epoch;
  }

  get isOver() {
    return this.#progress.isOver;
  }

  /** Take in a lifecycle event. */
  take(event) {
    const phase = this.#progress.take(event);
    if (!phase) return;
    this.#list.append(h("li", { data: { kind: phase.kind } },
      h("span", { class: "after" }, after(phase.after_ms)), h("span", { class: "name" }, phase.name), h("span", { class: "detail" }, phase.detail)));
    if (this.isOver) this.#finish();
  }

  /** Read what happened before we looked, and what was missed while the connection was lost. */
  async catchUp() {
    return this.#catchUp();
  }

  end() {
    clearInterval(this.#timer);
  }

  async #catchUp() {
    const id = this.#progress.instanceId;
    try {
      const { events } = await get(instancePath(id, "/events?limit=200"));
      for (const event of events) this.take(event);
    } catch (error) {
      console.info("events:", error.message);
    }
  }

  #elapsed() {
    const started_ms = this.#progress.requested_at_ms;
    if (started_ms !== null && !this.isOver) setText(this.#clock, duration(Math.max(0, serverNow() - started_ms)));
  }

  async #finish() {
    this.end();
    const { ending, took_ms, instanceId, epoch } = this.#progress;
    this.element.dataset.ending = ending;
    setText(this.#clock, took_ms === null ? "" : after(took_ms).slice(1));
    setText(this.#title, ending === "clean" ? t("stop.stopped_clean", { id: instanceId }) : t("stop.superseded", { id: instanceId }));
    this.#ended(ending);
    if (ending !== "clean") return;
    try {
      const { receipt, message } = await get(instancePath(instanceId, `/receipt?epoch=${epoch}`));
      fill(this.#receipt, receipt ? receiptView(receipt) : h("p", {}, message));
    } catch (error) {
      fill(this.#receipt, h("p", { class: "problem", role: "alert" }, error.message));
    }
  }
}
