/** The compiled kernels of a layer, and the constants each is compiled with. */
import type { ResolvedLayer, ResolvedOptions } from "../plan/options.ts";
import { keyAnchors } from "../model/anchors.ts";
import { EXACT_UNIT_BYTES, exactSequenceBytes, pageBytes } from "../plan/sizes.ts";
import type { KernelInfo } from "../kernels/kernel.ts";
import { ENCODE_TOKENS } from "../kernels/constants.ts";
import { type CompiledKernel, compileKernel } from "./pipelines.ts";
import type { AttentionKernels } from "../plan/choose_attention.ts";
import type { CachePlan, LayerPlan } from "../plan/plan.ts";
import type { StoreKernels } from "../plan/store_kernels.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { type Side, SIDES } from "../model/side.ts";

/** One layer's compiled attention. */
export interface CompiledAttention {
  readonly attend?: CompiledKernel;
  readonly table?: CompiledKernel;
  readonly score?: CompiledKernel;
  readonly remap?: CompiledKernel;
  readonly mix?: CompiledKernel;
}

/** One side's compiled encoders. */
export interface CompiledEncoder {
  /** Tokens of one record. */
  readonly recordTokens: number;
  /** For one record at a time: a decode step. */
  readonly one: CompiledKernel;
  /** For many tokens. */
  readonly many: CompiledKernel;
  /** Tokens a workgroup of `many` encodes. */
  readonly manyTokens: number;
}

/** One layer's compiled kernels. */
export interface CompiledLayer {
  /** Kernels that store exact tokens: one for both sides, or one for each. */
  readonly stores: readonly CompiledKernel[];
  readonly keys: CompiledEncoder;
  readonly values: CompiledEncoder;
  /** Kernels that turn exact and coded tokens back into vectors. */
  readonly read: Readonly<
    Record<Side, { readonly exact: CompiledKernel; readonly coded: CompiledKernel }>
  >;
  readonly decode: CompiledAttention;
  readonly prefill: CompiledAttention;
  readonly combine: CompiledKernel;
  /**
   * Kernels that copy a page of keys, a page of values, exact vectors, for each part of the layer.
   */
  readonly units: readonly CompiledUnits[];
}

/**
 * Kernels that copy whole units: within a buffer, where a unit of the exact tier is all that a
 * sequence has of it, and from one buffer to another, where it is two channels of each head.
 */
export type CompiledUnits = Readonly<
  Record<"copies" | "restores", Readonly<Record<CopiedBuffer, CompiledCopy>>>
>;

/** What is copied in whole units. */
export type CopiedBuffer = "keyRecords" | "valueRecords" | "exact";

/** A copy of units of a number of words. */
export interface CompiledCopy {
  /** The kernel, for units of this size. */
  readonly kernel: CompiledKernel;
  /** Words of a unit. */
  readonly words: number;
}

/** Compiles all kernels of one layer. */
export async function compileLayer(
  device: GPUDevice,
  { options, layers }: CachePlan,
  index: number,
): Promise<CompiledLayer> {
  const own = options.layers[index]!;
  const layer = layers[index]!;
  const compile = compilerFor(device, options, own);
  const ofSide = async (
    side: Side,
    encode: KernelInfo,
    decode: KernelInfo,
    load: KernelInfo,
  ) => {
    const SIDE = SIDES.indexOf(side);
    const [encoder, exact, coded] = await Promise.all([
      compileEncoder(compile, options, own, encode, side),
      compile(load, { SIDE }),
      compile(decode, { SIDE }),
    ]);
    return { encoder, read: { exact, coded } };
  };
  const [stores, keys, values, decode, prefill, combine, units] = await Promise.all([
    compileStores(compile, layer),
    ofSide("keys", layer.encodeKeys, layer.decodeKeys, layer.loadKeys),
    ofSide("values", layer.encodeValues, layer.decodeValues, layer.loadValues),
    compileAttention(compile, layer.decode),
    compileAttention(compile, layer.prefill),
    compile(layer.combine),
    Promise.all(layer.parts.map(({ count }) => compileUnits(compile, options, own, layer, count))),
  ]);
  return {
    stores,
    keys: keys.encoder,
    values: values.encoder,
    read: { keys: keys.read, values: values.read },
    decode,
    prefill,
    combine,
    units,
  };
}

/** Compiles a kernel, with the constants of all kernels of its layer and those given. */
export type Compile = (
  kernel: KernelInfo,
  constants?: Record<string, number>,
) => Promise<CompiledKernel>;

/** The logarithms of anchors' tokens, four bits for each band of pairs; 0 where there are none. */
function packAnchors(anchors: readonly number[]): number {
  return anchors.reduceRight((sum, tokens) => 16 * sum + (tokens && Math.log2(tokens)), 0);
}

/** The constants that all kernels of a layer share. */
export function layerConstants(
  { dtype, softcap, skipBelow }: ResolvedOptions,
  { keyOptions: keys, headDim }: ResolvedLayer,
): Record<string, number> {
  const anchors = keyAnchors(keys, headDim) ?? [];
  return {
    IO_HALF: dtype === "f16" ? 1 : 0,
    SOFTCAP: softcap > 0 ? 1 : 0,
    SKIP_BELOW: skipBelow,
    ...(keys.space !== "as-scored" && {
      INTERLEAVED: keys.rope.layout === "interleaved" ? 1 : 0,
      ROTARY_CHUNKS: (keys.rope.rotaryDim ?? headDim) / 8,
    }),
    ANCHORS_LOW: packAnchors(anchors.slice(0, 8)),
    ANCHORS_HIGH: packAnchors(anchors.slice(8)),
  };
}

export function compilerFor(
  device: GPUDevice,
  options: ResolvedOptions,
  layer: ResolvedLayer,
): Compile {
  const common = layerConstants(options, layer);
  return (kernel, constants) => compileKernel(device, kernel, { ...common, ...constants });
}

/** Compiles the kernel that encodes one side, for one record at a time and for many tokens. */
export async function compileEncoder(
  compile: Compile,
  { capacity }: ResolvedOptions,
  layer: ResolvedLayer,
  kernel: KernelInfo,
  side: Side,
): Promise<CompiledEncoder> {
  const recordTokens = sideLayout(layer, side).tokens;
  const SIDE = SIDES.indexOf(side);
  const cut = (TOKENS: number, BLOCK: number) => compile(kernel, { SIDE, TOKENS, BLOCK });
  const one = await cut(Math.min(recordTokens, ENCODE_TOKENS), recordTokens);
  // Where a workgroup has one record, however many there are.
  const isFixed = !kernel.overrides.includes("TOKENS");
  if (isFixed || capacity.appendTokens < ENCODE_TOKENS) {
    return { recordTokens, one, many: one, manyTokens: recordTokens };
  }
  const manyTokens = Math.max(recordTokens, ENCODE_TOKENS);
  return { recordTokens, one, many: await cut(ENCODE_TOKENS, manyTokens), manyTokens };
}

/** Compiles the kernels that store exact tokens. */
export function compileStores(
  compile: Compile,
  { storeKeys, storeValues }: StoreKernels,
): Promise<CompiledKernel[]> {
  return Promise.all(
    storeKeys === storeValues
      ? [compile(storeKeys)]
      : [storeKeys, storeValues].map((kernel, SIDE) => compile(kernel, { SIDE, SIDES: 1 })),
  );
}

export async function compileAttention(
  compile: Compile,
  kernels: AttentionKernels,
): Promise<CompiledAttention> {
  const compiled: { -readonly [name in keyof CompiledAttention]: CompiledAttention[name] } = {};
  for (const name of ["attend", "table", "score", "remap", "mix"] as const) {
    const kernel = kernels[name];
    if (kernel !== undefined) compiled[name] = await compile(kernel, { SPAN: kernels.span });
  }
  return compiled;
}

async function compileUnits(
  compile: Compile,
  options: ResolvedOptions,
  own: ResolvedLayer,
  layer: LayerPlan,
  heads: number,
): Promise<CompiledUnits> {
  const ofKernel = async (info: KernelInfo, exactBytes: number) => {
    const [keyRecords, valueRecords, exact] = await Promise.all(
      [
        pageBytes(own, "keys", heads),
        pageBytes(own, "values", heads),
        exactBytes,
      ].map(async (bytes): Promise<CompiledCopy> => {
        const words = bytes / 4;
        return { kernel: await compile(info, { UNIT: words }), words };
      }),
    );
    return { keyRecords: keyRecords!, valueRecords: valueRecords!, exact: exact! };
  };
  const [copies, restores] = await Promise.all([
    ofKernel(layer.copy, exactSequenceBytes(options, own, heads)),
    ofKernel(layer.restore, heads * EXACT_UNIT_BYTES),
  ]);
  return { copies, restores };
}
