/**
 * Prompt prefixes in a store: keys by content, and the search for the longest stored prefix.
 */
import type { Cache } from "../cache/cache.ts";
import type { CacheIdentity } from "../cache/identity.ts";
import { cacheInternals } from "../cache/internals.ts";
import {
  type AnyRule,
  checkOptions,
  having,
  type Kind,
  TEXT,
  whole,
} from "../base/check_options.ts";
import { NUMBERS, orNothing, record } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import { MODEL } from "../codebooks/find.ts";
import type { Sequence } from "../cache/sequences.ts";
import { hexadecimal, sha256Bytes } from "../base/sha256.ts";
import { cacheIdentity, readSequence, restoreSequence } from "./snapshot.ts";
import { encodeSnapshot, inspectSnapshot } from "./file.ts";
import type { ReadableStore, SnapshotStore } from "./store.ts";

/** Tokens that are hashed together. Keys depend on it: another value makes other keys. */
const HASHED_TOKENS = 64;

/** Keys that a store is asked for together, the longest prefixes first. */
const ASKED_KEYS = 64;

/** A prompt, and the identity of its cache. */
export interface Prompt extends Pick<CacheIdentity, "planFingerprint" | "codebookFingerprint"> {
  /** The model, where it is known. */
  readonly model?: CacheIdentity["model"];
  /** The model's ids of the tokens. */
  readonly tokenIds: ArrayLike<number>;
}

/** An entry that could not be used. */
export interface RefusedEntry {
  /** Its key in the store. */
  readonly key: string;
  /** Tokens of the prefix it should hold. */
  readonly tokens: number;
  /** Why: damaged, foreign, or unreadable. */
  readonly error: CoupletError;
}

/** What a search found. */
export interface FoundPrefix {
  /** Tokens of the longest prefix stored; 0 where none is. */
  readonly tokens: number;
  /** Its key, where there is one. */
  readonly key?: string;
  /** Its snapshot, where there is one. It is whole, and of this prompt and cache. */
  readonly snapshot?: Uint8Array<ArrayBuffer>;
  /** Longer entries that could not be used. Delete them from the store, or examine them. */
  readonly refused: readonly RefusedEntry[];
}

/**
 * The key of a prompt: a hash of its tokens, of the model, and of everything that the cache's codes
 * depend on. Equal prompts have equal keys in every process.
 *
 * @returns `prompt-` and 64 hexadecimal digits.
 */
export async function promptKey(prompt: Prompt): Promise<string> {
  checkOptions("usage", "Cannot hash a prompt", { prompt: promptKind() }, { prompt });
  const [key] = await prefixKeys(prompt, [prompt.tokenIds.length]);
  return key!;
}

/**
 * Stores a sequence under the key of its tokens.
 *
 * @param tokenIds The tokens of the sequence, all of them.
 * @returns The key.
 * @throws {CoupletError} `usage` where the sequence has another length, or spans; what
 * {@linkcode snapshotSequence} and the store throw.
 */
export async function storePrefix(
  cache: Cache,
  store: SnapshotStore,
  sequence: Sequence,
  tokenIds: ArrayLike<number>,
): Promise<string> {
  cacheInternals(cache);
  checkOptions("usage", "Cannot store a prefix", {
    store: storeKind("put"),
    sequence: having("what createSequence() gives", "id"),
    tokenIds: NUMBERS,
  }, { store, sequence, tokenIds });
  const length = cache.length(sequence);
  if (length !== tokenIds.length) {
    throw new CoupletError("usage", {
      what: "Cannot store a prefix",
      why: `sequence ${sequence.id} has ${length} tokens and ${tokenIds.length} were given`,
      remedy:
        "Pass all tokens of the sequence, and store it at the length that is to be found again",
    });
  }
  if (cacheInternals(cache).state(sequence).spans.length > 0) {
    throw new CoupletError("usage", {
      what: "Cannot store a prefix",
      why:
        `sequence ${sequence.id} has spans, which tokens do not tell from those of another image`,
      remedy: "Take a snapshot (snapshotSequence), and keep it under a key of your own",
    });
  }
  // Both begin before the first await: sequence and tokens may grow meanwhile.
  const [{ info, tensors }, key] = await Promise.all([
    readSequence(cache, sequence),
    keyOf(cache, Array.from(tokenIds)),
  ]);
  await store.put(key, await encodeSnapshot({ info: { ...info, prompt: key }, tensors }));
  return key;
}

async function keyOf(cache: Cache, tokenIds: readonly number[]): Promise<string> {
  return await promptKey({ ...await cacheIdentity(cache), tokenIds });
}

/**
 * Finds the longest stored prefix of a prompt, among those of a multiple of `blockTokens` tokens.
 *
 * Entries that are damaged or foreign are skipped and reported.
 *
 * @param prompt The prompt. Leave out its last token, if logits are to be computed from it.
 * @param blockTokens Lengths at which prefixes are stored.
 */
export async function findLongestPrefix(
  store: ReadableStore,
  prompt: Prompt,
  blockTokens: number,
): Promise<FoundPrefix> {
  checkSearch({ store, prompt, blockTokens }, { prompt: promptKind() });
  const blocks = Math.floor(prompt.tokenIds.length / blockTokens);
  const lengths = Array.from({ length: blocks }, (_, i) => (i + 1) * blockTokens);
  const keys = await prefixKeys(prompt, lengths);
  const refused: RefusedEntry[] = [];
  for await (const block of storedBlocks(store, keys)) {
    const key = keys[block]!;
    const tokens = lengths[block]!;
    try {
      const snapshot = await store.get(key);
      // It was deleted after it was listed.
      if (snapshot === undefined) continue;
      await checkEntry(snapshot, key, tokens, prompt);
      return { tokens, key, snapshot, refused };
    } catch (error) {
      if (!(error instanceof CoupletError)) throw error;
      refused.push({ key, tokens, error });
    }
  }
  return { tokens: 0, refused };
}

/** The indices of keys that a store has, last first. */
async function* storedBlocks(
  store: ReadableStore,
  keys: readonly string[],
): AsyncGenerator<number, void, void> {
  const listed = store.has === undefined ? new Set(await store.list()) : undefined;
  for (let end = keys.length; end > 0; end -= ASKED_KEYS) {
    const asked = keys.slice(Math.max(0, end - ASKED_KEYS), end);
    const found = listed ? asked.map((key) => listed.has(key)) : await store.has!(asked);
    for (let i = asked.length - 1; i >= 0; i--) if (found[i]) yield end - asked.length + i;
  }
}

/**
 * Creates a sequence with the longest stored prefix of a prompt, or an empty one.
 *
 * @param blockTokens Lengths at which prefixes are stored.
 * @throws {CoupletError} `capacity` where it does not fit the cache; what the store throws.
 */
export async function restoreLongestPrefix(
  cache: Cache,
  store: ReadableStore,
  tokenIds: ArrayLike<number>,
  blockTokens: number,
): Promise<
  {
    readonly sequence: Sequence;
    readonly tokens: number;
    readonly refused: readonly RefusedEntry[];
  }
> {
  // Checked before the codebooks are hashed, which takes a while.
  cacheInternals(cache);
  checkSearch({ store, tokenIds, blockTokens }, { tokenIds: NUMBERS });
  const prompt = { ...await cacheIdentity(cache), tokenIds };
  const { tokens, snapshot, refused } = await findLongestPrefix(store, prompt, blockTokens);
  const sequence = snapshot === undefined
    ? cache.createSequence()
    : await restoreSequence(cache, snapshot);
  return { sequence, tokens, refused };
}

/** Checks what a search is given, its tokens by the fields of their own. */
function checkSearch(given: object, tokens: { readonly [name: string]: AnyRule }): void {
  checkOptions("usage", "Cannot look for a prefix", {
    store: storeKind("list", "get"),
    ...tokens,
    blockTokens: whole(1),
  }, given);
}

/** What a store may be that is used by these methods: one to read from need not be one to write to. */
function storeKind<Method extends keyof SnapshotStore>(
  ...methods: readonly Method[]
): Kind<Pick<SnapshotStore, Method>> {
  return having("a store of snapshots", ...methods);
}

/** What a prompt may be. It also has what {@linkcode cacheIdentity} returns. */
function promptKind(): Kind<Prompt> {
  return record<Prompt>("{ ...await cacheIdentity(cache), tokenIds }", {
    planFingerprint: TEXT,
    codebookFingerprint: TEXT,
    model: orNothing(MODEL),
    tokenIds: NUMBERS,
  });
}

async function checkEntry(
  snapshot: Uint8Array,
  key: string,
  tokens: number,
  prompt: Prompt,
): Promise<void> {
  const info = await inspectSnapshot(snapshot);
  const matches = info.length === tokens && (info.prompt ?? key) === key &&
    info.model?.digest === prompt.model?.digest &&
    info.planFingerprint === prompt.planFingerprint &&
    info.codebookFingerprint === prompt.codebookFingerprint;
  if (matches) return;
  throw new CoupletError("snapshot", {
    what: `Cannot use the entry ${key}`,
    why: "it holds another prompt, or is of another model, plan or set of codebooks",
    remedy: "Take another store, or move the entry out of this one",
  });
}

/** The keys of the first `lengths[i]` tokens; lengths rise. Each token is hashed about once. */
async function prefixKeys(prompt: Prompt, lengths: readonly number[]): Promise<string[]> {
  const { model, planFingerprint, codebookFingerprint, tokenIds } = prompt;
  const domain = ["couplet-prompt", 1, model?.digest ?? null, planFingerprint, codebookFingerprint];
  // A chain of hashes: the hash so far, then the next tokens. Prefixes of a long prompt share their
  // work.
  let chain = await sha256Bytes(new TextEncoder().encode(JSON.stringify(domain)));
  let hashed = 0;
  const extend = async (end: number) => {
    const bytes = new Uint8Array(chain.length + (end - hashed) * 4);
    bytes.set(chain);
    const view = new DataView(bytes.buffer, chain.length);
    for (let i = hashed; i < end; i++) view.setUint32((i - hashed) * 4, tokenId(tokenIds, i), true);
    return await sha256Bytes(bytes);
  };
  const keys: string[] = [];
  for (const length of lengths) {
    while (length - hashed >= HASHED_TOKENS) {
      chain = await extend(hashed + HASHED_TOKENS);
      hashed += HASHED_TOKENS;
    }
    keys.push(`prompt-${hexadecimal(length > hashed ? await extend(length) : chain)}`);
  }
  return keys;
}

function tokenId(tokenIds: ArrayLike<number>, index: number): number {
  const id = tokenIds[index];
  if (id === undefined || !Number.isInteger(id) || id < 0 || id > 0xffffffff) {
    throw new CoupletError("usage", {
      what: "Cannot hash a prompt",
      why: `token ${index} is ${id}`,
      remedy: "Pass tokens as the model numbers them: whole numbers from 0",
    });
  }
  return id;
}
