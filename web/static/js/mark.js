// A state as shape and word: colour only repeats what they say.

import { h, setText } from "./dom.js";
import { t } from "./i18n.js";

export const STATES = ["running", "paused", "stopping", "failed", "stopped", "unknown"];

/** Return an element that shows a state; `showState` changes it. */
export function stateMark(state) {
  const element = h("span", { class: "state" }, h("i", { class: "mark", "aria-hidden": "true" }), h("span"));
  showState(element, state);
  return element;
}

/** Let `element` show another state. */
export function showState(element, state) {
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  setText(element.lastElementChild, t(`state.${state}`));
}
