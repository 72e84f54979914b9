/**
 * Options checked at every depth, by tables that say what each may be. The compiler holds a table to the interface it is of
 * ({@linkcode Fields}): a name that is missing, left over or of another type does not compile. The documentation's tables
 * are made of them.
 *
 * @module
 */
import { CoupletError, type CoupletErrorCode } from "./errors.ts";

/** What a value may be: in words that follow "Use", and whether one is that. */
export type Kind<T> = readonly [wanted: string, accepts: (value: unknown) => value is T];

/** What each property of an object may be. One whose name ends in `?` may be absent; others than these may not be there. */
export type Fields<T> = T extends unknown ? {
    readonly [
      K in keyof T & string as Record<never, never> extends Pick<T, K> ? `${K}?` : K
    ]-?: Rule<T[K]>;
  }
  : never;

/** A kind, the fields of an object, or what tells them by the value. */
export type Rule<T> = Kind<T> | Fields<T> | ((value: unknown) => Rule<T>);

/** The same, whatever it is of. */
export type AnyRule =
  | readonly [wanted: string, accepts: (value: unknown) => boolean]
  | { readonly [name: string]: AnyRule }
  | ((value: unknown) => AnyRule);

/** A kind of whatever meets a condition. */
export function kind<T>(wanted: string, accepts: (value: unknown) => boolean): Kind<T> {
  return [wanted, accepts as Kind<T>[1]];
}

/** Most that a count may be: kernels add positions in 32 bits. */
const MOST = 2 ** 31 - 1;

/** Whole numbers of a range. */
export function whole(least: number, most: number = MOST): Kind<number> {
  return kind(
    `a whole number from ${least} to ${most}`,
    (value) => Number.isInteger(value) && value as number >= least && value as number <= most,
  );
}

/** Numbers that float32 holds and does not round to 0, as kernels get them. */
export const POSITIVE: Kind<number> = kind("a positive number", (value) => {
  const rounded = typeof value === "number" ? Math.fround(value) : 0;
  return rounded > 0 && rounded < Infinity;
});

/** Any number. */
export const NUMBER: Kind<number> = kind("a number", (value) => typeof value === "number");

/** Finite numbers. */
export const FINITE: Kind<number> = kind("a finite number", Number.isFinite);

/** Any text. */
export const TEXT: Kind<string> = kind("a text", (value) => typeof value === "string");

/** Any function. */
export const FUNCTION: Kind<never> = kind("a function", (value) => typeof value === "function");

/** One of some words. */
export function oneOf<T extends string>(...words: readonly T[]): Kind<T> {
  return kind(words.map((word) => `"${word}"`).join(" or "), (value) => words.includes(value as T));
}

/** Whatever has properties of these names. */
export function having<T>(wanted: string, ...names: readonly string[]): Kind<T> {
  return kind(wanted, (value) => names.every((name) => Object(value)[name] !== undefined));
}

/** Whatever has certain properties, each of its kind, and any others. */
export function record<T>(
  wanted: string,
  kinds: { readonly [K in keyof T]-?: Kind<T[K]> },
): Kind<T> {
  const entries = Object.entries<Kind<unknown>>(kinds);
  return kind(wanted, (value) => entries.every(([name, own]) => own[1](Object(value)[name])));
}

/** A typed array, by the name of its class; whatever realm it is of. */
export function typedArray<T>(name: string): Kind<T> {
  return kind(`a ${name}`, (value) => tag(value) === `[object ${name}]`);
}

/** A list of one kind. */
export function listOf<T>([wanted, accepts]: Kind<T>): Kind<readonly T[]> {
  return kind(
    `a list, each ${wanted}`,
    (value) => Array.isArray(value) && [...value].every((one) => accepts(one)),
  );
}

/** One value, or a list of them. */
export function oneOrEach<T>(one: Kind<T>, each: string): Kind<T | readonly T[]> {
  return kind(
    `${one[0]}, or a list with one for each ${each}`,
    (value) => one[1](value) || listOf(one)[1](value),
  );
}

/** One rule for all that has a number, as the elements of a list have. */
export function everyOne<T>(
  wanted: string,
  rule: Rule<T>,
  accepts: (value: unknown) => boolean = isRecord,
): (value: unknown) => Rule<Readonly<Record<number, T>>> {
  const other = kind<never>(wanted, () => false);
  return (value) =>
    !accepts(value) ? other : Object.fromEntries(
      // A hole in a list is an element, too.
      Object.keys(Array.isArray(value) ? [...value] : value as object)
        .map((name) => [name, String(Number(name) >>> 0) === name ? rule : other]),
    );
}

/** A device, which is no adapter. */
export const DEVICE: Kind<GPUDevice> = having(
  "the device that adapter.requestDevice() gives",
  "createBuffer",
  "queue",
);

/**
 * Checks options, and theirs.
 *
 * @param what What cannot be done.
 * @param remedy What to do, where it is not to use what the table says.
 * @throws {CoupletError} `code`, for the first that is not what its table says, by its path.
 */
export function checkOptions<T>(
  code: CoupletErrorCode,
  what: string,
  fields: Fields<T>,
  options: unknown,
  remedy?: string,
): void {
  check(fields as AnyRule, options, "", (why, wanted) => {
    throw new CoupletError(code, { what, why, remedy: remedy ?? `Use ${wanted}` });
  });
}

function check(
  given: AnyRule,
  value: unknown,
  path: string,
  refuse: (why: string, wanted: string) => void,
): void {
  const rule = typeof given === "function" ? given(value) : given;
  const is = `${path || "the argument"} is ${shown(value)}`;
  if (Array.isArray(rule)) {
    if (!rule[1](value)) refuse(is, rule[0]);
    return;
  }
  const entries = Object.entries(rule as Record<string, AnyRule>);
  const names = entries.map(([name]) => name.replace("?", ""));
  const known = names.join(", ");
  if (!isRecord(value)) refuse(is, `an object of ${known}`);
  const within = path && `${path}.`;
  for (const name of Object.keys(value as object)) {
    if (!names.includes(name)) refuse(`it knows no option "${within}${name}"`, known);
  }
  entries.forEach(([key, own], i) => {
    const name = names[i]!;
    const found = (value as Record<string, unknown>)[name];
    if (found !== undefined || name === key) check(own, found, within + name, refuse);
  });
}

/** Whether a value has properties by name: what a Map or a promise holds would be passed over. */
function isRecord(value: unknown): value is object {
  return / (Object|Array)]/.test(tag(value));
}

function tag(value: unknown): string {
  return Object.prototype.toString.call(value);
}

/** A value in a few words, for errors. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 40));
  if (Object(value) !== value) return String(value);
  return `of type ${Object(value).constructor?.name ?? typeof value}`;
}
