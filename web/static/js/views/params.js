// Parameters, limits and what a stop does: a form made from their schemas, with a dry run before anything changes.

import { get, instancePath, post, put } from "../api.js";
import { fill, h, say, setText } from "../dom.js";
import { t } from "../i18n.js";
import { fieldsOf } from "../schema.js";

/** Show the form; returns what takes it away. */
export function showParams(panel, instance) {
  const form = new ParamsForm(panel, instance.instance_id);
  form.open();
  return () => {};
}

class ParamsForm {
  #panel;
  #id;
  /** By place in the file: `limits.max_position`. */
  #fields = new Map();
  #answer = null;
  #result = h("div", { class: "result", "aria-live": "polite" });
  #problem = h("p", { class: "problem", role: "alert" });
  #apply;
  #validate;

  constructor(panel, id) {
    this.#panel = panel;
    this.#id = id;
  }

  async open() {
    fill(this.#panel, h("p", { class: "reading" }, t("history.reading")));
    try {
      this.#answer = await get(instancePath(this.#id, "/config"));
      this.#draw(await get(instancePath(this.#id, "/config/schema")));
    } catch (error) {
      fill(this.#panel, h("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  #draw(schemas) {
    this.#fields.clear();
    const sections = Object.entries(schemas).map(([section, schema]) => this.#section(section, fieldsOf(schema)));
    this.#validate = h("button", { type: "button", on: { click: () => this.#send(true) } }, t("params.validate"));
    this.#apply = h("button", { type: "submit", class: "primary" }, t("params.apply"));
    const submit = (event) => {
      event.preventDefault();
      this.#send(false);
    };
    fill(this.#panel,
      h("form", { class: "params", novalidate: true, on: { submit, input: () => this.#edited() } },
        h("p", { class: "hint" }, t("params.intro", { file: this.#answer.file, version: this.#answer.version })),
        this.#runningNote(),
        sections,
        h("div", { class: "sticky" }, this.#problem, this.#result,
          h("div", { class: "buttons" }, h("button", { type: "button", on: { click: () => this.open() } }, t("params.reset")), this.#validate, this.#apply))));
    this.#edited();
  }

  #runningNote() {
    const { version, running_version } = this.#answer;
    if (!running_version || running_version === version) return null;
    return h("p", { class: "warning" }, t("params.running_version", { version: running_version }));
  }

  #section(section, fields) {
    const values = this.#answer.config[section] ?? {};
    const title = `section-${section}`;
    return h("div", { class: "fields panel", role: "group", "aria-labelledby": title },
      h("h2", { id: title }, t(`section.${section}`)), fields.map((field) => this.#row(section, field, values[field.name])));
  }

  #row(section, field, value) {
    const id = `${section}-${field.name}`;
    const shown = value !== undefined ? value : field.fallback;
    const input = inputFor(field, id, shown);
    const problem = h("p", { class: "problem", id: `${id}-problem` });
    const was = h("span", { class: "was" });
    const facts = [field.limits, field.needed ? t("params.needed") : t("params.fallback", { value: field.fallback === null ? t("params.not_set") : textOf(field.fallback) }), field.needs_restart && t("params.needs_restart")].filter(Boolean).join(" · ");
    input.setAttribute("aria-describedby", `${id}-help ${id}-problem`);
    const element = h("div", { class: "field" },
      h("label", { for: id }, field.name), h("div", { class: "entry" }, input, was),
      h("div", { class: "help", id: `${id}-help` }, h("p", {}, field.description), h("p", { class: "facts" }, facts)), problem);
    this.#fields.set(`${section}.${field.name}`, { section, field, input, problem, was, element, first: shown });
    return element;
  }

  #changes() {
    return [...this.#fields.values()].filter(({ field, input, first }) => textOf(readInput(field, input)) !== textOf(first));
  }

  #edited() {
    const changed = new Set(this.#changes());
    for (const held of this.#fields.values()) {
      const isChanged = changed.has(held);
      held.element.dataset.changed = String(isChanged);
      setText(held.was, isChanged ? t("params.was", { value: textOf(held.first) }) : "");
    }
    this.#apply.disabled = this.#validate.disabled = changed.size === 0;
    setText(this.#apply, changed.size ? t("params.apply_count", { count: changed.size }) : t("params.apply"));
  }

  #config() {
    const config = structuredClone(this.#answer.config);
    for (const { section, field, input } of this.#changes()) {
      config[section] = { ...config[section], [field.name]: readInput(field, input) };
    }
    return config;
  }

  async #send(dry) {
    setText(this.#problem, "");
    for (const { problem, input } of this.#fields.values()) {
      setText(problem, "");
      input.removeAttribute("aria-invalid");
    }
    try {
      const result = await put(instancePath(this.#id, `/config${dry ? "?dry_run=1" : ""}`), { config: this.#config(), base_version: this.#answer.version });
      if (!dry) await this.open();
      this.#show(result, dry);
    } catch (error) {
      this.#refused(error);
    }
  }

  #show(result, dry) {
    const restart = result.takes_effect === "restart";
    // By the answer: what this page knows of the run may be a second old.
    const running = Boolean(this.#answer.running_version);
    const nothing = result.takes_effect === "nothing";
    const applied = !running ? "params.applied_stopped" : restart ? "params.applied_restart" : "params.applied_next";
    const text = t(nothing ? "params.nothing" : dry ? "params.valid" : applied, { version: result.version });
    fill(this.#result,
      h("p", { class: "verdict", data: { kind: restart && running ? "warn" : "good" } }, text),
      result.warnings?.map((warning) => h("p", { class: "warning" }, warning)),
      h("ul", {}, result.changed.map((change) => h("li", {},
        h("code", {}, change.field), ` ${textOf(change.old)} → ${textOf(change.new)} `,
        h("span", { class: "tag", data: { restart: String(change.needs_restart) } }, t(change.needs_restart ? "params.needs_restart" : "params.next_iteration"))))),
      !dry && restart && running ? h("button", { type: "button", on: { click: () => this.#restart() } }, t("params.restart_now")) : null);
    say(text);
  }

  async #restart() {
    try {
      await post(instancePath(this.#id, "/restart"), { reason: "configuration" });
    } catch (error) {
      setText(this.#problem, error.message);
    }
  }

  #refused(error) {
    fill(this.#result);
    let first = null;
    const rest = [];
    for (const told of error.errors) {
      const held = this.#fields.get(told.field);
      const text = told.allowed ? `${told.message} (${told.allowed})` : told.message;
      if (!held) {
        rest.push(`${told.field}: ${text}`);
        continue;
      }
      setText(held.problem, text);
      held.input.setAttribute("aria-invalid", "true");
      first ??= held.input;
    }
    // What was typed stays, to be looked at beside what somebody else has made of it.
    const told = error.code === "conflict" ? t("params.conflict") : error.message;
    setText(this.#problem, first ? [t("params.refused"), ...rest].join(" ") : told);
    first?.focus();
  }
}

function inputFor(field, id, value) {
  if (field.kind === "boolean" && !field.nullable) return h("input", { type: "checkbox", id, checked: value === true || value === "true" });
  if (field.kind === "boolean" || field.kind === "choice") {
    const choices = field.kind === "choice" ? field.choices : [true, false];
    const offered = field.nullable ? [null, ...choices] : choices;
    return h("select", { id }, offered.map((choice) => h("option", { value: textOf(choice), selected: textOf(choice) === textOf(value) }, textOf(choice))));
  }
  return h("input", {
    type: "text",
    id,
    value: value === null || value === undefined ? "" : String(value),
    inputmode: field.kind === "text" ? "text" : "decimal",
    autocomplete: "off",
    spellcheck: "false",
    placeholder: field.nullable ? t("params.not_set") : "",
  });
}

function readInput(field, input) {
  if (input.type === "checkbox") return input.checked;
  const text = input.value.trim();
  if (input.tagName === "SELECT") return text === textOf(null) ? null : field.kind === "boolean" ? text === "true" : text;
  if (text === "" && field.nullable) return null;
  if (field.kind === "integer" && /^-?\d+$/.test(text)) return Number(text);
  // Money stays text: a number would lose digits.
  return text;
}

function textOf(value) {
  return value === null || value === undefined ? "–" : String(value);
}
