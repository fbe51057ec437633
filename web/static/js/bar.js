// The bar at the top: where we are, whether the data is live, and the page's own settings.

import { fill, h, setText } from "./dom.js";
import { currentLanguage, LANGUAGES, remember, remembered, t } from "./i18n.js";

const THEMES = ["auto", "light", "dark"];

let link = null;
let linkState = "connecting";

/** Draw the bar. `actions`: `language(name)`, `signOut()`; without a session only the settings are there. */
export function drawBar(element, { session, language, signOut }) {
  link = h("span", { class: "link" }, h("i", { class: "mark", "aria-hidden": "true" }), h("span"));
  fill(
    element,
    h("a", { class: "brand", href: "#/" }, h("img", { src: "icon.svg", alt: "", width: 20, height: 20 }), h("span", {}, "Cleanbook")),
    session && link,
    h("span", { class: "spring" }),
    session?.who && h("span", { class: "who" }, session.who),
    themeButton(),
    languageButton(language),
    session && h("button", { class: "quiet", type: "button", on: { click: signOut } }, t("bar.sign_out")),
  );
  showLink(linkState);
}

/** Show whether data is live: `connecting`, `live`, `lost`. */
export function showLink(state) {
  linkState = state;
  if (!link) return;
  link.dataset.link = state;
  setText(link.lastElementChild, t(`link.${state}`));
}

function themeButton() {
  const button = h("button", { class: "quiet", type: "button", id: "theme" });
  const show = () => {
    const theme = document.documentElement.dataset.theme;
    setText(button, t("theme.label", { theme: t(`theme.${theme}`) }));
  };
  button.addEventListener("click", () => {
    const root = document.documentElement;
    root.dataset.theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
    remember("cleanbook.theme", root.dataset.theme);
    show();
    // Canvases do not follow the style sheet by themselves.
    dispatchEvent(new Event("themechange"));
  });
  if (!THEMES.includes(document.documentElement.dataset.theme)) document.documentElement.dataset.theme = remembered("cleanbook.theme") ?? "auto";
  show();
  return button;
}

function languageButton(choose) {
  const other = Object.keys(LANGUAGES).find((name) => name !== currentLanguage());
  return h(
    "button",
    { class: "quiet", type: "button", id: "language", lang: other, on: { click: () => choose(other) } },
    LANGUAGES[other],
  );
}
