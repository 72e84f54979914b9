/**
 * The snapshot file: safetensors, with a checksum over every byte. Independent of the GPU.
 */
import type { CacheIdentity } from "../cache/identity.ts";
import { isOwn, type ResolvedOptions } from "../plan/options.ts";
import type { ModelFingerprint } from "../model/model.ts";
import { raise } from "../base/raise.ts";
import { NEAR_TOKENS } from "../kernels/constants.ts";
import { parseJson } from "../base/parse_json.ts";
import { recordWords } from "../records/layout.ts";
import { checkNotEncrypted } from "./encrypted_file.ts";
import { readSafetensors, type SafetensorsTensor, writeSafetensors } from "../base/safetensors.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { type Side, sideDim, SIDES } from "../model/side.ts";
import { codedTokens } from "../cache/sequences.ts";
import { type HeldSpan, spanObstacle, spanTensors } from "./span_content.ts";
import { hexadecimal, sha256, sha256Bytes } from "../base/sha256.ts";

/** What a snapshot's metadata calls its format. */
const FORMAT = "couplet-snapshot";

/** The version this module writes and reads. */
const VERSION = "3";

/** The metadata of a snapshot. */
export interface SnapshotInfo {
  /** The model of the cache, where the cache was given one. */
  readonly model: ModelFingerprint | undefined;
  /** Shape, policy, tiers and key options of the cache, as JSON. */
  readonly plan: string;
  /** SHA-256 of `plan`. */
  readonly planFingerprint: string;
  /** SHA-256 of the codebooks in use and of learned sinks. */
  readonly codebookFingerprint: string;
  /** The key of the prompt the tokens belong to, where the snapshot was given one. */
  readonly prompt: string | undefined;
  /** Tokens of the sequence. */
  readonly length: number;
  /** First position after the sinks that is held exactly. */
  readonly exactFrom: number;
  /**
   * First coded token that is held, sinks not counted, by page table (one for each sliding window).
   */
  readonly codedFrom: readonly number[];
  /** Spans of the sequence, in order. */
  readonly spans: readonly HeldSpan[];
}

/** How much of a sequence a snapshot holds. */
export type HeldTokens = Pick<SnapshotInfo, "length" | "exactFrom" | "codedFrom" | "spans">;

/** What a file holds: its metadata, and tensors by name. */
export interface SnapshotContent {
  /** Its metadata. */
  readonly info: SnapshotInfo;
  /** Tensors by name. */
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
}

/** The names of the tensors that hold one side of one layer. */
export interface SideNames {
  /** Records, U32 `[keyValueHeads, words]`. */
  readonly codes: string;
  /** Sinks and ring, F16 `[tokens, keyValueHeads, channels of the side]`. */
  readonly exact: string;
}

/** The name of the tensor of tokens' positions, U32 `[tokens, 3]`, where they have several. */
export const POSITIONS_TENSOR = "positions";

/** The names of the tensors of one side of one layer. */
export function sideNames(layer: number, side: Side): SideNames {
  const name = `layers.${layer}.${side}`;
  return { codes: `${name}.codes`, exact: `${name}.exact` };
}

/**
 * Positions held exactly: sinks before `sinks`, and recent tokens from `from` to the sequence's
 * end.
 */
export function exactPositions(
  { tiers }: Pick<ResolvedOptions, "tiers">,
  { length, exactFrom }: { readonly length: number; readonly exactFrom: number },
): { readonly sinks: number; readonly from: number; readonly tokens: number } {
  const sinks = Math.min(tiers.sinks, length);
  const from = Math.min(length, Math.max(sinks, exactFrom));
  return { sinks, from, tokens: sinks + length - from };
}

/** Dtype and shape of every tensor of a snapshot. */
export function snapshotTensors(
  options: ResolvedOptions,
  state: HeldTokens,
): Map<string, Pick<SafetensorsTensor, "dtype" | "shape">> {
  const coded = codedTokens(options, state);
  const { tokens } = exactPositions(options, state);
  const tensors = new Map<string, Pick<SafetensorsTensor, "dtype" | "shape">>();
  options.layers.forEach((own, layer) => {
    if (!isOwn(own, layer)) return;
    const { keyValueHeads } = own;
    const held = coded - state.codedFrom[own.pageTable]!;
    for (const side of SIDES) {
      const words = recordWords(sideLayout(own, side), held);
      const { codes, exact } = sideNames(layer, side);
      tensors.set(codes, { dtype: "U32", shape: [keyValueHeads, words] });
      tensors.set(exact, { dtype: "F16", shape: [tokens, keyValueHeads, sideDim(own, side)] });
    }
  });
  if (options.positions > 0) {
    tensors.set(POSITIONS_TENSOR, { dtype: "U32", shape: [state.length, options.positions] });
  }
  for (const [name, tensor] of spanTensors(options, state.spans)) tensors.set(name, tensor);
  return tensors;
}

/** Encodes a snapshot as a file. Equal content makes equal bytes. */
export async function encodeSnapshot(
  { info, tensors }: SnapshotContent,
): Promise<Uint8Array<ArrayBuffer>> {
  const { prompt, spans } = info;
  const bytes = writeSafetensors({
    metadata: {
      format: FORMAT,
      version: VERSION,
      model: JSON.stringify(info.model ?? null),
      plan: info.plan,
      plan_fingerprint: info.planFingerprint,
      codebook_fingerprint: info.codebookFingerprint,
      ...(prompt === undefined ? {} : { prompt }),
      length: `${info.length}`,
      exact_from: `${info.exactFrom}`,
      coded_from: JSON.stringify(info.codedFrom),
      ...(spans.length === 0 ? {} : { spans: JSON.stringify(spans) }),
      checksum: CHECKSUM_PREFIX + "0".repeat(CHECKSUM_DIGITS),
    },
    tensors,
  });
  const at = findChecksum(bytes)!;
  bytes.set(new TextEncoder().encode(await digest(bytes, at)), at);
  return bytes;
}

/**
 * Reads a snapshot and checks that it is whole.
 *
 * @throws {CoupletError} `file` where it is damaged or not a snapshot, `snapshot` where it is of
 * another version, `encryption` where it is encrypted.
 */
export async function decodeSnapshot(bytes: Uint8Array): Promise<SnapshotContent> {
  checkNotEncrypted(bytes);
  const { metadata, tensors } = readSafetensors(bytes);
  const { format } = metadata;
  if (format !== FORMAT) {
    // It may be a file of anything, so the error must not advise deleting it.
    unreadable(
      `its metadata ${format === undefined ? "name no format" : `name the format "${format}"`}, ` +
        `and a snapshot's name "${FORMAT}"`,
      "Give a file or an entry that snapshotSequence() or storePrefix() made",
    );
  }
  if (metadata["version"] !== VERSION) {
    foreign(
      `it has version "${metadata["version"]}" and this library reads version ${VERSION}`,
    );
  }
  const at = findChecksum(bytes);
  const stated = metadata["checksum"]?.slice(CHECKSUM_PREFIX.length);
  if (at === undefined || stated !== await digest(bytes, at)) {
    damaged("its content does not have the checksum it gives");
  }
  const { plan, plan_fingerprint, codebook_fingerprint, prompt } = metadata;
  const length = parseCount("length", metadata["length"]);
  const exactFrom = parseCount("exact_from", metadata["exact_from"]);
  if (plan === undefined || plan_fingerprint === undefined || codebook_fingerprint === undefined) {
    damaged("it does not say which plan and codebooks it belongs to");
  }
  const codedFrom = parseCounts("coded_from", metadata["coded_from"]);
  if (exactFrom > length) damaged(`it holds ${length} tokens, exact from ${exactFrom}`);
  const info: SnapshotInfo = {
    model: parseModel(metadata["model"]),
    plan,
    planFingerprint: plan_fingerprint,
    codebookFingerprint: codebook_fingerprint,
    prompt,
    length,
    exactFrom,
    codedFrom,
    spans: metadata["spans"] === undefined ? [] : parseSpans(metadata["spans"]),
  };
  return { info, tensors };
}

/**
 * Returns the metadata of a snapshot, after a check that it is whole.
 *
 * @throws {CoupletError} `file` where it is damaged or not a snapshot, `snapshot` where it is of
 * another version, `encryption` where it is encrypted.
 */
export async function inspectSnapshot(bytes: Uint8Array): Promise<SnapshotInfo> {
  return (await decodeSnapshot(bytes)).info;
}

/**
 * Checks that a snapshot belongs to a cache, and that it holds the required tensors.
 *
 * @throws {CoupletError} `snapshot` where it belongs to another; `file` where it holds something
 * else.
 */
export async function checkSnapshot(
  { info, tensors }: SnapshotContent,
  identity: CacheIdentity,
  options: ResolvedOptions,
): Promise<void> {
  if (info.model?.digest !== identity.model?.digest) {
    foreign(
      `it is of ${describe(info.model)} and the cache is for ${describe(identity.model)}`,
    );
  }
  if (info.plan !== identity.plan) foreign(comparePlans(info.plan, identity.plan));
  if (info.codebookFingerprint !== identity.codebookFingerprint) {
    foreign("it was made with other codebooks or learned sinks than the cache's");
  }
  if (info.planFingerprint !== await sha256(new TextEncoder().encode(info.plan))) {
    damaged("its plan does not have the fingerprint it gives");
  }
  checkCoded(info, options);
  const expected = snapshotTensors(options, info);
  for (const [name, { dtype, shape }] of expected) {
    const found = tensors.get(name);
    if (found?.dtype !== dtype || `${found.shape}` !== `${shape}`) {
      damaged(
        `"${name}" is ${found?.dtype ?? "absent"} [${found?.shape ?? ""}], not ${dtype} [${shape}]`,
      );
    }
  }
  if (tensors.size > expected.size) damaged("it holds tensors that no cache writes");
}

const CHECKSUM_PREFIX = "sha256:";
const CHECKSUM_DIGITS = 64;

/** Where the digits of the checksum begin, or undefined where there is none. */
function findChecksum(bytes: Uint8Array): number | undefined {
  const header = bytes.subarray(0, dataStart(bytes));
  // As the writer formats it. In a text of the metadata the quotes would be escaped.
  const text = new TextEncoder().encode(`"checksum":"${CHECKSUM_PREFIX}`);
  for (let at = header.indexOf(text[0]!); at >= 0; at = header.indexOf(text[0]!, at + 1)) {
    if (text.every((byte, i) => header[at + i] === byte)) {
      const end = at + text.length + CHECKSUM_DIGITS;
      return end <= header.length ? at + text.length : undefined;
    }
  }
  return undefined;
}

function dataStart(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return 8 + Number(view.getBigUint64(0, true));
}

/**
 * SHA-256 over the digests of the header, with zeros for the checksum's digits, and of the data.
 */
async function digest(bytes: Uint8Array, checksumAt: number): Promise<string> {
  const start = dataStart(bytes);
  const header = bytes.slice(0, start);
  header.fill(0x30, checksumAt, checksumAt + CHECKSUM_DIGITS);
  const both = new Uint8Array(64);
  both.set(await sha256Bytes(header));
  both.set(await sha256Bytes(bytes.subarray(start)), 32);
  return hexadecimal(await sha256Bytes(both));
}

/** Which parts of two plans differ, in words. */
function comparePlans(found: string, wanted: string): string {
  let differing: string[] = [];
  try {
    const [a, b] = [found, wanted].map((text) => parseJson(text) as Record<string, unknown>);
    differing = Object.keys(b!)
      .filter((part) => JSON.stringify(a![part]) !== JSON.stringify(b![part]))
      .map((part) => `${part} ${JSON.stringify(a![part])}, not ${JSON.stringify(b![part])}`);
  } catch {
    // Described in general terms below.
  }
  return `it was made under another plan${
    differing.length > 0 ? `, with ${differing.join("; ")}` : ""
  }`;
}

function parseCount(name: string, text: string | undefined): number {
  const count = Number(text);
  if (!/^(0|[1-9][0-9]*)$/.test(text ?? "") || !Number.isSafeInteger(count)) {
    damaged(`its ${name} is "${text}"`);
  }
  return count;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function parseCounts(name: string, text: string | undefined): number[] {
  const counts = parsed(name, text);
  if (!Array.isArray(counts) || !counts.every(isCount)) damaged(`its ${name} is "${text}"`);
  return counts;
}

function parseSpans(text: string): HeldSpan[] {
  const spans = parsed("spans", text);
  const isSpan = (value: unknown) => {
    const { name, tokens, place } = Object(value);
    return typeof name === "string" && isCount(tokens) && tokens > 0 && isCount(place);
  };
  if (!Array.isArray(spans) || !spans.every(isSpan)) damaged(`its spans are "${text}"`);
  return spans.map(({ name, tokens, place }) => ({ name, tokens, place }));
}

/** Parses a text of the metadata as JSON. */
function parsed(name: string, text: string | undefined): unknown {
  try {
    return parseJson(text ?? "");
  } catch (cause) {
    damaged(`its ${name} cannot be read as JSON: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Checks that tokens are coded in whole blocks, and held in whole tiles.
 */
function checkCoded(info: SnapshotInfo, options: ResolvedOptions): void {
  const { codedFrom, exactFrom } = info;
  const coded = codedTokens(options, info);
  if (coded % options.block !== 0) {
    damaged(
      `it is exact from position ${exactFrom}, inside a block of ${options.block} coded tokens`,
    );
  }
  const known = codedFrom.length === options.pageTables.length;
  const whole = codedFrom.every((from, table) =>
    from === 0 ||
    (from % NEAR_TOKENS === 0 && from <= coded && options.pageTables[table]!.slidingWindow > 0)
  );
  if (!known || !whole) damaged(`its coded tokens begin at ${codedFrom}`);
  const obstacle = spanObstacle(options, info.spans, info.length);
  if (obstacle !== undefined) damaged(obstacle);
}

function parseModel(text: string | undefined): ModelFingerprint | undefined {
  const value = parsed("model", text);
  if (value === null) return undefined;
  const { name, digest } = value as Partial<ModelFingerprint>;
  if (typeof name !== "string" || typeof digest !== "string") {
    damaged("its model has no name and digest");
  }
  return { name, digest };
}

function describe(model: ModelFingerprint | undefined): string {
  return model === undefined ? "a model it was not told" : `${model.name} (${model.digest})`;
}

function damaged(why: string, options?: ErrorOptions): never {
  unreadable(why, "Compute the tokens again, into another file", options);
}

function unreadable(why: string, remedy: string, options?: ErrorOptions): never {
  raise("file", "Cannot read the snapshot", why, remedy, options);
}

function foreign(why: string): never {
  raise(
    "snapshot",
    "Cannot use the snapshot",
    why,
    "Restore it into a cache of the same model, plan and codebooks, or compute its tokens again",
  );
}
