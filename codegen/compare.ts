/** Compares a folder with what generation would write, by full content. */
import type { GeneratedFiles } from "./emit.ts";

/** How a folder differs from what generation would write. */
export interface Difference {
  /** Files that are not there. */
  readonly missing: readonly string[];
  /** Files with other content. */
  readonly stale: readonly string[];
  /** Files that no row gives. */
  readonly orphaned: readonly string[];
}

function filesIn(folder: URL): string[] {
  try {
    return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** Reads `folder` and changes nothing. */
export function compareFiles(folder: URL, wanted: GeneratedFiles): Difference {
  const present = filesIn(folder);
  const has = new Set(present);
  return {
    missing: [...wanted.keys()].filter((name) => !has.has(name)),
    stale: [...wanted].filter(([name, text]) =>
      has.has(name) && Deno.readTextFileSync(new URL(name, folder)) !== text
    ).map(([name]) => name),
    orphaned: present.filter((name) => !wanted.has(name)),
  };
}

/** Makes `folder` hold exactly the wanted files, writing only what differs. */
export function writeFiles(folder: URL, wanted: GeneratedFiles): Difference {
  const difference = compareFiles(folder, wanted);
  Deno.mkdirSync(folder, { recursive: true });
  for (const name of [...difference.missing, ...difference.stale]) {
    Deno.writeTextFileSync(new URL(name, folder), wanted.get(name)!);
  }
  for (const name of difference.orphaned) Deno.removeSync(new URL(name, folder));
  return difference;
}
