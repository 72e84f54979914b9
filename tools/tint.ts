/**
 * Checks WGSL with Tint, the compiler of Chrome and Dawn: what Deno's own compiler (naga) accepts is
 * not always what Tint accepts.
 *
 * @module
 */
import { runProject } from "./project.ts";

/**
 * Compiles WGSL sources with Tint on a device with WebGPU's default limits and no optional feature but
 * those that the source enables, each with its one entry point.
 *
 * @param sources WGSL by name.
 * @returns Tint's messages by name, for the sources that fail; empty where all compile.
 */
export async function compileWithTint(
  sources: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const output = await runProject("tint", "compile.ts", [], {
    input: JSON.stringify([...sources]),
  });
  return new Map<string, string>(JSON.parse(output));
}
