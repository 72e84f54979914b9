/**
 * The codebook file: safetensors with centroids and their grids per codebook, and metadata that say
 * which model, space, seed and samples they come from. Version 1 had centroids in binary16.
 *
 * @module
 */
import { KEY_SPACE } from "../model/key_fields.ts";
import {
  checkOptions,
  type Fields,
  FINITE,
  type Kind,
  listOf,
  TEXT,
} from "../base/check_options.ts";
import { groupBy } from "../base/group_by.ts";
import { crc32 } from "../base/crc32.ts";
import type {
  CalibrationProvenance,
  Codebook,
  CodebookFit,
  CodebookNormalisation,
  CodebookSet,
  ValueRotation,
} from "./codebook.ts";
import type { KeySpace, ModelFingerprint } from "../model/model.ts";
import { describeValue } from "../base/describe_value.ts";
import { FLOATS, NUMBER, orNothing, record, typedArray } from "../base/data_kinds.ts";
import { SIDE, type Side } from "../model/side.ts";
import { messageOf, raise } from "../base/raise.ts";
import { parseJson } from "../base/parse_json.ts";
import { addedFault } from "./added.ts";
import { centroidHeads, gridChannels, gridNumbers } from "./device.ts";
import { checkOrigin, MODEL } from "./find.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  type SafetensorsTensor,
  writeSafetensors,
} from "../base/safetensors.ts";
import { NORM_LEVELS } from "../schemes/normalisation.ts";
import { parseScheme } from "../schemes/parse_scheme.ts";
import { SCHEME } from "../schemes/policy.ts";
import type { Scheme } from "../schemes/scheme.ts";

/** What a codebook file's metadata calls its format. */
const FORMAT = "couplet-codebooks";

/** The version this module writes and reads. */
const VERSION = "2";

/** What a program expects of the codebooks it loads. */
export interface ExpectedCodebooks {
  /** The model the codebooks must come from, compared by its digest and not by its name. */
  readonly model?: ModelFingerprint;
  /** The space the keys must be in. */
  readonly keySpace?: KeySpace;
  /** KV heads of every codebook. */
  readonly keyValueHeads?: number;
  /** Channels per head of every codebook. */
  readonly headDim?: number;
}

/** What {@linkcode ExpectedCodebooks} may be. */
export const EXPECTED_FIELDS: Fields<ExpectedCodebooks> = {
  "model?": MODEL,
  "keySpace?": KEY_SPACE,
  "keyValueHeads?": FINITE,
  "headDim?": FINITE,
};

/**
 * Encodes a set of codebooks as a file. Equal sets make equal bytes, in any order of their
 * codebooks.
 *
 * @throws {CoupletError} `codebook` where a codebook does not have the shape its scheme calls for,
 * holds a value that is not finite, or is listed twice.
 */
export function encodeCodebooks(set: CodebookSet): Uint8Array<ArrayBuffer> {
  checkOptions("codebook", "Cannot write a codebook file", { set: setKind() }, { set });
  const tensors = new Map<string, SafetensorsTensor>();
  for (const codebook of set.codebooks) {
    const { layer, side, scheme: id, keyValueHeads, headDim, centroids, grid, scale, fit } =
      codebook;
    checkCodebook(codebook);
    checkSizes(codebook);
    const scheme = parseScheme(id);
    const name = tensorName(layer, side, id);
    if (tensors.has(name)) badSet(`it holds the ${describe(codebook)} twice`);
    tensors.set(name, {
      dtype: "U8",
      shape: centroidShape(scheme, centroidHeads(codebook), headDim),
      data: centroids,
    });
    const errors = fit && Float32Array.of(...fit.errors, ...fit.variances);
    const { offsets, meanSteps, sizes } = codebook.normalisation ?? {};
    const parts = [
      [GRID_SUFFIX, "F16", gridShape(scheme, keyValueHeads, headDim), grid],
      [TRANSFORM_SUFFIX, "F16", [keyValueHeads, headDim, 2], codebook.transform],
      [OFFSET_SUFFIX, "F32", [keyValueHeads, headDim], offsets],
      [MEAN_SUFFIX, "F16", [keyValueHeads, headDim], meanSteps],
      [SIZE_SUFFIX, "F16", [keyValueHeads, NORM_LEVELS], sizes],
      [SCALE_SUFFIX, "F32", [keyValueHeads, headDim], scale],
      [FIT_SUFFIX, "F32", [2, keyValueHeads], errors],
    ] as const;
    for (const [suffix, dtype, shape, data] of parts) {
      if (data !== undefined) {
        tensors.set(name + suffix, { dtype, shape, data: littleEndian(data) });
      }
    }
  }
  const byLayer = groupBy(set.codebooks, ({ layer }) => layer);
  for (const rotation of set.valueRotations ?? []) {
    const { layer, keyValueHeads, headDim, axes } = rotation;
    checkRotation(rotation, byLayer.get(layer));
    const name = tensorName(layer, "values", ROTATION);
    if (tensors.has(name)) badSet(`it holds two rotations of the values of layer ${layer}`);
    tensors.set(name, {
      dtype: "F32",
      shape: [keyValueHeads, headDim, headDim],
      data: littleEndian(axes),
    });
  }
  const { model, keySpace, anchors, provenance } = set;
  if ((keySpace === "anchored") !== (anchors !== undefined)) {
    badSet(`its keys are ${keySpace}, ${anchors ? "with" : "without"} anchors`);
  }
  const metadata = {
    format: FORMAT,
    version: VERSION,
    model: JSON.stringify({ name: model.name, digest: model.digest }),
    key_space: keySpace,
    ...(anchors && { anchors: JSON.stringify({ tokens: anchors }) }),
    provenance: JSON.stringify({
      source: provenance.source,
      tokens: provenance.tokens,
      seed: provenance.seed,
      iterations: provenance.iterations,
    }),
  };
  return writeSafetensors({
    metadata: { ...metadata, checksum: checksum({ metadata, tensors }) },
    tensors,
  });
}

/**
 * Reads a codebook file, and checks all of it.
 *
 * @param bytes The whole file.
 * @param expected What the codebooks must be for. Each given property is checked.
 * @throws {CoupletError} `usage` for an unknown option; `file` where the bytes are damaged or not a
 * codebook file; `codebook` where the file is of another version, model, key space or shape.
 */
export function decodeCodebooks(bytes: Uint8Array, expected: ExpectedCodebooks = {}): CodebookSet {
  checkOptions("usage", "Cannot use the codebook file", EXPECTED_FIELDS, expected);
  const { metadata, tensors } = readSafetensors(bytes);
  if (metadata["format"] !== FORMAT) {
    badFile(
      `its metadata give the format ${describeValue(metadata["format"])}, not "${FORMAT}"`,
    );
  }
  if (metadata["version"] !== VERSION) {
    foreign(
      `it has version ${
        describeValue(metadata["version"])
      } and this library reads version ${VERSION}`,
      "Calibrate again with this library",
    );
  }
  if (metadata["checksum"] !== checksum({ metadata, tensors })) {
    badFile("its content does not have the checksum it gives");
  }
  const model = parsePart<ModelFingerprint>("model", metadata["model"], MODEL_KINDS);
  const keySpace = metadata["key_space"];
  if (!KEY_SPACE[1](keySpace)) {
    badFile(`it gives the key space ${describeValue(keySpace)}`);
  }
  const anchors = keySpace === "anchored"
    ? parsePart<{ readonly tokens: readonly number[] }>("anchors", metadata["anchors"], {
      tokens: listOf(FINITE),
    }).tokens
    : undefined;
  const provenance = parsePart<CalibrationProvenance>(
    "provenance",
    metadata["provenance"],
    PROVENANCE_KINDS,
  );
  const origin = { model, keySpace, ...(anchors && { anchors }) };
  checkOrigin(origin, expected);

  const codebooks: Codebook[] = [];
  const valueRotations: ValueRotation[] = [];
  for (const name of tensors.keys()) {
    const centroids = name.replace(/\.(grid|scale|fit|transform|offset|mean|size)$/, "");
    if (centroids !== name) {
      if (!tensors.has(centroids)) badFile(`it holds "${name}" without its centroids`);
      continue;
    }
    const match = TENSOR_NAME.exec(name);
    if (match === null) badFile(`it holds the unknown tensor "${name}"`);
    const [, layer, side, content] = match;
    if (side === "values" && content === ROTATION) {
      valueRotations.push(parseRotation(Number(layer), name, tensors));
      continue;
    }
    const codebook = parseCodebook(Number(layer), side as Side, content!, name, tensors);
    checkCodebook(codebook);
    checkShape(describe(codebook), codebook, expected);
    codebooks.push(codebook);
  }
  const byLayer = groupBy(codebooks, ({ layer }) => layer);
  for (const rotation of valueRotations) {
    checkShape(describeRotation(rotation), rotation, expected);
    checkRotation(rotation, byLayer.get(rotation.layer));
  }
  codebooks.sort((a, b) =>
    a.layer - b.layer || compareText(a.side, b.side) || compareText(a.scheme, b.scheme)
  );
  valueRotations.sort((a, b) => a.layer - b.layer);
  return {
    ...origin,
    provenance,
    ...(valueRotations.length === 0 ? {} : { valueRotations }),
    codebooks,
  };
}

/**
 * What the tensors of grids, scales and transforms add to the name of the centroids they belong to.
 */
const GRID_SUFFIX = ".grid";
const SCALE_SUFFIX = ".scale";
const TRANSFORM_SUFFIX = ".transform";

/** What the tensors of what vectors are normalised by add to it. */
const OFFSET_SUFFIX = ".offset";
const MEAN_SUFFIX = ".mean";
const SIZE_SUFFIX = ".size";

/**
 * What the tensor of a codebook's fit adds to it: `[2, heads]`, mean squared errors and variances.
 */
const FIT_SUFFIX = ".fit";

/** What replaces the scheme in the name of a value rotation's tensor. */
const ROTATION = "rotation";

/** `layers.<layer>.<side>.<scheme>`, or `layers.<layer>.values.rotation`. */
const TENSOR_NAME = /^layers\.(0|[1-9][0-9]{0,8})\.(keys|values)\.([a-z0-9]+)$/;

/**
 * Largest error of products of a rotation's axes, compared with an orthonormal basis: float32's
 * rounding.
 */
const MOST_SKEW = 1e-4;

/** Vectors that a rotation is tested on. */
const TRIED = 16;

function tensorName(layer: number, side: Side, content: string): string {
  return `layers.${layer}.${side}.${content}`;
}

/** The shape of the centroids of `heads` KV heads: all, or one whose centroids all share. */
function centroidShape(scheme: Scheme, heads: number, headDim: number): number[] {
  const { channels, centroids, codebookSpec } = scheme;
  const groups = gridChannels(scheme, headDim) / channels;
  const stages = codebookSpec?.stages === undefined ? [] : [codebookSpec.stages];
  return [heads, groups, ...stages, centroids, channels];
}

function gridShape(scheme: Scheme, keyValueHeads: number, headDim: number): number[] {
  return [keyValueHeads, gridChannels(scheme, headDim), gridNumbers(scheme)];
}

/** A tensor's data, or undefined where there is none of that name. */
function dataOf(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  name: string,
  dtype: string,
  shape: readonly number[],
): Uint8Array | undefined {
  const found = tensors.get(name);
  if (found !== undefined && (found.dtype !== dtype || `${found.shape}` !== `${shape}`)) {
    badFile(`"${name}" is ${found.dtype} [${found.shape}], not ${dtype} [${shape}]`);
  }
  return found?.data;
}

function parseRotation(
  layer: number,
  name: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): ValueRotation {
  const [keyValueHeads = 0, headDim = 0] = tensors.get(name)!.shape;
  const axes = dataOf(tensors, name, "F32", [keyValueHeads, headDim, headDim])!;
  return { layer, keyValueHeads, headDim, axes: floats(axes) };
}

/**
 * Checks that a matrix is orthonormal, and of the layer's shape. Any other would change what the
 * model computes.
 *
 * Products of all pairs of axes would be cubic in the head dimension. Instead, vectors of random
 * signs are rotated there and back: a wrong product changes at least every other vector.
 */
function checkRotation(rotation: ValueRotation, beside: readonly Codebook[] = []): void {
  const { keyValueHeads, headDim, axes } = rotation;
  const what = `its ${describeRotation(rotation)}`;
  checkHeads(what, rotation);
  if (axes.length !== keyValueHeads * headDim * headDim) {
    badSet(`${what} has ${axes.length} values`);
  }
  const other = beside.find((one) =>
    one.keyValueHeads !== keyValueHeads || one.headDim !== headDim
  );
  if (other !== undefined) {
    badSet(
      `${what} has ${keyValueHeads} heads of ${headDim} channels, and the ${
        describe(other)
      } ${other.keyValueHeads} of ${other.headDim}`,
    );
  }
  // Signs are derived from the axes, so that the same file always gets the same answer.
  let state = crc32(new Uint8Array(axes.buffer, axes.byteOffset, axes.byteLength));
  const signs = new Float64Array(headDim);
  const turned = new Float64Array(headDim);
  for (let head = 0; head < keyValueHeads; head++) {
    for (let tried = 0; tried < TRIED; tried++) {
      turned.fill(0);
      for (let axis = 0; axis < headDim; axis++) {
        state = Math.imul(state, 1664525) + 1013904223 | 0;
        signs[axis] = state < 0 ? -1 : 1;
        const at = (head * headDim + axis) * headDim;
        for (let i = 0; i < headDim; i++) turned[i]! += signs[axis]! * axes[at + i]!;
      }
      for (let axis = 0; axis < headDim; axis++) {
        const at = (head * headDim + axis) * headDim;
        let back = 0;
        for (let i = 0; i < headDim; i++) back += axes[at + i]! * turned[i]!;
        const skew = Math.abs(back - signs[axis]!);
        if (skew < MOST_SKEW) continue;
        badSet(`axis ${axis} of head ${head} in ${what} is off by ${skew}`);
      }
    }
  }
}

/** Checks heads and channels of what a file holds for one layer. */
function checkShape(
  what: string,
  found: Pick<Codebook, "keyValueHeads" | "headDim">,
  expected: ExpectedCodebooks,
): void {
  for (const size of ["keyValueHeads", "headDim"] as const) {
    const wanted = expected[size];
    if (wanted === undefined || found[size] === wanted) continue;
    foreign(
      `${size} of its ${what} is ${found[size]} and the model's ${wanted}`,
      "Calibrate on this model",
    );
  }
}

/** The codebook whose centroids are the tensor of that name. */
function parseCodebook(
  layer: number,
  side: Side,
  schemeId: string,
  name: string,
  tensors: ReadonlyMap<string, SafetensorsTensor>,
): Codebook {
  const scheme = parseScheme(schemeId);
  const [heads = 0, groups = 0] = tensors.get(name)!.shape;
  // Heads may share the centroids of one.
  const keyValueHeads = tensors.get(name + GRID_SUFFIX)?.shape[0] ?? heads;
  // Where groups share their centroids, only the transform says how many channels there are.
  const headDim = tensors.get(name + TRANSFORM_SUFFIX)?.shape[1] ?? groups * scheme.channels;
  const part = (suffix: string, dtype: string, shape: readonly number[]) =>
    dataOf(tensors, name + suffix, dtype, shape);
  const shared = heads === 1 && scheme.codebookSpec?.stages !== undefined;
  const centroids = part("", "U8", centroidShape(scheme, shared ? 1 : keyValueHeads, headDim))!;
  const grid = part(GRID_SUFFIX, "F16", gridShape(scheme, keyValueHeads, headDim));
  if (grid === undefined) badFile(`it holds "${name}" without a grid`);
  const scale = part(SCALE_SUFFIX, "F32", [keyValueHeads, headDim]);
  const fit = part(FIT_SUFFIX, "F32", [2, keyValueHeads]);
  const transform = part(TRANSFORM_SUFFIX, "F16", [keyValueHeads, headDim, 2]);
  const offsets = part(OFFSET_SUFFIX, "F32", [keyValueHeads, headDim]);
  const meanSteps = part(MEAN_SUFFIX, "F16", [keyValueHeads, headDim]);
  const sizes = part(SIZE_SUFFIX, "F16", [keyValueHeads, NORM_LEVELS]);
  const normalised = offsets && meanSteps && sizes;
  if (!normalised && (offsets ?? meanSteps ?? sizes)) {
    badFile(`it holds a part of what "${name}" is normalised by, and not all`);
  }
  return {
    layer,
    side,
    scheme: scheme.id,
    keyValueHeads,
    headDim,
    centroids: new Uint8Array(centroids),
    grid: halves(grid),
    ...(transform && { transform: halves(transform) }),
    ...(normalised && {
      normalisation: {
        offsets: floats(offsets),
        meanSteps: halves(meanSteps),
        sizes: halves(sizes),
      },
    }),
    ...(scale && { scale: floats(scale) }),
    ...(fit && { fit: parseFit(fit, keyValueHeads) }),
  };
}

function parseFit(data: Uint8Array, keyValueHeads: number): CodebookFit {
  const fit = floats(data);
  return { errors: fit.slice(0, keyValueHeads), variances: fit.slice(keyValueHeads) };
}

/**
 * Checks the sizes of a codebook's parts. In a file, the tensors' shapes ensure them.
 */
function checkSizes(codebook: Codebook): void {
  const { keyValueHeads, headDim, centroids, grid, transform, scale, fit } = codebook;
  const { offsets, meanSteps, sizes } = codebook.normalisation ?? {};
  const scheme = parseScheme(codebook.scheme);
  const channels = keyValueHeads * headDim;
  const product = (shape: readonly number[]) => shape.reduce((size, length) => size * length);
  const wanted = [
    ["centroids", centroids, product(centroidShape(scheme, centroidHeads(codebook), headDim))],
    ["grid", grid, product(gridShape(scheme, keyValueHeads, headDim))],
    ["transform", transform, 2 * channels],
    ["offsets", offsets, channels],
    ["meanSteps", meanSteps, channels],
    ["sizes", sizes, keyValueHeads * NORM_LEVELS],
    ["scale", scale, channels],
    ["errors", fit?.errors, keyValueHeads],
    ["variances", fit?.variances, keyValueHeads],
  ] as const;
  for (const [name, numbers, size] of wanted) {
    if (numbers === undefined || numbers.length === size) continue;
    badSet(
      `the ${name} of its ${describe(codebook)} have ${numbers.length} values, not ${size}`,
    );
  }
}

/** Checks a codebook's properties, before it is written and after it was read. */
function checkCodebook(codebook: Codebook): void {
  const { scheme: id, headDim, grid, scale, fit, transform } = codebook;
  const what = `the codebook of its ${describe(codebook)}`;
  const scheme = parseScheme(id);
  if (scheme.codebook !== "learned") badSet(`${id} needs no learned codebook`);
  checkHeads(what, codebook);
  scheme.layout(headDim);
  // All exponent bits set: an infinity or NaN in binary16.
  const infinite = (bits: number) => (bits & 0x7c00) === 0x7c00;
  const bad = grid.findIndex(infinite);
  if (bad >= 0) badSet(`${what} has a grid whose value ${bad} is not finite`);
  // Factors are signed powers of two, or 0 in all channels of a head.
  const wrong = scheme.codebookSpec?.groupsShare
    ? transform?.some((bits, i) =>
      infinite(bits) || i % 2 === 0 &&
        ((bits & 0x3ff) > 0 || (bits & 0x7c00) === 0 !== (transform[i - i % (2 * headDim)] === 0))
    ) ?? true
    : transform;
  if (wrong) badSet(`${what} has a wrong transform, or none`);
  const fault = scheme.codebookSpec?.stages === undefined
    ? codebook.normalisation && "a normalisation that its scheme does not have"
    : addedFault(codebook);
  if (fault !== undefined) badSet(`${what} has ${fault}`);
  const badScale = scale?.findIndex((value) => !(value > 0 && value < Infinity)) ?? -1;
  if (badScale >= 0) badSet(`${what} has a scale whose value ${badScale} is not positive`);
  if (![...fit?.errors ?? [], ...fit?.variances ?? []].every((n) => n >= 0 && n < Infinity)) {
    badSet(`${what} has a fit that is not a positive number for each head`);
  }
}

function checkHeads(
  what: string,
  { layer, keyValueHeads, headDim }: Pick<Codebook, "layer" | "keyValueHeads" | "headDim">,
): void {
  if (![layer + 1, keyValueHeads, headDim].every((n) => Number.isSafeInteger(n) && n > 0)) {
    badSet(`${what} has ${keyValueHeads} heads of ${headDim} channels`);
  }
}

/** The properties of metadata that are JSON. */
const MODEL_KINDS = { name: TEXT, digest: TEXT };
const PROVENANCE_KINDS = { source: TEXT, tokens: FINITE, seed: FINITE, iterations: FINITE };

/** Parses metadata that are JSON: the named properties, each of its kind. */
function parsePart<T>(
  name: string,
  text: string | undefined,
  kinds: { readonly [K in keyof T]: Kind<T[K]> },
): T {
  let value: unknown;
  try {
    value = parseJson(text ?? "");
  } catch (cause) {
    badFile(`its ${name} is no JSON: ${messageOf(cause)}`, { cause });
  }
  const parts = Object.entries<Kind<unknown>>(kinds).map(([key, [wanted, accepts]]) => {
    const part = Object(value)[key];
    if (!accepts(part)) badFile(`the ${key} of its ${name} is not ${wanted}`);
    return [key, part];
  });
  return Object.fromEntries(parts);
}

/** CRC-32 over the other metadata and all tensors, in the order of their names. */
function checksum({ metadata, tensors }: SafetensorsFile): string {
  const encoder = new TextEncoder();
  let crc = 0;
  for (const key of Object.keys(metadata).sort()) {
    if (key === "checksum") continue;
    crc = crc32(encoder.encode(`${JSON.stringify([key, metadata[key]])}\n`), crc);
  }
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => compareText(a, b))) {
    crc = crc32(encoder.encode(`${name} ${tensor.dtype} ${tensor.shape}\n`), crc);
    crc = crc32(tensor.data, crc);
  }
  return `crc32:${crc.toString(16).padStart(8, "0")}`;
}

function littleEndian(values: Uint16Array | Float32Array): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(values.byteLength));
  if (values instanceof Float32Array) {
    values.forEach((value, i) => view.setFloat32(i * 4, value, true));
  } else {
    values.forEach((value, i) => view.setUint16(i * 2, value, true));
  }
  return new Uint8Array(view.buffer);
}

/**
 * Copies, because tensors need not be aligned. All machines with WebGPU are little-endian, as files
 * are.
 */
function floats(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  return new Float32Array(new Uint8Array(bytes).buffer);
}

function halves(bytes: Uint8Array): Uint16Array<ArrayBuffer> {
  return new Uint16Array(new Uint8Array(bytes).buffer);
}

function describeRotation({ layer }: ValueRotation): string {
  return `rotation of the values of layer ${layer}`;
}

function describe({ layer, side, scheme }: Codebook): string {
  return `${scheme} ${side} of layer ${layer}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function badFile(why: string, options?: ErrorOptions): never {
  raise(
    "file",
    "Cannot read the codebook file",
    why,
    "Fetch the file that calibration wrote again, or calibrate again",
    options,
  );
}

function foreign(why: string, remedy: string): never {
  raise("codebook", "Cannot use the codebook file", why, remedy);
}

function badSet(why: string): never {
  raise("codebook", "Cannot use the set of codebooks", why, "Calibrate again");
}

/** What a set may be. The numbers in it are checked one by one. */
function setKind(): Kind<CodebookSet> {
  const sizes = { layer: NUMBER, keyValueHeads: NUMBER, headDim: NUMBER };
  const fit = record<CodebookFit>("a fit", { errors: FLOATS, variances: FLOATS });
  const codebook = record<Codebook>("a codebook", {
    ...sizes,
    side: SIDE,
    scheme: SCHEME,
    centroids: typedArray("Uint8Array"),
    grid: typedArray("Uint16Array"),
    scale: orNothing(FLOATS) as Kind<Float32Array<ArrayBuffer>>,
    transform: orNothing(typedArray("Uint16Array")) as Kind<Uint16Array<ArrayBuffer>>,
    normalisation: orNothing(record<CodebookNormalisation>("a normalisation", {
      offsets: FLOATS,
      meanSteps: typedArray("Uint16Array"),
      sizes: typedArray("Uint16Array"),
    })) as Kind<CodebookNormalisation>,
    fit: orNothing(fit) as Kind<CodebookFit>,
  });
  const rotation = record<ValueRotation>("a rotation", { ...sizes, axes: FLOATS });
  return record<CodebookSet>("a set of codebooks that calibrate() gives", {
    model: MODEL,
    keySpace: KEY_SPACE,
    anchors: orNothing(listOf(FINITE)) as Kind<readonly number[]>,
    provenance: record<CalibrationProvenance>("a provenance", {
      source: TEXT,
      tokens: NUMBER,
      seed: NUMBER,
      iterations: NUMBER,
    }),
    valueRotations: orNothing(listOf(rotation)) as Kind<readonly ValueRotation[]>,
    codebooks: listOf(codebook),
  });
}
