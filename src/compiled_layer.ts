/** The compiled kernels of a layer, and the constants each is compiled with. */
import type { ResolvedOptions } from "./cache_options.ts";
import { exactSequenceBytes, pageBytes } from "./cache_sizes.ts";
import type { KernelInfo } from "./kernel.ts";
import { ENCODE_TOKENS } from "./kernel_constants.ts";
import { kernelParts } from "./select_kernel.ts";
import { type CompiledKernel, compileKernel } from "./pipelines.ts";
import type { AttentionKernels } from "./choose_attention.ts";
import type { CachePlan, LayerPlan } from "./plan.ts";
import { parseScheme, type SchemeId, type Side, SIDES } from "./scheme.ts";

/** One layer's compiled attention. */
export interface CompiledAttention {
  readonly attend?: CompiledKernel;
  readonly table?: CompiledKernel;
  readonly score?: CompiledKernel;
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
  readonly store: CompiledKernel;
  readonly keys: CompiledEncoder;
  readonly values: CompiledEncoder;
  /** Exact tokens and coded ones back into vectors. */
  readonly read: Readonly<
    Record<Side, { readonly exact: CompiledKernel; readonly coded: CompiledKernel }>
  >;
  readonly decode: CompiledAttention;
  readonly prefill: CompiledAttention;
  readonly combine: CompiledKernel;
  /** What copies a page of keys, a page of values, a sequence's exact tier; for each part of the layer. */
  readonly units: readonly CompiledUnits[];
}

/** What copies whole units: within their buffers, and out of a restored sequence's. */
export type CompiledUnits = Readonly<
  Record<"copies" | "restores", Readonly<Record<CopiedBuffer, CompiledCopy>>>
>;

/** What is copied in whole units. */
export type CopiedBuffer = "keyRecords" | "valueRecords" | "exact";

/** A copy of units of so many words. */
export interface CompiledCopy {
  /** The kernel, for units of this size. */
  readonly kernel: CompiledKernel;
  /** Words of a unit. */
  readonly words: number;
}

/** Compiles all kernels of one layer. */
export async function compileLayer(
  device: GPUDevice,
  { options }: CachePlan,
  layer: LayerPlan,
): Promise<CompiledLayer> {
  const host = { IO_HALF: options.dtype === "f16" ? 1 : 0 };
  const ofSide = async (side: Side, encode: KernelInfo, decode: KernelInfo) => {
    const SIDE = SIDES.indexOf(side);
    const rotary = side === "keys" ? rotaryConstants(options, decode) : {};
    const [encoder, exact, coded] = await Promise.all([
      compileEncoder(device, options, layer[side], encode, SIDE),
      compileKernel(device, layer.load, { ...host, SIDE }),
      compileKernel(device, decode, { ...host, SIDE, ...rotary }),
    ]);
    return { encoder, read: { exact, coded } };
  };
  const [store, keys, values, decode, prefill, combine, units] = await Promise.all([
    compileKernel(device, layer.store, host),
    ofSide("keys", layer.encodeKeys, layer.decodeKeys),
    ofSide("values", layer.encodeValues, layer.decodeValues),
    compileAttention(device, options, layer.decode),
    compileAttention(device, options, layer.prefill),
    compileKernel(device, layer.combine, host),
    Promise.all(layer.parts.map(({ count }) => compileUnits(device, options, layer, count))),
  ]);
  return {
    store,
    keys: keys.encoder,
    values: values.encoder,
    read: { keys: keys.read, values: values.read },
    decode,
    prefill,
    combine,
    units,
  };
}

async function compileEncoder(
  device: GPUDevice,
  options: ResolvedOptions,
  schemeId: SchemeId,
  kernel: KernelInfo,
  side: number,
): Promise<CompiledEncoder> {
  const { shape, capacity } = options;
  const { layout, codebook } = parseScheme(schemeId);
  const recordTokens = layout(shape.headDim).tokens;
  if (codebook !== "learned") {
    // A workgroup has one record, however many there are.
    const rotary = rotaryConstants(options, kernel);
    const one = await compileKernel(device, kernel, { SIDE: side, ...rotary });
    return { recordTokens, one, many: one, manyTokens: recordTokens };
  }
  const compile = (tokens: number, block: number) =>
    compileKernel(device, kernel, { SIDE: side, TOKENS: tokens, BLOCK: block });
  const one = await compile(Math.min(recordTokens, ENCODE_TOKENS), recordTokens);
  const manyTokens = Math.max(recordTokens, ENCODE_TOKENS);
  const many = capacity.appendTokens < ENCODE_TOKENS
    ? one
    : await compile(ENCODE_TOKENS, manyTokens);
  return { recordTokens, one, many, manyTokens: many === one ? recordTokens : manyTokens };
}

/** The constants of kernels that rotate by position. */
function rotaryConstants(
  { keys, shape }: ResolvedOptions,
  kernel: KernelInfo,
): Record<string, number> {
  if (keys.space !== "pre-rope" || kernelParts(kernel).variant !== "rope") return {};
  return {
    INTERLEAVED: keys.rope.layout === "interleaved" ? 1 : 0,
    ROTARY_CHUNKS: (keys.rope.rotaryDim ?? shape.headDim) / 8,
  };
}

async function compileAttention(
  device: GPUDevice,
  options: ResolvedOptions,
  kernels: AttentionKernels,
): Promise<CompiledAttention> {
  const { dtype, softcap } = options;
  const compiled: { -readonly [name in keyof CompiledAttention]: CompiledAttention[name] } = {};
  for (const name of ["attend", "table", "score", "mix"] as const) {
    const kernel = kernels[name];
    if (kernel === undefined) continue;
    const constants: Record<string, number> = {};
    if (name !== "table") constants.SPAN = kernels.span;
    if (name !== "mix") constants.IO_HALF = dtype === "f16" ? 1 : 0;
    if (name === "attend" || name === "score") constants.SOFTCAP = softcap > 0 ? 1 : 0;
    Object.assign(constants, rotaryConstants(options, kernel));
    compiled[name] = await compileKernel(device, kernel, constants);
  }
  return compiled;
}

async function compileUnits(
  device: GPUDevice,
  options: ResolvedOptions,
  layer: LayerPlan,
  heads: number,
): Promise<CompiledUnits> {
  const compile = async (info: KernelInfo) => {
    const [keyRecords, valueRecords, exact] = await Promise.all(
      [
        pageBytes(options, layer.keys, heads),
        pageBytes(options, layer.values, heads),
        exactSequenceBytes(options, heads),
      ].map(async (bytes): Promise<CompiledCopy> => {
        const words = bytes / 4;
        return { kernel: await compileKernel(device, info, { UNIT: words }), words };
      }),
    );
    return { keyRecords: keyRecords!, valueRecords: valueRecords!, exact: exact! };
  };
  const [copies, restores] = await Promise.all([compile(layer.copy), compile(layer.restore)]);
  return { copies, restores };
}
