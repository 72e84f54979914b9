/** Values that no caller should give, put into every place of a call's arguments. */
import assert from "node:assert/strict";
import { CoupletError } from "../../mod.ts";

/** One of each kind of mistake: nothing, another type, another range, what was not awaited, what looks like a list. */
export const BAD_VALUES: readonly unknown[] = [
  undefined,
  null,
  true,
  -1,
  0,
  0.5,
  NaN,
  Infinity,
  2 ** 33,
  2 ** 53,
  1n,
  "",
  "pre_rope",
  "length",
  Symbol("bad"),
  [],
  [null],
  [undefined],
  {},
  Object.create(null),
  () => 0,
  Promise.resolve({}),
  new Map(),
  new Float32Array(3),
  new BigInt64Array(2),
  new Date(0),
];

/** A call, by name, with arguments that are right. */
export interface Call {
  readonly name: string;
  readonly arguments: readonly unknown[];
  // deno-lint-ignore no-explicit-any
  readonly run: (...values: any[]) => unknown;
}

/** What the library gave, and takes back whole: nobody changes what lies in it. */
export class Opaque {
  readonly value: unknown;
  constructor(value: unknown) {
    this.value = value;
  }
}

/** Steps to a place in a call's arguments: the argument's index, then names within. */
type Place = readonly (string | number)[];

/** Elements of a list within an argument that are tried: others are like the first. */
const TRIED_ELEMENTS = 1;

/** How deep arguments are looked into: the arguments, an option, an option of it, and what lies in that. */
const DEPTH = 5;

/** Every place in a value: itself and, where it is a plain object or a list, what lies in it. */
function places(value: unknown, depth = DEPTH): Place[] {
  if (!(Array.isArray(value) || isPlain(value)) || depth === 0) return [[]];
  const names = Array.isArray(value)
    ? [...value.keys()].slice(0, depth === DEPTH ? Infinity : TRIED_ELEMENTS)
    : Object.keys(value);
  return [
    [],
    ...names.flatMap((name) =>
      places((value as Record<string | number, unknown>)[name], depth - 1).map((
        rest,
      ) => [name, ...rest])
    ),
  ];
}

/** The value with another at a place. */
function replaced(value: unknown, [name, ...rest]: Place, by: unknown): unknown {
  if (name === undefined) return by;
  const copy: Record<string | number, unknown> | unknown[] = Array.isArray(value)
    ? [...value]
    : { ...value as object };
  const names = copy as Record<string | number, unknown>;
  names[name] = replaced(names[name], rest, by);
  return copy;
}

/** The value without what hides parts of it. */
export function opened(value: unknown): unknown {
  if (value instanceof Opaque) return value.value;
  if (Array.isArray(value)) return value.map(opened);
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, own]) => [name, opened(own)]));
}

function isPlain(value: unknown): value is object {
  return typeof value === "object" && value !== null &&
    Object.getPrototypeOf(value) === Object.prototype;
}

/**
 * Calls with each bad value in each place. A call may take it, where it is a value like others; what it refuses, it
 * refuses by an error of the library with its three sentences.
 *
 * @returns How many calls were refused.
 */
export async function tryBadValues({ name, arguments: given, run }: Call): Promise<number> {
  let refused = 0;
  for (const place of places(given).filter(({ length }) => length > 0)) {
    for (const bad of BAD_VALUES) {
      const values = opened(replaced(given, place, bad)) as unknown[];
      const error = await failure(() => run(...values));
      if (error === undefined) continue;
      const where = `${name}, ${place.join(".")} = ${describe(bad)}`;
      assert.ok(
        error instanceof CoupletError,
        `${where}: ${(error as Error)?.stack ?? String(error)}`,
      );
      for (const part of Object.values(error.parts)) {
        assert.ok(
          part.length > 2 && !/\[object |undefined is undefined/.test(part),
          `${where}: ${part}`,
        );
      }
      refused++;
    }
  }
  return refused;
}

/** What a call throws, or its promise is rejected with. */
export async function failure(run: () => unknown): Promise<unknown> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return error ?? "nothing";
  }
}

function describe(value: unknown): string {
  return Object(value) === value
    ? Object.prototype.toString.call(value)
    : typeof value === "string"
    ? JSON.stringify(value)
    : String(value);
}
