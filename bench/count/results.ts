/** The count suite's figures, and their file. */
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { readJson } from "../../cli/json.ts";

/** Loads of one token, all lanes together. */
const loads = z.object({ count: z.number(), bytes: z.number() });

/** What one kernel does for a token of one KV head, all lanes and `BLOCK_ROWS` query rows together. */
const kernelCount = z.object({
  kernel: z.string(),
  /** Tokens of a tile. */
  tile: z.int(),
  /** Instructions of lanes that compute, everything in a tile's loop. */
  instructions: z.number(),
  /** Those in each loop of the tile's, in order: scoring, mixing. What the compiler unrolled is in none. */
  loops: z.array(z.number()),
  /** Instructions of the wave, once for all lanes, times a wave's lanes. */
  scalar: z.number(),
  /** Registers of a lane. */
  registers: z.int(),
  /** Registers of a lane that did not fit. */
  spilled: z.int(),
  /** Loads and stores of such registers. */
  spills: z.number(),
  /** Waves of a SIMD that run at a time. */
  waves: z.int(),
  /** Loads by buffer, and of workgroup memory as `workgroup`. */
  loads: z.record(z.string(), loads),
  /** Those whose place depends on data. */
  gathers: z.record(z.string(), loads),
});

const countBench = z.object({
  format: z.literal("couplet-bench-count"),
  version: z.literal(1),
  /** The chip compiled for, in RADV's word. */
  family: z.string(),
  mesa: z.string(),
  /** Version of the package that holds Dawn. */
  dawn: z.string(),
  /** Pipeline-overridable constants that were not at their defaults. */
  overrides: z.record(z.string(), z.number()),
  counts: z.array(kernelCount),
  /** Kernels that could not be counted. */
  refused: z.array(z.object({ kernel: z.string(), why: z.string() })),
});

/** Loads of one token, all lanes together. */
export type TokenLoads = Readonly<z.infer<typeof loads>>;

/** What one kernel does for a token of one KV head, all lanes and four query rows together. */
export type KernelCount = z.infer<typeof kernelCount>;

/** What a run of the suite comes to. */
export type CountBench = z.infer<typeof countBench>;

/** The published figures, which are also the ceilings that a test holds kernels against. */
export const PUBLISHED: string = fileURLToPath(
  new URL("../results/navi21/count.json", import.meta.url),
);

/**
 * Reads a file of figures.
 *
 * @throws {CoupletError} `file` where it cannot be read or is something else.
 */
export async function readCounts(path: string): Promise<CountBench> {
  const remedy = "Give a file that deno task bench count --json wrote";
  return await readJson(path, { what: path, remedy }, countBench);
}
