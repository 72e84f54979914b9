import {
  calibrate,
  type CodebookSet,
  decodeCodebooks,
  encodeCodebooks,
  type KeySpace,
  type SchemeId,
  type Side,
} from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { readFile, writeWhole } from "../../cli/files.ts";
import type { Stage } from "../../cli/progress.ts";
import type { Checkpoint } from "../engine/mod.ts";
import { weightedSamples, type Weighting } from "../engine/weighted_samples.ts";
import { isLearned, type Method, policyPairs } from "./methods.ts";

/** Codebooks that are learned together: from the same samples with the same weights. */
export interface CodebookNeed {
  readonly weights: Weighting;
  readonly keySpace: KeySpace;
  /** Whether KV heads share centroids that are added. */
  readonly shareHeads: boolean;
  readonly schemes: Readonly<Record<Side, readonly SchemeId[]>>;
}

/** What codebooks are learned from. */
export interface CalibrationSource {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** Token ids. */
  readonly contexts: readonly (readonly number[])[];
  /** The text's name. */
  readonly name: string;
  readonly seed: number;
  /** Where codebooks are kept, if anywhere. */
  readonly folder: string | undefined;
}

/** What the methods need, by weights, space and sharing. */
export function codebookNeeds(methods: readonly Method[]): readonly CodebookNeed[] {
  const needs = new Map<string, CodebookNeed & { schemes: Record<Side, SchemeId[]> }>();
  for (const { policy, weights, keySpace } of methods) {
    for (const pair of policyPairs(policy)) {
      for (const side of ["keys", "values"] as const) {
        if (!isLearned(pair[side])) continue;
        const { shareHeads = false } = policy;
        const common = { weights, keySpace, shareHeads };
        const id = needId(weights, keySpace, shareHeads);
        const need = needs.get(id) ?? { ...common, schemes: { keys: [], values: [] } };
        needs.set(id, need);
        if (!need.schemes[side].includes(pair[side])) need.schemes[side].push(pair[side]);
      }
    }
  }
  return [...needs.values()];
}

/** Names what is learned together. */
export function needId(weights: Weighting, keySpace: KeySpace, shareHeads = false): string {
  return `${weights} ${keySpace}${shareHeads ? " shared" : ""}`;
}

/**
 * The codebooks that are needed: from the folder as far as they are there, else learned, and then kept there.
 *
 * @throws {CoupletError} as `calibrate` and `decodeCodebooks` do, the latter for a damaged file.
 */
export async function provideCodebooks(
  need: CodebookNeed,
  source: CalibrationSource,
  stage: Stage,
): Promise<CodebookSet> {
  const { device, checkpoint, contexts, seed } = source;
  const path = source.folder === undefined
    ? undefined
    : join(source.folder, fileName(need, source));
  const kept = path === undefined ? undefined : await readKept(path, need, checkpoint);
  const missing = (side: Side) =>
    need.schemes[side].filter((scheme) =>
      !kept?.codebooks.some((one) => one.side === side && one.scheme === scheme)
    );
  const schemes = { keys: missing("keys"), values: missing("values") };
  if (kept !== undefined && schemes.keys.length + schemes.values.length === 0) return kept;

  // Samples and clustering take about as long.
  const samples = await weightedSamples({
    device,
    checkpoint,
    windows: contexts,
    weighting: need.weights,
    keySpace: need.keySpace,
    onProgress: (fraction) => stage.update(fraction / 2),
  });
  const learned = await calibrate({
    device,
    kernels: manifest,
    samples,
    schemes,
    keySpace: need.keySpace,
    model: checkpoint.fingerprint,
    valueRotations: checkpoint.valueRotations,
    seed,
    shareHeads: need.shareHeads,
    source: source.name,
    onProgress: ({ fraction }) => stage.update((1 + fraction) / 2),
  });
  const all = { ...learned, codebooks: [...kept?.codebooks ?? [], ...learned.codebooks] };
  if (path !== undefined) await writeWhole(path, encodeCodebooks(all));
  return all;
}

/** A name that is another wherever the codebooks would be. */
function fileName(
  { weights, keySpace, shareHeads }: CodebookNeed,
  { checkpoint, contexts, seed }: CalibrationSource,
): string {
  const digest = createHash("sha256")
    .update(
      JSON.stringify([
        checkpoint.fingerprint.digest,
        weights,
        keySpace,
        seed,
        contexts,
        ...(shareHeads ? ["heads share"] : []),
      ]),
    )
    .digest("hex");
  return `${checkpoint.fingerprint.name}-${weights}-${keySpace}-${digest.slice(0, 16)}.safetensors`;
}

async function readKept(
  path: string,
  { keySpace }: CodebookNeed,
  { config: { keyValueHeads, headDim }, fingerprint: model }: Checkpoint,
): Promise<CodebookSet | undefined> {
  try {
    await Deno.lstat(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const remedy = "Give another folder with --codebooks, or move this away";
  return await readFile(
    path,
    { what: `the codebooks ${path}`, remedy },
    (bytes) => decodeCodebooks(bytes, { model, keySpace, keyValueHeads, headDim }),
  );
}
