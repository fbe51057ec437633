// One stop as it happens, put together from lifecycle events: the same phases that `manage.py stop` prints.

import { t } from "./i18n.js";

/** Return what an event says beyond what every event says. */
export function fieldOf(event, name) {
  return event.fields[name] ?? "";
}

/** What happened in one stop so far. */
export class StopProgress {
  constructor(instanceId, epoch) {
    this.instanceId = instanceId;
    this.epoch = epoch;
    this.requested_at_ms = null;
    /** `{at_ms, after_ms, name, detail, kind}`; kind: "", "good" or "bad". */
    this.phases = [];
    /** `clean` or `superseded` once nothing more is expected. */
    this.ending = null;
    this.finished_at_ms = null;
    this.#seen = new Set();
  }

  #seen;

  get isOver() {
    return this.ending !== null;
  }

  get took_ms() {
    return this.finished_at_ms === null ? null : this.finished_at_ms - this.requested_at_ms;
  }

  /** Take in an event; return the phase that it is, null when it means nothing here. */
  take(event) {
    if (event.instance_id !== this.instanceId || this.isOver) return null;
    const epoch = Number(event.epoch);
    if (epoch > this.epoch && event.event === "started") {
      this.ending = "superseded";
      return this.#add(event, t("phase.started_anew"), fieldOf(event, "by"), "");
    }
    if (epoch !== this.epoch) return null;
    switch (event.event) {
      case "stop_requested": {
        this.requested_at_ms ??= event.at_ms;
        const reason = fieldOf(event, "reason");
        return this.#add(event, t("phase.stop_requested"), fieldOf(event, "by") + (reason ? `: ${reason}` : ""), "");
      }
      case "cleanup_claimed":
        return this.#add(event, t("phase.cleanup_claimed"), t("phase.attempt", { attempt: fieldOf(event, "attempt"), by: fieldOf(event, "by") }), "");
      case "cleanup_step": {
        const step = fieldOf(event, "step");
        return this.#add(event, t(`phase.${step}`), fieldOf(event, "detail"), step === "held_up" ? "bad" : "");
      }
      case "finished":
        return this.#finished(event);
      default:
        return null;
    }
  }

  #finished(event) {
    if (fieldOf(event, "result") === "stopped") {
      this.ending = "clean";
      this.finished_at_ms = event.at_ms;
      return this.#add(event, t("phase.stopped"), t("phase.clean"), "good");
    }
    return this.#add(event, t("phase.not_clean"), problemIn(event) || t("phase.again"), "bad");
  }

  #add(event, name, detail, kind) {
    // The same event may come from the stream and from the history.
    if (this.#seen.has(event.stream_id)) return null;
    this.#seen.add(event.stream_id);
    const after_ms = event.at_ms - (this.requested_at_ms ?? event.at_ms);
    const phase = { at_ms: event.at_ms, after_ms, name, detail: String(detail ?? ""), kind };
    this.phases.push(phase);
    return phase;
  }
}

function problemIn(event) {
  try {
    return JSON.parse(fieldOf(event, "outcome")).problem ?? "";
  } catch {
    return "";
  }
}
