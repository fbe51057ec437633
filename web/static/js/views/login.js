// Signing in with the password.

import { signIn } from "../api.js";
import { fill, h } from "../dom.js";
import { t } from "../i18n.js";

/** Show the form; `done(session)` is called once the server took the password. */
export function showLogin(main, done) {
  const password = h("input", {
    id: "password",
    name: "password",
    type: "password",
    autocomplete: "current-password",
    required: true,
    "aria-describedby": "password-problem",
  });
  const problem = h("p", { id: "password-problem", class: "problem", role: "alert" });
  const button = h("button", { class: "primary", type: "submit" }, t("login.go"));
  const submit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    problem.textContent = "";
    try {
      done(await signIn(password.value));
    } catch (error) {
      problem.textContent = messageOf(error);
      password.select();
    } finally {
      button.disabled = false;
    }
  };
  fill(
    main,
    h(
      "form",
      { class: "login panel", on: { submit } },
      // For password managers, which file a password under a name.
      h("input", { type: "text", name: "username", autocomplete: "username", value: "cleanbook", hidden: true }),
      h("h1", {}, t("login.title")),
      h("label", { for: "password" }, t("login.password")),
      password,
      problem,
      button,
      h("p", { class: "hint" }, t("login.hint")),
    ),
  );
  document.title = `${t("login.title")} · Cleanbook`;
  password.focus();
}

function messageOf(error) {
  if (error.status === 401) return t("login.wrong");
  if (error.status === 0) return t("error.unreachable");
  return error.message;
}
