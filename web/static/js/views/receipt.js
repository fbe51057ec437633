// The receipt of a stop: what was asked, what was done, and by whose word nothing is left.

import { h } from "../dom.js";
import { after, clock, dateTime, plain } from "../format.js";
import { hasText, t } from "../i18n.js";

/** Return a receipt as an element. */
export function receiptView(receipt) {
  const clean = receipt.clean;
  const asked_ms = timeOf(receipt.requested_at);
  const verified_ms = timeOf(receipt.verified_at);
  return h("article", { class: "receipt", data: { clean: String(clean) }, "aria-label": t("receipt.title", { epoch: receipt.epoch }) },
    h("header", {},
      h("i", { class: "mark", "aria-hidden": "true" }),
      h("div", {}, h("h3", {}, clean ? t("receipt.clean") : t("receipt.not_clean", { result: resultText(receipt.result) })),
        h("p", {}, t("receipt.where", { epoch: receipt.epoch, symbol: receipt.symbol ?? "–", account: receipt.account ?? "–" }))),
      clean && asked_ms !== null && verified_ms !== null && h("p", { class: "took" }, t("receipt.took"), " ", h("strong", {}, after(verified_ms - asked_ms).slice(1)))),
    h("dl", {}, [...lines(receipt)].map(([name, value, kind]) => [h("dt", {}, name), h("dd", { data: { kind: kind ?? "" } }, value)])),
    attempts(receipt, asked_ms),
    h("details", {}, h("summary", {}, t("receipt.raw")), h("pre", { tabindex: 0 }, JSON.stringify(receipt, null, 1))),
  );
}

/** Return a time of a receipt, ISO 8601 there, in Unix ms; null where there is none. */
function timeOf(iso) {
  return iso ? Date.parse(iso) : null;
}

function clockOf(iso) {
  return clock(timeOf(iso), { millis: true });
}

function resultText(result) {
  return hasText(`result.${result}`) ? t(`result.${result}`) : String(result ?? "?");
}

function* lines(receipt) {
  for (const asked of receipt.asked ?? []) {
    yield [t("receipt.asked"), `${dateTime(timeOf(asked.at))}, ${asked.by}${asked.reason ? `: ${asked.reason}` : ""}`];
  }
  if (receipt.policy) yield [t("receipt.policy"), policyText(receipt.policy)];
  if (receipt.in_flight) yield [t("receipt.in_flight"), flightText(receipt.in_flight)];
  yield [t("receipt.unresolved"), receipt.had_unresolved ? t("receipt.unresolved_until", { at: clockOf(receipt.unresolved_until) }) : t("receipt.none")];
  yield [t("receipt.cancelled"), idsText(receipt.cancelled_order_ids)];
  if (receipt.gone_order_ids?.length) yield [t("receipt.gone"), idsText(receipt.gone_order_ids)];
  yield leftLine(receipt);
  for (const list of receipt.last_lists ?? []) {
    const own = list.own_orders?.length ? list.own_orders.map((order) => order.order_id).join(", ") : t("receipt.no_own_order");
    yield [t("receipt.list"), `${clockOf(list.at)}  ${own}`];
  }
  yield [t("receipt.position"), positionText(receipt)];
  if (receipt.accepted) yield [t("receipt.accepted"), `${receipt.accepted.by}: ${idsText(receipt.accepted.order_ids)}`, "bad"];
  if (receipt.problem) yield [t("receipt.problem"), receipt.problem, "bad"];
}

function leftLine(receipt) {
  const name = t("receipt.left");
  if (receipt.orders_kept?.length) return [name, t("receipt.kept", { count: receipt.orders_kept.length }), "warn"];
  if (receipt.orders_left === null || receipt.orders_left === undefined) {
    return receipt.clean ? [name, "0", "good"] : [name, t("receipt.left_unknown"), "bad"];
  }
  if (receipt.orders_left.length) return [name, `${receipt.orders_left.length}: ${receipt.orders_left.map((order) => order.order_id).join(", ")}`, "bad"];
  return [name, t("receipt.left_none"), receipt.clean ? "good" : ""];
}

function policyText(policy) {
  const orders = t(policy.cancel_orders === false ? "stop.orders_keep" : "stop.orders_cancel");
  const position = policy.close_position ? "close" : policy.unwind ? "unwind" : "keep";
  return `${orders} · ${t(`stop.position_${position}`)}`;
}

function flightText(flight) {
  const text = t(`flight.${flight.ended}`);
  return flight.ended === "none" ? text : `seq ${flight.seq}: ${text}`;
}

function positionText(receipt) {
  if (!receipt.position_of) return t("receipt.position_same");
  const change = `${plain(receipt.position_before)} → ${receipt.position_after === null ? "?" : plain(receipt.position_after)}`;
  return `${t(`receipt.position_${receipt.position_of}`)}: ${change}`;
}

function idsText(ids) {
  if (!ids) return t("receipt.unknown_which");
  return ids.length ? `${ids.length}: ${ids.join(", ")}` : "0";
}

function attempts(receipt, asked_ms) {
  if (!receipt.attempts?.length) return null;
  return h("details", {}, h("summary", {}, t("receipt.attempts", { count: receipt.attempt_count ?? receipt.attempts.length })),
    receipt.attempts.map((attempt) => {
      const from_ms = asked_ms ?? timeOf(attempt.claimed_at);
      const steps = [
        [attempt.claimed_at, t("phase.cleanup_claimed"), attempt.by],
        ...attempt.steps.map((step) => [step.at, t(`phase.${step.step}`), step.detail]),
        [attempt.ended_at, t("receipt.ended", { result: resultText(attempt.result) }), attempt.problem],
      ];
      return h("ol", { class: "phases" }, steps.map(([at, name, detail]) =>
        h("li", {}, h("span", { class: "after" }, after(timeOf(at) - from_ms)), h("span", { class: "name" }, name), h("span", { class: "detail" }, detail ?? ""))));
    }));
}
