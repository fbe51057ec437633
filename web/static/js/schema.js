// What a form needs to know of a JSON schema: one field for each property of an object.

/**
 * Return the fields of an object's schema: `{name, kind, choices, nullable, needed, fallback, limits, needs_restart, description}`.
 * kind: `number`, `integer`, `boolean`, `choice`, `text`; anything else is left to the file.
 */
export function fieldsOf(schema) {
  const needed = new Set(schema.required ?? []);
  const fields = [];
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const field = fieldOf(property, schema);
    if (field && !property.deprecated) fields.push({ name, needed: needed.has(name), fallback: property.default ?? null, description: property.description ?? "", needs_restart: property["x-takes-effect"] === "restart", ...field });
  }
  // What has no default comes first.
  return fields.sort((one, other) => Number(other.needed) - Number(one.needed));
}

function resolve(property, schema) {
  const name = property.$ref?.split("/").pop();
  return name ? { ...schema.$defs?.[name], ...property } : property;
}

function fieldOf(property, schema) {
  const forms = (property.anyOf ?? property.oneOf ?? [property]).map((form) => resolve(form, schema));
  const nullable = forms.some((form) => form.type === "null");
  const real = forms.filter((form) => form.type !== "null");
  const of = (type) => real.find((form) => form.type === type);
  const listed = real.find((form) => form.enum && form.type !== "boolean");
  if (of("boolean")) return { kind: "boolean", nullable };
  const number = of("integer") ?? of("number");
  // Numbers may also be written as text; the form with limits is the one that says what is allowed.
  if (number) return { kind: number.type, nullable, limits: limitsOf(number) };
  if (listed) return { kind: "choice", choices: listed.enum, nullable };
  const text = of("string");
  if (text) return { kind: /\\d/.test(text.pattern ?? "") ? "number" : "text", nullable, limits: "" };
  return null;
}

function limitsOf(form) {
  const parts = [];
  if (form.exclusiveMinimum !== undefined) parts.push(`> ${form.exclusiveMinimum}`);
  if (form.minimum !== undefined) parts.push(`≥ ${form.minimum}`);
  if (form.exclusiveMaximum !== undefined) parts.push(`< ${form.exclusiveMaximum}`);
  if (form.maximum !== undefined) parts.push(`≤ ${form.maximum}`);
  return parts.join(", ");
}
