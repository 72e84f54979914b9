/**
 * Checks options at every depth, against lists of fields that say what each may be. The compiler
 * checks a list against its interface ({@linkcode Fields}): a name that is missing, left over or of
 * another type does not compile. `docs/options.md` is written from the same lists.
 *
 * @module
 */
import { describeValue } from "./describe_value.ts";
import { CoupletError, type CoupletErrorCode } from "./errors.ts";

/** What a value may be, in words that follow "Use", and a test of a value. */
export type Kind<T> = readonly [wanted: string, accepts: (value: unknown) => value is T];

/**
 * What each property of an object may be. One whose name ends in `?` may be absent. No other
 * properties are allowed.
 */
export type Fields<T> = T extends unknown ? {
    readonly [
      K in keyof T & string as Record<never, never> extends Pick<T, K> ? `${K}?` : K
    ]-?: Rule<T[K]>;
  }
  : never;

/** A kind, the fields of an object, or a function that returns one of them for a value. */
export type Rule<T> = Kind<T> | Fields<T> | ((value: unknown) => Rule<T>);

/** A rule of any type. */
export type AnyRule =
  | readonly [wanted: string, accepts: (value: unknown) => boolean]
  | { readonly [name: string]: AnyRule }
  | ((value: unknown) => AnyRule);

/** A kind of the values that meet a condition. */
export function kind<T>(wanted: string, accepts: (value: unknown) => boolean): Kind<T> {
  return [wanted, accepts as Kind<T>[1]];
}

/** Most that a count may be: kernels add positions in 32 bits. */
const MOST = 2147483647;

/** Whole numbers of a range. */
export function whole(least: number, most: number = MOST): Kind<number> {
  return kind(
    `a whole number from ${least} to ${most}`,
    (value) => Number.isInteger(value) && value as number >= least && value as number <= most,
  );
}

/** Positive numbers that are neither 0 nor infinite in float32, which kernels compute in. */
export const POSITIVE: Kind<number> = kind("a positive number", (value) => {
  const rounded = FINITE[1](value) ? Math.fround(value) : 0;
  return rounded > 0 && rounded < Infinity;
});

/** Finite numbers. */
export const FINITE: Kind<number> = kind("a finite number", Number.isFinite);

/** Any text. */
export const TEXT: Kind<string> = kind("a text", (value) => typeof value === "string");

/** A choice. */
export const FLAG: Kind<boolean> = kind("true or false", (value) => typeof value === "boolean");

/** Any function. */
export const FUNCTION: Kind<never> = kind("a function", (value) => typeof value === "function");

/** One of some words. */
export function oneOf<T extends string>(...words: readonly T[]): Kind<T> {
  return kind(words.map((word) => `"${word}"`).join(" or "), (value) => words.includes(value as T));
}

/** Objects that have properties of these names. */
export function having<T>(wanted: string, ...names: readonly string[]): Kind<T> {
  return kind(wanted, (value) => names.every((name) => Object(value)[name] !== undefined));
}

/** A list of one kind. */
export function listOf<T>([wanted, accepts]: Kind<T>): Kind<readonly T[]> {
  return kind(
    `a list, each ${wanted}`,
    // A hole in a list is an element, too.
    (value) => Array.isArray(value) && [...value].every((one) => accepts(one)),
  );
}

/** A device, and not an adapter. */
export const DEVICE: Kind<GPUDevice> = having("a GPUDevice", "createBuffer");

/**
 * Whether a value is of a class, by the name of the class: other realms have classes of their own.
 */
export function isA(name: string, value: unknown): boolean {
  return Object.prototype.toString.call(value) === `[object ${name}]`;
}

/**
 * Checks options, and the options in them.
 *
 * @param what What cannot be done.
 * @throws {CoupletError} `code`, for the first option that its fields do not allow, named by its
 * path.
 */
export function checkOptions<T>(
  code: CoupletErrorCode,
  what: string,
  fields: Fields<T>,
  options: unknown,
): void {
  check(code, what, fields as AnyRule, options, "");
}

function check(
  code: CoupletErrorCode,
  what: string,
  given: AnyRule,
  value: unknown,
  path: string,
): void {
  const refuse = (why: string, wanted: string) => {
    throw new CoupletError(code, { what, why, remedy: `Use ${wanted}` });
  };
  const rule = typeof given === "function" ? given(value) : given;
  const is = `${path || "the argument"} is ${describeValue(value)}`;
  if (Array.isArray(rule)) {
    if (!rule[1](value)) refuse(is, rule[0]);
    return;
  }
  const keys = Object.keys(rule);
  const names = keys.map((key) => key.replace("?", ""));
  const known = names.join(", ");
  // The content of a Map or a promise would not be checked.
  if (!isA("Object", value) && !Array.isArray(value)) refuse(is, `an object of ${known}`);
  const within = path && `${path}.`;
  for (const name of Object.keys(value as object)) {
    if (!names.includes(name)) refuse(`unknown option "${within}${name}"`, known);
  }
  names.forEach((name, i) => {
    const found = (value as Record<string, unknown>)[name];
    if (found !== undefined || name === keys[i]) {
      check(code, what, (rule as Record<string, AnyRule>)[keys[i]!]!, found, within + name);
    }
  });
}
