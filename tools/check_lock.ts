/**
 * Checks that no lock file names a download address: they would pin one registry's host, which not
 * every machine that installs from the lock file uses.
 *
 * @module
 */
import { ROOT } from "./project.ts";

const LOCKS: readonly string[] = [
  "deno.lock",
  "tools/swiftshader/deno.lock",
  "tools/texts/deno.lock",
  "tools/tint/deno.lock",
];

const found = LOCKS.flatMap((path) =>
  Deno.readTextFileSync(`${ROOT}${path}`).split("\n")
    .flatMap((line, index) => line.includes("://") ? [`${path}:${index + 1}: ${line.trim()}`] : [])
);
if (found.length > 0) {
  console.error(`Download addresses in lock files:\n${found.join("\n")}`);
  Deno.exit(1);
}
