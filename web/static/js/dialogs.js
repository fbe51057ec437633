// Questions that wait for an answer. The browser's own dialogs hold the focus and close with Escape.

import { h } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

/**
 * Ask, and call `act` on yes. `body`: elements; `act` may throw an `ApiError`, whose message is then shown and
 * the question stays. Returns `{dialog, confirm}`, so that the caller may disable the button.
 */
export function ask({ title, body = [], yes, danger = false, act, wide = false }) {
  const before = document.activeElement;
  const name = `dialog-${(count += 1)}`;
  const problem = h("p", { class: "problem", role: "alert" });
  const confirm = h("button", { class: danger ? "danger" : "primary", type: "submit" }, yes);
  const cancel = h("button", { type: "button", on: { click: () => dialog.close() } }, t("dialog.cancel"));
  const submit = async (event) => {
    event.preventDefault();
    problem.textContent = "";
    confirm.disabled = true;
    confirm.setAttribute("aria-busy", "true");
    try {
      await act();
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
      confirm.disabled = false;
    } finally {
      confirm.removeAttribute("aria-busy");
    }
  };
  const dialog = h(
    "dialog",
    { "aria-labelledby": name, class: wide ? "wide" : null },
    h("form", { on: { submit } }, h("h2", { id: name }, title), body, problem, h("div", { class: "buttons" }, cancel, confirm)),
  );
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (before?.isConnected) before.focus();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, confirm };
}

/** Return a group of radio buttons. `choices`: `[value, label, hint]`; `group.value()` gives the one chosen. */
export function radios(name, legend, choices, chosen) {
  const buttons = choices.map(([value, label, hint]) => {
    const id = `${name}-${value || "none"}`;
    return h("div", { class: "choice" },
      h("input", { type: "radio", name, id, value, checked: value === chosen, "aria-describedby": hint ? `${id}-hint` : null }),
      h("label", { for: id }, label), hint && h("p", { id: `${id}-hint`, class: "hint" }, hint));
  });
  const group = h("fieldset", {}, h("legend", {}, legend), buttons);
  group.value = () => group.querySelector("input:checked")?.value ?? "";
  return group;
}
