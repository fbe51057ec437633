// Texts by language. A key without a translation falls back to English, and to itself.

export const LANGUAGES = { en: "English", "zh-TW": "正體中文" };

let language = "en";
let texts = {};
let fallback = {};

/** Return what the user chose, or what the browser prefers. */
export function preferredLanguage() {
  const kept = remembered("cleanbook.language");
  if (kept in LANGUAGES) return kept;
  return navigator.languages.some((name) => name.toLowerCase().startsWith("zh")) ? "zh-TW" : "en";
}

/** Load a language; the page has to be drawn anew afterwards. */
export async function useLanguage(name) {
  if (!Object.keys(fallback).length) fallback = await load("en");
  texts = name === "en" ? fallback : await load(name);
  language = name;
  document.documentElement.lang = name === "zh-TW" ? "zh-Hant-TW" : name;
  remember("cleanbook.language", name);
}

/** Return the language in use. */
export function currentLanguage() {
  return language;
}

/** Return a text, with `{name}` replaced from `values`. */
export function t(key, values = {}) {
  const text = texts[key] ?? fallback[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** Return whether there is a text of this name. */
export function hasText(key) {
  return key in texts || key in fallback;
}

async function load(name) {
  const answer = await fetch(new URL(`../i18n/${name}.json`, import.meta.url));
  if (!answer.ok) throw new Error(`language ${name}: ${answer.status}`);
  return answer.json();
}

/** Return what this browser keeps under a name; null where it keeps nothing. */
export function remembered(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Keep a preference in this browser, where it lets us. */
export function remember(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A private window keeps nothing; the choice then holds until the page is closed.
  }
}
