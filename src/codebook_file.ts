/**
 * The codebook file: safetensors with centroids and their grids per codebook, and metadata that say
 * which model, space, seed and samples they come from. Version 1 had centroids in binary16.
 *
 * @module
 */
import { KEY_SPACE } from "./cache_options.ts";
import { checkOptions, type Fields, FINITE, type Kind, listOf, TEXT } from "./check_options.ts";
import { crc32 } from "./crc32.ts";
import type {
  CalibrationProvenance,
  Codebook,
  CodebookFit,
  CodebookSet,
  KeySpace,
  ModelFingerprint,
  ValueRotation,
} from "./codebook.ts";
import { describeValue } from "./describe_value.ts";
import { FLOATS, NUMBER, orNothing, record, SIDE, typedArray } from "./data_kinds.ts";
import { raise } from "./errors.ts";
import { parseJson } from "./parse_json.ts";
import { checkOrigin, MODEL } from "./find_codebook.ts";
import {
  readSafetensors,
  type SafetensorsFile,
  type SafetensorsTensor,
  writeSafetensors,
} from "./safetensors.ts";
import { parseScheme, type Scheme, type SchemeId, type Side } from "./scheme.ts";

/** What a codebook file's metadata calls its format. */
const FORMAT = "couplet-codebooks";

/** The version this module writes and reads. */
const VERSION = "2";

/** What a program knows about the codebooks it is about to load. */
export interface ExpectedCodebooks {
  /** The model the codebooks must come from; its digest counts, its name does not. */
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
 * A set of codebooks as a file. Equal sets give equal bytes, whatever the order of their codebooks.
 *
 * @throws {CoupletError} `codebook` where a codebook does not have the shape its scheme calls for, holds a
 * value that is not finite, or comes twice.
 */
export function encodeCodebooks(set: CodebookSet): Uint8Array<ArrayBuffer> {
  checkOptions("codebook", "Cannot write a codebook file", { set: setKind() }, { set });
  const tensors = new Map<string, SafetensorsTensor>();
  for (const codebook of set.codebooks) {
    const { layer, side, scheme, keyValueHeads, headDim, centroids, grid, scale, fit } = codebook;
    checkCodebook(codebook);
    checkSizes(codebook);
    const name = tensorName(layer, side, scheme);
    if (tensors.has(name)) badSet(`it holds the ${describe(codebook)} twice`);
    tensors.set(name, {
      dtype: "U8",
      shape: centroidShape(parseScheme(scheme), keyValueHeads, headDim),
      data: centroids,
    });
    tensors.set(`${name}${GRID_SUFFIX}`, {
      dtype: "F16",
      shape: [keyValueHeads, headDim, 2],
      data: littleEndian(grid),
    });
    if (scale !== undefined) {
      tensors.set(`${name}${SCALE_SUFFIX}`, {
        dtype: "F32",
        shape: [keyValueHeads, headDim],
        data: littleEndian(scale),
      });
    }
    if (fit !== undefined) {
      tensors.set(`${name}${FIT_SUFFIX}`, {
        dtype: "F32",
        shape: [2, keyValueHeads],
        data: littleEndian(Float32Array.of(...fit.errors, ...fit.variances)),
      });
    }
  }
  const byLayer = Map.groupBy(set.codebooks, ({ layer }) => layer);
  for (const rotation of set.valueRotations ?? []) {
    const { layer, keyValueHeads, headDim, axes } = rotation;
    checkRotation(rotation, byLayer.get(layer));
    const name = rotationName(layer);
    if (tensors.has(name)) badSet(`it holds two rotations of the values of layer ${layer}`);
    tensors.set(name, {
      dtype: "F32",
      shape: [keyValueHeads, headDim, headDim],
      data: littleEndian(axes),
    });
  }
  const { model, keySpace, provenance } = set;
  const metadata = {
    format: FORMAT,
    version: VERSION,
    model: JSON.stringify({ name: model.name, digest: model.digest }),
    key_space: keySpace,
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
 * @param expected What the codebooks must be for; whatever is given is checked.
 * @throws {CoupletError} `usage` for an expectation that it does not know; `file` where the bytes are damaged or no codebook file; `codebook` where they are one
 * of another version, model, key space or shape.
 */
export function decodeCodebooks(bytes: Uint8Array, expected: ExpectedCodebooks = {}): CodebookSet {
  checkOptions("usage", "Cannot use the codebook file", EXPECTED_FIELDS, expected);
  const { metadata, tensors } = readSafetensors(bytes);
  if (metadata["format"] !== FORMAT) {
    badFile(
      `its metadata give the format ${describeValue(metadata["format"])}, not "${FORMAT}"`,
      "Give a file that calibration wrote",
    );
  }
  if (metadata["version"] !== VERSION) {
    foreign(
      `it has version ${
        describeValue(metadata["version"])
      } and this library reads version ${VERSION}`,
      "Calibrate again with this version of the library",
    );
  }
  if (metadata["checksum"] !== checksum({ metadata, tensors })) {
    badFile("its content does not have the checksum it gives", DAMAGED);
  }
  const model = parseModel(metadata["model"]);
  const keySpace = metadata["key_space"];
  if (keySpace !== "pre-rope" && keySpace !== "as-scored") {
    badFile(`it gives the key space ${describeValue(keySpace)}`, DAMAGED);
  }
  const provenance = parseProvenance(metadata["provenance"]);
  checkOrigin({ model, keySpace }, expected.keySpace, expected.model);

  const codebooks: Codebook[] = [];
  const valueRotations: ValueRotation[] = [];
  for (const name of tensors.keys()) {
    const rotated = ROTATION_NAME.exec(name);
    if (rotated !== null) {
      valueRotations.push(parseRotation(Number(rotated[1]), name, tensors.get(name)!));
      continue;
    }
    const suffix = [GRID_SUFFIX, SCALE_SUFFIX, FIT_SUFFIX].find((suffix) => name.endsWith(suffix));
    if (suffix !== undefined) {
      if (!tensors.has(name.slice(0, -suffix.length))) {
        badFile(`it holds "${name}" without the centroids it belongs to`, DAMAGED);
      }
      continue;
    }
    const codebook = parseCodebook(name, tensors);
    checkCodebook(codebook);
    checkShape(describe(codebook), codebook, expected);
    codebooks.push(codebook);
  }
  const byLayer = Map.groupBy(codebooks, ({ layer }) => layer);
  for (const rotation of valueRotations) {
    checkShape(describeRotation(rotation), rotation, expected);
    checkRotation(rotation, byLayer.get(rotation.layer));
  }
  codebooks.sort((a, b) =>
    a.layer - b.layer || compareText(a.side, b.side) || compareText(a.scheme, b.scheme)
  );
  valueRotations.sort((a, b) => a.layer - b.layer);
  return {
    model,
    keySpace,
    provenance,
    ...(valueRotations.length === 0 ? {} : { valueRotations }),
    codebooks,
  };
}

/** What the tensors of grids and scales add to the name of the centroids they belong to. */
const GRID_SUFFIX = ".grid";
const SCALE_SUFFIX = ".scale";

/** What the tensor of a codebook's fit adds to it: `[2, heads]`, mean squared errors and variances. */
const FIT_SUFFIX = ".fit";

/** `layers.<layer>.<side>.<scheme>`. */
const TENSOR_NAME = /^layers\.(0|[1-9][0-9]{0,8})\.(keys|values)\.([a-z0-9]+)$/;

/** `layers.<layer>.values.rotation`. */
const ROTATION_NAME = /^layers\.(0|[1-9][0-9]{0,8})\.values\.rotation$/;

/** How far sums of products of a rotation's axes may be from those of an orthonormal basis: float32's rounding. */
const MOST_SKEW = 1e-4;

/** Vectors that a rotation is tried on. */
const TRIED = 16;

const DAMAGED = "Fetch the file again, or calibrate again";

function tensorName(layer: number, side: Side, scheme: SchemeId): string {
  return `layers.${layer}.${side}.${scheme}`;
}

function centroidShape(scheme: Scheme, keyValueHeads: number, headDim: number): number[] {
  return [keyValueHeads, headDim / scheme.channels, scheme.centroids, scheme.channels];
}

function rotationName(layer: number): string {
  return `layers.${layer}.values.rotation`;
}

function parseRotation(layer: number, name: string, tensor: SafetensorsTensor): ValueRotation {
  const [keyValueHeads, headDim] = tensor.shape;
  if (tensor.dtype !== "F32" || `${tensor.shape}` !== `${[keyValueHeads, headDim, headDim]}`) {
    badFile(
      `"${name}" is ${tensor.dtype} [${tensor.shape}], not F32 [heads, channels, channels]`,
      DAMAGED,
    );
  }
  return {
    layer,
    keyValueHeads: keyValueHeads!,
    headDim: headDim!,
    axes: fromLittleEndian32(tensor.data),
  };
}

/**
 * Checks that a rotation is one, and of the layer's shape: anything else would change what the model computes.
 *
 * Products of all pairs of axes would be cubic in the head dimension. A vector of random signs that is turned there and
 * back differs from itself in at least every other try by any product that is off.
 */
function checkRotation(rotation: ValueRotation, beside: readonly Codebook[] = []): void {
  const { layer, keyValueHeads, headDim, axes } = rotation;
  const what = `the ${describeRotation(rotation)}`;
  if (![layer + 1, keyValueHeads, headDim].every((n) => Number.isSafeInteger(n) && n > 0)) {
    badSet(`${what} has ${keyValueHeads} heads of ${headDim} channels`);
  }
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
  // Signs that the axes themselves decide, so that the same file always gets the same answer.
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
function parseCodebook(name: string, tensors: ReadonlyMap<string, SafetensorsTensor>): Codebook {
  const tensor = tensors.get(name)!;
  const match = TENSOR_NAME.exec(name);
  if (match === null) badFile(`it holds the unknown tensor "${name}"`, DAMAGED);
  const scheme = parseScheme(match[3]!);
  const [keyValueHeads, groups] = tensor.shape;
  const headDim = (groups ?? 0) * scheme.channels;
  if (
    tensor.dtype !== "U8" || tensor.shape.length !== 4 ||
    `${tensor.shape}` !== `${centroidShape(scheme, keyValueHeads!, headDim)}`
  ) {
    badFile(
      `"${name}" is ${tensor.dtype} [${tensor.shape}], not U8 [heads, groups, ${scheme.centroids}, ${scheme.channels}]`,
      DAMAGED,
    );
  }
  function companion(suffix: string, dtype: string, shape: readonly number[]) {
    const found = tensors.get(`${name}${suffix}`);
    if (found !== undefined && (found.dtype !== dtype || `${found.shape}` !== `${shape}`)) {
      badFile(
        `"${name}${suffix}" is ${found.dtype} [${found.shape}], not ${dtype} [${shape}]`,
        DAMAGED,
      );
    }
    return found?.data;
  }
  const grid = companion(GRID_SUFFIX, "F16", [keyValueHeads!, headDim, 2]);
  if (grid === undefined) badFile(`it holds "${name}" without a grid`, DAMAGED);
  const scale = companion(SCALE_SUFFIX, "F32", [keyValueHeads!, headDim]);
  const fit = companion(FIT_SUFFIX, "F32", [2, keyValueHeads!]);
  return {
    layer: Number(match[1]),
    side: match[2] as Side,
    scheme: scheme.id,
    keyValueHeads: keyValueHeads!,
    headDim,
    centroids: tensor.data.slice(),
    grid: fromLittleEndian16(grid),
    ...(scale === undefined ? {} : { scale: fromLittleEndian32(scale) }),
    ...(fit === undefined ? {} : { fit: parseFit(fit, keyValueHeads!) }),
  };
}

function parseFit(data: Uint8Array, keyValueHeads: number): CodebookFit {
  const fit = fromLittleEndian32(data);
  return { errors: fit.slice(0, keyValueHeads), variances: fit.slice(keyValueHeads) };
}

/** Checks the sizes of a codebook's parts. Those that are read from a file have them by their tensors' shapes. */
function checkSizes(codebook: Codebook): void {
  const { scheme, keyValueHeads, headDim, centroids, grid, scale, fit } = codebook;
  const channels = keyValueHeads * headDim;
  const sizes = centroidShape(parseScheme(scheme), keyValueHeads, headDim);
  const wanted = [
    ["centroids", centroids, sizes.reduce((a, b) => a * b)],
    ["grid", grid, 2 * channels],
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

/** Checks what a codebook says of itself, whether it was read or is about to be written. */
function checkCodebook(codebook: Codebook): void {
  const { layer, scheme: id, keyValueHeads, headDim, grid, scale, fit } = codebook;
  const scheme = parseScheme(id);
  if (scheme.codebook !== "learned") badSet(`${id} needs no learned codebook`);
  if (![layer + 1, keyValueHeads, headDim].every((n) => Number.isSafeInteger(n) && n > 0)) {
    badSet(`its ${describe(codebook)} have ${keyValueHeads} heads of ${headDim} channels`);
  }
  scheme.layout(headDim);
  // All exponent bits set: an infinity or NaN in binary16.
  const bad = grid.findIndex((bits) => (bits & 0x7c00) === 0x7c00);
  if (bad >= 0) {
    badSet(`value ${bad} of the grid of its ${describe(codebook)} is not a finite number`);
  }
  const badScale = scale?.findIndex((value) => !(value > 0 && value < Infinity)) ?? -1;
  if (badScale >= 0) {
    badSet(`value ${badScale} of the scale of its ${describe(codebook)} is not positive`);
  }
  if (![...fit?.errors ?? [], ...fit?.variances ?? []].every((n) => n >= 0 && n < Infinity)) {
    badSet(`the fit of its ${describe(codebook)} is not a positive number for each head`);
  }
}

function parseModel(text: string | undefined): ModelFingerprint {
  const model = parseObject("model", text);
  if (!MODEL[1](model)) badFile("its model has no name and digest", DAMAGED);
  const { name, digest } = model;
  return { name, digest };
}

function parseProvenance(text: string | undefined): CalibrationProvenance {
  const { source, tokens, seed, iterations } = parseObject("provenance", text);
  if (!TEXT[1](source) || !FINITE[1](tokens) || !FINITE[1](seed) || !FINITE[1](iterations)) {
    badFile("its provenance has no source, tokens, seed and iterations", DAMAGED);
  }
  return { source, tokens, seed, iterations };
}

function parseObject(name: string, text: string | undefined): Record<string, unknown> {
  let value: unknown;
  try {
    value = parseJson(text ?? "");
  } catch (cause) {
    const { message } = cause as Error;
    badFile(`its ${name} cannot be read as JSON: ${message}`, DAMAGED, { cause });
  }
  if (typeof value !== "object" || value === null) {
    badFile(`its ${name} is no object`, DAMAGED);
  }
  return value as Record<string, unknown>;
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

function fromLittleEndian16(bytes: Uint8Array): Uint16Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Uint16Array(bytes.length / 2);
  for (let i = 0; i < values.length; i++) values[i] = view.getUint16(i * 2, true);
  return values;
}

function fromLittleEndian32(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const values = new Float32Array(bytes.length / 4);
  for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(i * 4, true);
  return values;
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

function badFile(why: string, remedy: string, options?: ErrorOptions): never {
  raise("file", "Cannot read the codebook file", why, remedy, options);
}

function foreign(why: string, remedy: string): never {
  raise("codebook", "Cannot use the codebook file", why, remedy);
}

function badSet(why: string): never {
  raise("codebook", "Cannot use the set of codebooks", why, "Calibrate again");
}

/** What a set to be written may be: the numbers in it are checked one by one. */
function setKind(): Kind<CodebookSet> {
  const sizes = { layer: NUMBER, keyValueHeads: NUMBER, headDim: NUMBER };
  const fit = record<CodebookFit>("a fit", { errors: FLOATS, variances: FLOATS });
  const codebook = record<Codebook>("a codebook", {
    ...sizes,
    side: SIDE,
    scheme: TEXT,
    centroids: typedArray("Uint8Array"),
    grid: typedArray("Uint16Array"),
    scale: orNothing(FLOATS) as Kind<Float32Array<ArrayBuffer>>,
    fit: orNothing(fit) as Kind<CodebookFit>,
  });
  const rotation = record<ValueRotation>("a rotation", { ...sizes, axes: FLOATS });
  return record<CodebookSet>("a set of codebooks that calibrate() gives", {
    model: MODEL,
    keySpace: KEY_SPACE,
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
