/**
 * The result of tuning: which kernels attended fastest on one device. Keep it as JSON, and plan
 * with it.
 */
import type { ResolvedLayer, ResolvedOptions } from "./options.ts";
import type { KeySpace, RopeParameters } from "../model/model.ts";
import { FINITE, listOf, TEXT } from "../base/check_options.ts";
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";
import type { SchemeId } from "../schemes/scheme.ts";
import { VERSION } from "../base/version.ts";
import type { AttentionWay } from "./steps.ts";

/** What WebGPU says of a device's adapter. Browsers may leave all of it empty. */
export interface AdapterIdentity {
  /** Who made it. */
  readonly vendor: string;
  /** Its family. */
  readonly architecture: string;
  /** The model. */
  readonly device: string;
  /** The driver's description, which usually has its version. */
  readonly description: string;
}

/** What the choice of kernels depends on in all layers. */
export interface TunedShape {
  /** The space keys arrive in. */
  readonly keySpace: KeySpace;
  /** Element type of the host's tensors. */
  readonly dtype: "f32" | "f16";
  /** Whether scores are capped. */
  readonly softcap: boolean;
}

/** A combination of kernels, cut into a number of workgroups, and its time. */
export interface MeasuredCandidate {
  /** Names of the kernels, in order of dispatch. */
  readonly kernels: readonly string[];
  /** Pages of a coded tile. */
  readonly span: number;
  /** Workgroups that the step was cut into, if it had enough tiles. */
  readonly workgroups: number;
  /** Median time of attention of one step in one layer. */
  readonly milliseconds: number;
}

/** Measurements for layers of one kind, in one phase. */
export interface TunedAttention {
  /** Scheme of the keys. */
  readonly keys: SchemeId;
  /** Scheme of the values. */
  readonly values: SchemeId;
  /** Query heads. */
  readonly queryHeads: number;
  /** KV heads. */
  readonly keyValueHeads: number;
  /** Channels per head, of queries and keys. */
  readonly headDim: number;
  /** Channels per head of values, where they have others. */
  readonly valueHeadDim?: number;
  /** Layout of the rotary embedding's pairs of channels, for keys before their rotary embedding. */
  readonly layout?: RopeParameters["layout"];
  /** Channels that the rotary embedding rotates, for keys before it. */
  readonly rotaryDim?: number;
  /** The layers' sliding window, 0 where they see everything. */
  readonly slidingWindow: number;
  /** The phase: decode or prefill. */
  readonly way: AttentionWay;
  /** Sequences of the measured step. */
  readonly sequences: number;
  /** Tokens of each sequence, new ones included. */
  readonly context: number;
  /** New tokens of each sequence. */
  readonly tokens: number;
  /** All that were measured, fastest first. A plan uses the first. */
  readonly candidates: readonly MeasuredCandidate[];
}

/** The result of `tune()` on one device: plain data, which can be kept as JSON. */
export interface TuningRecord {
  /** The library's version. */
  readonly version: string;
  /** The device's adapter. */
  readonly adapter: AdapterIdentity;
  /** The model's shape. */
  readonly shape: TunedShape;
  /** The clock: timestamps on the device, or the host's clock around its work. */
  readonly clock: "timestamps" | "wall clock";
  /** Measurements, by kind of layer and phase. */
  readonly attention: readonly TunedAttention[];
}

function refuse(why: string): never {
  raise(
    "tuning",
    "Cannot use the tuning record",
    why,
    "Tune again on this device, with this plan's options",
  );
}

/** The adapter of a device. */
export function adapterIdentity({ adapterInfo }: GPUDevice): AdapterIdentity {
  const { vendor, architecture, device, description } = adapterInfo;
  return { vendor, architecture, device, description };
}

/** What the kernels of a plan depend on, all layers alike. */
export function tunedShape({ keys, dtype, softcap }: ResolvedOptions): TunedShape {
  return { keySpace: keys.space, dtype, softcap: softcap > 0 };
}

/** The names of the properties in which two records of plain values differ. */
function differences(found: unknown, wanted: object): string {
  const [a, b] = [Object(found), Object(wanted)];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])]
    .filter((name) => a[name] !== b[name])
    .map((name) => `${name} ${describeValue(a[name])} and not ${describeValue(b[name])}`)
    .join(", ");
}

function isMeasured(value: unknown): boolean {
  const { kernels, span, workgroups, milliseconds } = Object(value);
  return listOf(TEXT)[1](kernels) && listOf(FINITE)[1]([span, workgroups, milliseconds]);
}

/**
 * Checks that a record, which may come from anywhere, is well formed, and of this library's version
 * and the plan's shape.
 *
 * @throws {CoupletError} `tuning` where it is not.
 */
export function checkTuning(record: TuningRecord, options: ResolvedOptions): void {
  const { version, shape, attention } = Object(record);
  if (version !== VERSION) {
    refuse(`it is of version ${describeValue(version)} and the library of version ${VERSION}`);
  }
  const whole = Array.isArray(attention) && [...attention].every((one) => {
    const { candidates } = Object(one);
    return Array.isArray(candidates) && candidates.length > 0 && [...candidates].every(isMeasured);
  });
  if (!whole) refuse("parts of it are missing or of another type");
  const other = differences(shape, tunedShape(options));
  if (other !== "") refuse(`it was measured for another shape: ${other}`);
}

/**
 * Checks that a record was measured on a device's adapter.
 *
 * @throws {CoupletError} `tuning` where it was not.
 */
export function checkTuningDevice(record: TuningRecord, device: GPUDevice): void {
  const other = differences(record.adapter, adapterIdentity(device));
  if (other !== "") refuse(`it was measured on another device: ${other}`);
}

/** What layers of one kind have in common. */
export type LayerKind = Omit<
  TunedAttention,
  "way" | "sequences" | "context" | "tokens" | "candidates"
>;

/** What the kinds of some layers lack: those of one head dimension, or where kernels rotate nothing. */
const LACKING = { valueHeadDim: undefined, layout: undefined, rotaryDim: undefined };

/** The kind of a layer. */
export function layerKind(
  layer: ResolvedLayer,
): LayerKind {
  const { keys, values, queryHeads, keyValueHeads, headDim, valueHeadDim } = layer;
  const { slidingWindow, keyOptions } = layer;
  return {
    keys,
    values,
    queryHeads,
    keyValueHeads,
    headDim,
    ...(valueHeadDim !== headDim && { valueHeadDim }),
    slidingWindow,
    ...(keyOptions.space !== "as-scored" && {
      layout: keyOptions.rope.layout,
      rotaryDim: keyOptions.rope.rotaryDim ?? headDim,
    }),
  };
}

/**
 * The fastest candidate measured for a layer.
 *
 * @param rounding Names of kernels that must not be used, because they round more than the plan may.
 * @throws {CoupletError} `tuning` where nothing was measured.
 */
export function findTuned(
  { attention }: TuningRecord,
  layer: ResolvedLayer,
  way: AttentionWay,
  rounding: ReadonlySet<string>,
): MeasuredCandidate {
  const kind = layerKind(layer);
  const wanted = Object.entries({ ...LACKING, ...kind, way });
  const found = attention.find((one) =>
    wanted.every(([name, value]) => one[name as keyof LayerKind] === value)
  );
  if (found !== undefined) {
    const fastest = found.candidates.find(({ kernels }) =>
      !kernels.some((name) => rounding.has(name))
    );
    if (fastest !== undefined) return fastest;
    refuse("all it measured rounds more than the plan's precision allows");
  }
  refuse(
    `it has no ${way} of layers with ${
      Object.entries(kind).map(([name, value]) => `${name} ${value}`).join(", ")
    }`,
  );
}

/** @throws {CoupletError} `tuning`: the record chose kernels that a plan cannot use. */
export function refuseChoice(
  { kernels }: MeasuredCandidate,
  given: readonly string[],
): never {
  const missing = kernels.find((name) => !given.includes(name));
  refuse(
    missing === undefined
      ? `its choice, ${kernels.join(" + ")}, does not fit this plan`
      : `its kernel ${missing} was not given, or a feature that it needs`,
  );
}
