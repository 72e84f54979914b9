/** Describes a value of unknown type for an error, in a few words even where it is large. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (Object(value) !== value) return String(value);
  const name = (value as object).constructor?.name ?? "Object";
  return name === "Object" ? "an object" : `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
}
