/**
 * Kinds of data that functions are given: numbers, bytes, vectors. Engines do not need them.
 */
import { type Fields, isA, type Kind, kind, type Rule } from "./check_options.ts";

/** A file's bytes. */
export const BYTES: Kind<Uint8Array> = /* @__PURE__ */ typedArray("Uint8Array");

/** Single-precision numbers. */
export const FLOATS: Kind<Float32Array<ArrayBuffer>> = /* @__PURE__ */ typedArray("Float32Array");

/** Numbers in a list or a typed array. */
export const NUMBERS: Kind<ArrayLike<number>> = /* @__PURE__ */ kind(
  "a list of numbers",
  (value) =>
    Array.isArray(value)
      ? value.findIndex((one) => typeof one !== "number") < 0
      : ArrayBuffer.isView(value) && typeof (value as Float32Array)[0] !== "bigint" &&
        "length" in value,
);

/** A list whose elements all follow one rule. */
export function list<T>(wanted: string, rule: Rule<T>): Rule<readonly T[]> {
  const none = kind<never>(wanted, () => false);
  return (value) =>
    Array.isArray(value)
      ? Object.fromEntries(Array.from(value, (_, i) => [i, rule])) as unknown as Fields<
        readonly T[]
      >
      : none;
}

/** Any number. */
export const NUMBER: Kind<number> = /* @__PURE__ */ kind(
  "a number",
  (value) => typeof value === "number",
);

/** A typed array, by the name of its class. */
export function typedArray<T>(name: string): Kind<T> {
  return kind(`a ${name}`, (value) => isA(name, value));
}

/** An object with certain properties, each of its kind. It may have others. */
export function record<T>(
  wanted: string,
  kinds: { readonly [K in keyof T]-?: Kind<T[K]> },
): Kind<T> {
  const entries = Object.entries<Kind<unknown>>(kinds);
  return kind(wanted, (value) => entries.every(([name, own]) => own[1](Object(value)[name])));
}

/** A kind, or undefined. */
export function orNothing<T>([wanted, accepts]: Kind<T>): Kind<T | undefined> {
  return kind(wanted, (value) => value === undefined || accepts(value));
}

/** The properties of a value that are named in the fields. Data may have others. */
export function known<T>(fields: Fields<T>, value: unknown): unknown {
  const names = Object.keys(fields as object).map((name) => name.replace("?", ""));
  return Object(value) !== value
    ? value
    : Object.fromEntries(names.map((name) => [name, (value as Record<string, unknown>)[name]]));
}
