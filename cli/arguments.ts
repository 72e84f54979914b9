/** Readers and checks of arguments that commands share. */
import { InvalidArgumentError } from "commander";
import { stat } from "node:fs/promises";
import { dirname } from "node:path";
import { CoupletError } from "../src/base/errors.ts";

/** A reader of integers of at least `least`. */
export function integerFrom(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < least || !Number.isSafeInteger(value)) {
      throw new InvalidArgumentError(`It must be an integer from ${least}.`);
    }
    return value;
  };
}

/** A reader of numbers of at least `least`, and at most `most`. */
export function numberFrom(least: number, most = Infinity): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !(value >= least && value <= most && value < Infinity)) {
      const range = most < Infinity ? `${least} to ${most}` : `${least}`;
      throw new InvalidArgumentError(`It must be a number from ${range}.`);
    }
    return value;
  };
}

/** A reader of comma-separated lists. */
export function listOf<T>(read: (text: string) => T): (text: string) => readonly T[] {
  return (text) => text.split(",").map((item) => read(item.trim()));
}

/** A reader of one of some words. */
export function oneOf<T extends string>(choices: readonly T[]): (text: string) => T {
  return (text) => {
    const found = choices.find((choice) => choice === text);
    if (found === undefined) {
      throw new InvalidArgumentError(`Choices are ${choices.join(", ")}.`);
    }
    return found;
  };
}

/** The error of a wrong argument. `what` is what cannot be done because of it. */
export function usageError(what: string, why: string): CoupletError {
  return new CoupletError("usage", {
    what,
    why: why.replace(/\.$/, ""),
    remedy: "See --help for all options",
  });
}

/**
 * Checks before minutes of work that a file can be written.
 *
 * @throws {CoupletError} `file` where it cannot.
 */
export async function checkWritable(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  const folder = await stat(dirname(path)).catch(() => undefined);
  const present = await stat(path).catch(() => undefined);
  if (!folder?.isDirectory() || present?.isDirectory()) {
    throw new CoupletError("file", {
      what: `Cannot write to ${path}`,
      why: present?.isDirectory() ? "it is a folder" : `there is no folder ${dirname(path)}`,
      remedy: "Pass the path of a file in a folder that exists",
    });
  }
}
