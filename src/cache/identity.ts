/**
 * What a cache's codes depend on, as text and as digests. Two caches with equal identities can read
 * each other's codes.
 */
import { isOwn, type ResolvedLayer, type ResolvedOptions } from "../plan/options.ts";
import type { LayerPolicy } from "../schemes/policy.ts";
import type { ModelFingerprint } from "../model/model.ts";
import type { SideCodebook } from "../codebooks/codebook.ts";
import { keyAnchors } from "../model/anchors.ts";
import { onceIfAlike } from "../model/once_if_alike.ts";
import { sha256 } from "../base/sha256.ts";

/**
 * What a cache's codes depend on. Capacity, the host's buffers and the choice of kernels do not
 * count.
 */
export interface CacheIdentity {
  /** The model, where the cache was given one. */
  readonly model: ModelFingerprint | undefined;
  /** Shape, policy, tiers and key options: {@linkcode describePlan}. */
  readonly plan: string;
  /** SHA-256 of `plan`. */
  readonly planFingerprint: string;
  /**
   * SHA-256 of the codebooks in use, in order of layer and side, and of learned sinks.
   */
  readonly codebookFingerprint: string;
}

/** The parts of a plan's options that codes depend on, as JSON with every default filled in. */
export function describePlan(options: ResolvedOptions): string {
  const { shape, layers, tiers, softcap, spans } = options;
  const each = <T>(pick: (layer: ResolvedLayer) => T) => onceIfAlike(layers.map(pick));
  return JSON.stringify({
    shape: {
      layers: shape.layers,
      queryHeads: each((layer) => layer.queryHeads),
      keyValueHeads: layers.map((layer) => layer.keyValueHeads),
      headDim: each((layer) => layer.headDim),
      // Left out where it is the same.
      valueHeadDim: each(({ headDim, valueHeadDim }) =>
        valueHeadDim === headDim ? undefined : valueHeadDim
      ),
      ...(layers.every(isOwn) ? {} : { sources: layers.map((layer) => layer.source) }),
    },
    policy: layers.map((layer) => [layer.keys, layer.values]),
    tiers: { sinks: tiers.sinks, window: tiers.window },
    keys: each(describeKeys),
    attention: {
      scale: each((layer) => layer.scale),
      softcap,
      slidingWindows: layers.map((layer) => layer.slidingWindow),
    },
    ...(spans.length > 0 && {
      spans: Object.fromEntries(spans.map(({ layers, span: { name, remap } }) => [
        name,
        [layers.map(({ keys, values }) => [keys, values]), remap],
      ])),
    }),
  });
}

function describeKeys({ keyOptions: keys, headDim }: ResolvedLayer): unknown {
  const { space } = keys;
  if (space === "as-scored") return { space };
  const anchors = keyAnchors(keys, headDim);
  const { layout, theta, rotaryDim, positionOffset, inverseFrequencies, sections } = keys.rope;
  return {
    space,
    ...(anchors && { anchors }),
    rope: {
      layout,
      rotaryDim: rotaryDim ?? headDim,
      positionOffset: positionOffset ?? 0,
      // Explicit frequencies replace the series computed from theta.
      ...(inverseFrequencies === undefined ? { theta } : { inverseFrequencies }),
      sections,
    },
  };
}

/** The codebooks of a layer, undefined where a scheme has none. */
type SideCodebooks = Readonly<Record<keyof LayerPolicy, SideCodebook | undefined>>;

/** What a cache was given besides its plan, and its codes depend on. */
export interface CodedWith {
  /** By layer and side. */
  readonly codebooks: readonly SideCodebooks[];
  /** By kind of span, layer and side. */
  readonly spans: readonly (readonly SideCodebooks[])[];
  readonly sinkLogits: Float32Array<ArrayBuffer> | undefined;
  readonly model: ModelFingerprint | undefined;
}

/** The identity of a cache with this plan. */
export async function identifyCache(
  options: ResolvedOptions,
  { codebooks, spans, sinkLogits, model }: CodedWith,
): Promise<CacheIdentity> {
  const plan = describePlan(options);
  const [planFingerprint, codebookFingerprint] = await Promise.all([
    sha256(new TextEncoder().encode(plan)),
    fingerprintNumbers([...codebooks, ...spans.flat()], sinkLogits),
  ]);
  return {
    model: model === undefined ? undefined : { name: model.name, digest: model.digest },
    plan,
    planFingerprint,
    codebookFingerprint,
  };
}

async function fingerprintNumbers(
  layers: CodedWith["codebooks"],
  sinkLogits: CodedWith["sinkLogits"],
): Promise<string> {
  const parts = await Promise.all([
    sinkLogits === undefined ? null : sha256(bytesOf(sinkLogits)),
    ...layers.flatMap(({ keys, values }) => [keys, values].map(fingerprintCodebook)),
  ]);
  return await sha256(new TextEncoder().encode(JSON.stringify(parts)));
}

/** Scheme and digests of one codebook's numbers; `null` where the scheme has no codebook. */
async function fingerprintCodebook(codebook: SideCodebook | undefined): Promise<unknown> {
  if (codebook === undefined) return null;
  const { scheme, centroids, grid, scale, transform } = codebook;
  return [
    scheme,
    await sha256(bytesOf(centroids)),
    grid === undefined ? null : await sha256(bytesOf(grid)),
    scale === undefined ? null : await sha256(bytesOf(scale)),
    ...(transform === undefined ? [] : [await sha256(bytesOf(transform))]),
  ];
}

function bytesOf(
  { buffer, byteOffset, byteLength }: Uint8Array | Uint16Array | Float32Array,
): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}
