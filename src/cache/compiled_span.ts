/** The compiled kernels of a kind of span in one layer. */
import {
  compileAttention,
  type CompiledAttention,
  type CompiledCopy,
  type CompiledEncoder,
  compileEncoder,
  compilerFor,
  compileStores,
} from "./compiled_layer.ts";
import { type CompiledKernel, compileKernel } from "./pipelines.ts";
import type { SpanPlan } from "../plan/spans.ts";
import { pageBytes } from "../plan/sizes.ts";
import { type Side, SIDES } from "../model/side.ts";

/** One side's compiled kernels. */
export interface CompiledSpanSide {
  /** Fits levels, where the scheme has some for a whole span. */
  readonly fit?: CompiledKernel;
  /** Encodes. */
  readonly encoder: CompiledEncoder;
  /** Puts pages of records in place. */
  readonly restore: CompiledCopy;
}

/** One layer's compiled kernels. */
export interface CompiledSpanLayer extends Readonly<Record<Side, CompiledSpanSide>> {
  readonly stores: readonly CompiledKernel[];
  /** Puts a span's levels in place. */
  readonly restoreLevels: CompiledCopy;
  readonly decode: CompiledAttention;
  readonly prefill: CompiledAttention;
}

/** Compiles a kind of span in one layer. */
export async function compileSpanLayer(
  device: GPUDevice,
  { options, layers }: SpanPlan,
  index: number,
): Promise<CompiledSpanLayer> {
  const plan = layers[index]!;
  const layer = options.layers[index]!;
  const { keyValueHeads, headDim } = layer;
  const compile = compilerFor(device, options, layer);
  const copy = async (words: number): Promise<CompiledCopy> => ({
    kernel: await compileKernel(device, plan.restore, { UNIT: words }),
    words,
  });
  const ofSide = async (side: Side): Promise<CompiledSpanSide> => {
    const SIDE = SIDES.indexOf(side);
    const { fit, encode } = plan[side];
    return {
      encoder: await compileEncoder(compile, options, layer, encode, side),
      restore: await copy(pageBytes(layer, side, keyValueHeads) / 4),
      ...(fit && { fit: await compile(fit, { SIDE }) }),
    };
  };
  const [keys, values, stores, restoreLevels, decode, prefill] = await Promise.all([
    ofSide("keys"),
    ofSide("values"),
    compileStores(compile, plan),
    copy(2 * keyValueHeads * headDim),
    compileAttention(compile, plan.decode),
    compileAttention(compile, plan.prefill),
  ]);
  return { keys, values, stores, restoreLevels, decode, prefill };
}
