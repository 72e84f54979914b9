/** Writes sequences to files, and restores them. */
import { COPY_DST, MAP_READ, MODE_READ } from "../base/buffer_usage.ts";
import type { Cache } from "../cache/cache.ts";
import { cacheInternals } from "../cache/internals.ts";
import { type CacheIdentity, identifyCache } from "../cache/identity.ts";
import { isOwn, type ResolvedLayer, type ResolvedOptions } from "../plan/options.ts";
import { pageRuns } from "../cache/page_rows.ts";
import { exactSequenceBytes, exactSideBytes, exactTokenBytes, pageBytes } from "../plan/sizes.ts";
import { firstKeptPage, ringSlots } from "../plan/pages.ts";
import { checkOptions, type Fields, TEXT } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { messageOf, raise } from "../base/raise.ts";
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { recordWords } from "../records/layout.ts";
import { type PartBuffers, storageBuffer } from "../cache/layer_buffers.ts";
import { fromPages, toPages } from "./pages.ts";
import { restoreSpan, spanReads } from "./span_content.ts";
import type { HeadRange } from "../plan/divide_heads.ts";
import type { RestoredPart } from "../cache/restored_content.ts";
import type { SafetensorsTensor } from "../base/safetensors.ts";
import { sideLayout } from "../schemes/side_layout.ts";
import { type Side, SIDES } from "../model/side.ts";
import {
  codedTokens,
  refuseUnfinished,
  type Sequence,
  unfinishedFrom,
} from "../cache/sequences.ts";
import {
  checkSnapshot,
  decodeSnapshot,
  encodeSnapshot,
  exactPositions,
  type HeldTokens,
  POSITIONS_TENSOR,
  sideNames,
  type SnapshotContent,
  snapshotTensors,
} from "./file.ts";

/** Options of {@linkcode snapshotSequence}. */
export interface SnapshotOptions {
  /** The key of the prompt the tokens belong to ({@linkcode promptKey}), kept in the file. */
  readonly prompt?: string;
}

/** What {@linkcode SnapshotOptions} may be. */
export const SNAPSHOT_FIELDS: Fields<SnapshotOptions> = { "prompt?": TEXT };

/** Codebooks are hashed once, when a snapshot is first taken or restored. */
const identities = new WeakMap<Cache, Promise<CacheIdentity>>();

/**
 * Returns what a cache's codes depend on: its model, plan and codebooks, as texts that can be
 * compared.
 */
export function cacheIdentity(cache: Cache): Promise<CacheIdentity> {
  let identity = identities.get(cache);
  if (identity === undefined) {
    identity = identifyCache(cache.plan.options, cacheInternals(cache).codedWith);
    identities.set(cache, identity);
  }
  return identity;
}

/**
 * Writes a sequence to one file. {@linkcode restoreSequence} reads it, in any process and on any
 * device.
 *
 * It submits to the device and reads back. It copies the sequence before it returns its promise, so
 * later steps do not change the snapshot. Submit the commands of the sequence's steps before you
 * call it.
 *
 * The file does not depend on where pages lie, on the cache's capacity, or on how the tokens were
 * split into steps. One thing remains of the capacity: the longest exact rollback is `appendTokens`
 * of the original cache.
 *
 * @throws {CoupletError} `usage` where a step of the sequence was not appended to all layers, or an
 * option is unknown; `lost` or `memory` where the device is lost or out of memory.
 */
export async function snapshotSequence(
  cache: Cache,
  sequence: Sequence,
  options: SnapshotOptions = {},
): Promise<Uint8Array<ArrayBuffer>> {
  checkOptions("usage", "Cannot take a snapshot", SNAPSHOT_FIELDS, options);
  const { info, tensors } = await readSequence(cache, sequence);
  return await encodeSnapshot({ info: { ...info, prompt: options.prompt }, tensors });
}

/** Reads the content of a snapshot. It is copied before this returns its promise. */
export async function readSequence(cache: Cache, sequence: Sequence): Promise<SnapshotContent> {
  const inside = cacheInternals(cache);
  const resolved = cache.plan.options;
  const inner = inside.state(sequence);
  const { slot, length, exactFrom, tables, restored, spans } = inner;
  // A copy: later steps add to them.
  const positions = Uint32Array.from(inner.positions);
  const what = `Cannot take a snapshot of sequence ${sequence.id}`;
  const unfinished = unfinishedFrom(inner);
  if (unfinished !== undefined) refuseUnfinished(what, unfinished, "every layer");
  const layers = resolved.layers.length;
  const uncoded = spans.find(({ coded }) => coded.size < layers);
  if (uncoded !== undefined) {
    raise(
      "usage",
      what,
      `its span ${uncoded.span.id} was not handed over to every layer`,
      "Hand it over to all layers, or truncate the sequence to before it",
    );
  }
  const held = tables.map(({ first, pages }, table) => {
    // A step may have left more pages than the length needs. Equal sequences make equal files.
    const kept = Math.max(first, firstKeptPage(resolved, table, length));
    const own = pages.slice(kept - first);
    // Restored content that is not in place yet lies in its own buffers, in the order of the
    // sequence.
    const start = kept - (restored?.first[table] ?? 0);
    return { first: kept, runs: pageRuns(restored ? own.map((_, i) => start + i) : own) };
  });
  const state: HeldTokens = {
    length,
    exactFrom: heldFrom(resolved, { length, exactFrom }),
    codedFrom: held.map(({ first }) => first * PAGE_TOKENS),
    spans: spans.map(({ span: { name, tokens }, place }) => ({ name, tokens, place })),
  };
  const ofSpans = spanReads(spans);
  const reads = resolved.layers.flatMap((own, layer) =>
    ownParts(cache, layer).flatMap((part, i) =>
      SIDES.map((side) => {
        const content = restored === undefined ? part : restored.layers[layer]![i]!;
        const page = pageBytes(own, side, part.heads.count);
        const source = side === "keys" ? content.keyRecords : content.valueRecords;
        const codes = held[own.pageTable]!.runs.map(({ page: first, count }) => ({
          source: source!,
          offset: first * page,
          size: count * page,
        }));
        const place = restored === undefined ? slot : 0;
        const exact = exactRuns(resolved, own, part.heads.count, place, side, state)
          .map(({ offset, size }) => ({ source: content.exact, offset, size }));
        return { layer, side, heads: part.heads, codes, exact };
      })
    )
  );
  const copies = await copyOut(inside.device, [
    ...reads.flatMap(({ codes, exact }) => [codes, exact]),
    ...ofSpans.map(({ ranges }) => ranges),
  ]);

  const coded = codedTokens(resolved, state);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, { dtype, shape }] of snapshotTensors(resolved, state)) {
    const bytes = shape.reduce((product, size) => product * size, dtype === "U32" ? 4 : 2);
    tensors.set(name, { dtype, shape, data: new Uint8Array(bytes) });
  }
  tensors.get(POSITIONS_TENSOR)?.data.set(new Uint8Array(positions.buffer));
  reads.forEach(({ layer, side, heads }, i) => {
    const names = sideNames(layer, side);
    const own = resolved.layers[layer]!;
    const layout = sideLayout(own, side);
    const count = coded - state.codedFrom[own.pageTable]!;
    const records = fromPages(layout, heads.count, count, new Uint32Array(copies[2 * i]!));
    const at = heads.first * recordWords(layout, count) * 4;
    tensors.get(names.codes)!.data.set(new Uint8Array(records.buffer), at);
    copyHeads(
      exactTokenBytes(own, side, 1),
      heads.count,
      { data: new Uint8Array(copies[2 * i + 1]!), heads: heads.count, first: 0 },
      { data: tensors.get(names.exact)!.data, heads: own.keyValueHeads, first: heads.first },
    );
  });
  ofSpans.forEach(({ name, bytes }, i) =>
    tensors.get(name)!.data.set(bytes(copies[2 * reads.length + i]!))
  );
  return { info: { ...await cacheIdentity(cache), ...state, prompt: undefined }, tensors };
}

/**
 * Creates a sequence with the content of a snapshot, bit for bit.
 *
 * Records nothing and submits nothing. The content waits in buffers of its own until the first
 * commands that need it copy it, in the host's encoder, so commands recorded before may be
 * submitted later. Until they are garbage collected, these buffers take the same memory again. The
 * cache may have another capacity if the sequence fits. If its `appendTokens` is smaller, the
 * oldest exact tokens, which are coded as well, are left out.
 *
 * @throws {CoupletError} `file` where the bytes are damaged or not a snapshot; `snapshot` where
 * they belong to another model, plan, set of codebooks or version; `capacity` where they do not fit
 * the cache; `lost` where its device is lost; `memory` where the device is out of memory. Nothing
 * has changed then.
 */
export async function restoreSequence(cache: Cache, bytes: Uint8Array): Promise<Sequence> {
  const { device, adopt } = cacheInternals(cache);
  const { options } = cache.plan;
  const what = "Cannot restore the snapshot";
  const [content, alive] = await Promise.all([decodeSnapshot(bytes), isAlive(device)]);
  await checkSnapshot(content, await cacheIdentity(cache), options);
  if (!alive) throw deviceError("lost", what, "the device is lost");

  const { info } = content;
  const firstPages = info.codedFrom.map((from, table) =>
    Math.max(from / PAGE_TOKENS, firstKeptPage(options, table, info.length))
  );
  const held: HeldTokens = {
    length: info.length,
    exactFrom: heldFrom(options, info),
    codedFrom: firstPages.map((page) => page * PAGE_TOKENS),
    spans: info.spans,
  };
  device.pushErrorScope("out-of-memory");
  const layers = options.layers.map((_, layer) =>
    ownParts(cache, layer).map(({ heads }) =>
      restorePart(device, options, layer, heads, content, held)
    )
  );
  const restored = { first: firstPages, layers };
  const spans = info.spans.map((span, index) => ({
    ...span,
    restored: restoreSpan(device, options, span, index, content.tensors),
  }));
  const exhausted = await device.popErrorScope();
  try {
    if (exhausted !== null) {
      throw deviceError("memory", what, exhausted.message || "the device is out of memory");
    }
    return adopt(
      held.length,
      held.exactFrom,
      firstPages,
      restored,
      spans,
      [...ownWords(content.tensors.get(POSITIONS_TENSOR)?.data ?? [])],
    );
  } catch (error) {
    for (const content of [...layers, ...spans.map(({ restored }) => restored)].flat()) {
      for (const buffer of Object.values(content)) buffer?.destroy();
    }
    throw error;
  }
}

/** The parts of a layer that has keys and values of its own. */
function ownParts(cache: Cache, layer: number): readonly PartBuffers[] {
  return isOwn(cache.plan.options.layers[layer]!, layer) ? cache.buffers(layer).parts : [];
}

/**
 * A snapshot's content of some KV heads of a layer, on the device, in the form of the cache's own
 * buffers.
 */
function restorePart(
  device: GPUDevice,
  options: ResolvedOptions,
  layer: number,
  heads: HeadRange,
  { info, tensors }: SnapshotContent,
  held: HeldTokens,
): RestoredPart {
  const own = options.layers[layer]!;
  const { pageTable, keyValueHeads } = own;
  const given = exactPositions(options, info);
  const coded = codedTokens(options, info);
  const exact = new Uint8Array(exactSequenceBytes(options, own, heads.count));
  const [keyRecords, valueRecords] = SIDES.map((side) => {
    const token = exactTokenBytes(own, side, heads.count);
    const names = sideNames(layer, side);
    const layout = sideLayout(own, side);
    const count = coded - info.codedFrom[pageTable]!;
    const words = recordWords(layout, count);
    const records = ownWords(tensors.get(names.codes)!.data)
      .subarray(heads.first * words, (heads.first + heads.count) * words);
    const paged = new Uint8Array(toPages(layout, heads.count, count, records).buffer);
    // This cache may keep fewer tokens behind a sliding window, and then drops the oldest pages.
    const skippedPages = (held.codedFrom[pageTable]! - info.codedFrom[pageTable]!) / PAGE_TOKENS;

    const vectors = new Uint8Array(given.tokens * token);
    copyHeads(
      exactTokenBytes(own, side, 1),
      heads.count,
      { data: tensors.get(names.exact)!.data, heads: keyValueHeads, first: heads.first },
      { data: vectors, heads: heads.count, first: 0 },
    );
    const skipped = exactPositions(options, held).from - given.from;
    for (const run of exactRuns(options, own, heads.count, 0, side, held)) {
      const start = (run.token < given.sinks ? run.token : run.token + skipped) * token;
      exact.set(vectors.subarray(start, start + run.size), run.offset);
    }
    return paged.subarray(skippedPages * pageBytes(own, side, heads.count));
  });
  const upload = (name: string, data: Uint8Array<ArrayBuffer>) => {
    if (data.length === 0) return undefined;
    const buffer = storageBuffer(device, `couplet restored ${name}`, data.length);
    device.queue.writeBuffer(buffer, 0, data);
    return buffer;
  };
  return {
    keyRecords: upload("key records", keyRecords!),
    valueRecords: upload("value records", valueRecords!),
    exact: upload("exact tier", exact)!,
  };
}

/** Some heads of vectors `[tokens][heads][headDim]`. */
interface HeadVectors {
  readonly data: Uint8Array;
  /** Heads of a token. */
  readonly heads: number;
  /** The first of them. */
  readonly first: number;
}

/** Copies `count` heads of every token, of `bytes` bytes each. */
function copyHeads(bytes: number, count: number, from: HeadVectors, to: HeadVectors): void {
  const tokens = from.data.length / (from.heads * bytes);
  for (let token = 0; token < tokens; token++) {
    const start = (token * from.heads + from.first) * bytes;
    const vectors = from.data.subarray(start, start + count * bytes);
    to.data.set(vectors, (token * to.heads + to.first) * bytes);
  }
}

/** The first position after the sinks that the ring holds; 0 where it holds all. */
function heldFrom(
  options: ResolvedOptions,
  { length, exactFrom }: { readonly length: number; readonly exactFrom: number },
): number {
  const from = Math.max(exactFrom, length - ringSlots(options));
  return from > options.tiers.sinks ? from : 0;
}

/**
 * Where a sequence's exact tokens lie in the exact buffer; `token` counts sinks, then recent
 * tokens.
 */
function exactRuns(
  options: ResolvedOptions,
  layer: ResolvedLayer,
  heads: number,
  slot: number,
  side: Side,
  state: { readonly length: number; readonly exactFrom: number },
): { readonly offset: number; readonly size: number; readonly token: number }[] {
  const { sinks, from } = exactPositions(options, state);
  const ring = ringSlots(options);
  const bytes = exactTokenBytes(layer, side, heads);
  const first = slot * exactSequenceBytes(options, layer, heads) +
    (side === "keys" ? 0 : exactSideBytes(options, layer, "keys", heads));
  const runs: { offset: number; size: number; token: number }[] = [];
  const add = (row: number, count: number, token: number) => {
    if (count > 0) runs.push({ offset: first + row * bytes, size: count * bytes, token });
  };
  add(0, sinks, 0);
  const recent = state.length - from;
  const start = (from - sinks) % ring;
  const unwrapped = Math.min(recent, ring - start);
  add(options.tiers.sinks + start, unwrapped, sinks);
  add(options.tiers.sinks, recent - unwrapped, sinks + unwrapped);
  return runs;
}

/** Copies bytes into words. They may lie at any offset. */
function ownWords(bytes: ArrayLike<number>): Uint32Array<ArrayBuffer> {
  return new Uint32Array(new Uint8Array(bytes).buffer);
}

/**
 * Whether a device still works. Its promise `lost` may resolve late, and writes to a lost device
 * fail silently.
 */
async function isAlive(device: GPUDevice): Promise<boolean> {
  const probe = device.createBuffer({
    label: "couplet probe",
    size: 4,
    usage: MAP_READ | COPY_DST,
  });
  const alive = await probe.mapAsync(MODE_READ).then(() => true, () => false);
  probe.destroy();
  return alive;
}

interface BufferRange {
  readonly source: GPUBuffer;
  readonly offset: number;
  readonly size: number;
}

/**
 * Copies lists of ranges into memory, each list to one array. Everything is submitted before this
 * returns.
 */
async function copyOut(
  device: GPUDevice,
  lists: readonly (readonly BufferRange[])[],
): Promise<ArrayBuffer[]> {
  const what = "Cannot take a snapshot";
  device.pushErrorScope("out-of-memory");
  device.pushErrorScope("validation");
  const encoder = device.createCommandEncoder({ label: "couplet snapshot" });
  const staged = lists.map((ranges) => {
    const size = ranges.reduce((sum, range) => sum + range.size, 0);
    if (size === 0) return undefined;
    const staging = device.createBuffer({
      label: "couplet snapshot",
      size,
      usage: MAP_READ | COPY_DST,
    });
    let at = 0;
    for (const { source, offset, size } of ranges) {
      encoder.copyBufferToBuffer(source, offset, staging, at, size);
      at += size;
    }
    return staging;
  });
  device.queue.submit([encoder.finish()]);
  const scopes = [device.popErrorScope(), device.popErrorScope()] as const;
  try {
    const [invalid, exhausted] = await Promise.all(scopes);
    if (exhausted !== null) {
      throw deviceError("memory", what, exhausted.message || "the device is out of memory");
    }
    if (invalid !== null) {
      const code = await isAlive(device) ? "device" : "lost";
      throw deviceError(code, what, invalid.message);
    }
    // All at once: an implementation may wait a while for each.
    await Promise.all(staged.map((staging) => staging?.mapAsync(MODE_READ)));
    return staged.map((staging) => {
      const copy = staging?.getMappedRange().slice(0) ?? new ArrayBuffer(0);
      staging?.destroy();
      return copy;
    });
  } catch (cause) {
    if (cause instanceof CoupletError) throw cause;
    throw deviceError("lost", what, messageOf(cause), { cause });
  } finally {
    for (const staging of staged) staging?.destroy();
  }
}

function deviceError(
  code: "device" | "lost" | "memory",
  what: string,
  why: string,
  options?: ErrorOptions,
): CoupletError {
  raise(
    code,
    what,
    why,
    "Create the cache anew on a device that is alive and has the memory",
    options,
  );
}
