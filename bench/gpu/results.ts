/** The gpu suite's figures, and their file. */
import { z } from "zod";
import { readJson } from "../../cli/json.ts";
import { type AttentionBench, attentionBench } from "../attention/results.ts";
import { PROBES } from "./probes.ts";

const gpuBench = z.object({
  format: z.literal("couplet-bench-gpu"),
  version: z.literal(1),
  /** What the attention suite measured. */
  attention: attentionBench,
  /** Operations a second of small kernels, by round. */
  probes: z.array(z.object({
    what: z.enum(PROBES),
    samples: z.array(z.number().positive()).min(1),
  })),
  /** Kernels beside the float64 reference. */
  oracle: z.object({
    headDim: z.int(),
    /** Kernels that the adapter can run; those that are not below were not reached in time. */
    runnable: z.int(),
    kernels: z.array(z.union([
      z.object({ kernel: z.string(), error: z.number(), tolerance: z.number() }),
      z.object({ kernel: z.string(), failure: z.string() }),
    ])),
  }),
});

/** What a run of the suite comes to. */
export type GpuBench = z.infer<typeof gpuBench>;

/**
 * Reads figures of which there is a page.
 *
 * @throws {CoupletError} `file` where the file cannot be read or is something else.
 */
export async function readReported(path: string): Promise<AttentionBench | GpuBench> {
  const remedy = "Give a file that deno task bench attention --json or deno task bench gpu wrote";
  const schema = z.discriminatedUnion("format", [attentionBench, gpuBench]);
  return await readJson(path, { what: path, remedy }, schema);
}

/**
 * The folder of an adapter's results: the kind of a software adapter, and else its name in letters that every file system
 * takes.
 */
export function adapterFolder(
  { name, kind }: { readonly name: string; readonly kind: string },
): string {
  const words = kind === "hardware" ? name : kind;
  return words.toLowerCase().replace(/\(.*?\)/g, " ").trim().replace(/[^a-z0-9]+/g, "_")
    .replace(/^_|_$/g, "") || "unknown";
}
