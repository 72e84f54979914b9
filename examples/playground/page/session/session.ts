/** A model on a device that writes one text with two caches: one in f16, and one in a scheme. */
import {
  type Cache,
  type CodebookSet,
  CoupletError,
  createCache,
  decodeCodebooks,
  type Sequence,
} from "@couplet/kv";
import { CacheSwitch } from "../../../demo/cache_switch.ts";
import { divergence, type ReferenceRow, referenceRow } from "../../../demo/metrics.ts";
import type { Checkpoint } from "../../../engine/checkpoint.ts";
import { createEngine, type Engine } from "../../../engine/engine.ts";
import {
  codedTokens,
  DEFAULT_SETTINGS,
  emptyDocument,
  halfTokens,
  type PlaygroundDocument,
  sameBefore,
  type Settings,
} from "./document.ts";
import { type KeptDocument, partsOf } from "./kept_document.ts";
import type { Kept, SessionState, Side } from "./messages.ts";
import { newSeed, pick } from "./pick.ts";
import { pieceAfter, Pieces } from "./pieces.ts";
import { planLongText, planText, STEP_TOKENS } from "./plans.ts";
import { Reader } from "./reader.ts";
import { SCHEMES } from "./schemes.ts";

/** What a session stands on. */
export interface SessionParts {
  readonly device: GPUDevice;
  readonly checkpoint: Checkpoint;
  /** Schemes on offer. */
  readonly schemes: readonly string[];
  /** Loads the file of a scheme's codebooks; none for a scheme that has none. */
  readonly codebooks: (scheme: string) => Promise<Uint8Array<ArrayBuffer> | undefined>;
  /** Where the document is kept; why it cannot be kept. */
  readonly place: KeptDocument | CoupletError;
  /** Told what takes a while. */
  readonly onProgress: (what: string) => void;
}

/** What of the state a session knows. */
export type SessionView = Pick<SessionState, "document" | "half" | "coded" | "kept" | "mostTokens">;

/** The session. Its calls may not overlap. */
export class Session {
  readonly #parts: SessionParts;
  readonly #engine: Engine<Sequence>;
  readonly #cacheSwitch: CacheSwitch;
  readonly #half: Reader;
  #coded: Reader;
  #document: PlaygroundDocument;
  #halfPieces: Pieces;
  #codedPieces: string[] = [];
  /** What the model says with the cache in f16, by place in the text; not known after a restore. */
  #references: ReferenceRow[] | undefined;
  #kept: Kept;

  private constructor(
    parts: SessionParts,
    engine: Engine<Sequence>,
    cacheSwitch: CacheSwitch,
    half: Reader,
    coded: Reader,
    document: PlaygroundDocument,
  ) {
    this.#parts = parts;
    this.#engine = engine;
    this.#cacheSwitch = cacheSwitch;
    this.#half = half;
    this.#coded = coded;
    this.#document = document;
    this.#halfPieces = new Pieces(parts.checkpoint.tokenizer, document.prompt);
    const { place } = parts;
    this.#kept = place instanceof CoupletError
      ? { state: "failed", parts: place.parts }
      : { state: "nothing" };
  }

  /**
   * Brings the model to the device, and a document to the caches: from snapshots as far as there are any.
   *
   * @param given The document. Defaults to the one that is kept, or a new one.
   * @returns The session, and how many of the document's tokens both caches have from snapshots.
   * @throws {CoupletError} as the engine and the caches do.
   */
  static async open(
    parts: SessionParts,
    given?: PlaygroundDocument,
  ): Promise<{ readonly session: Session; readonly restored: number }> {
    const { device, checkpoint: { config, fingerprint }, onProgress } = parts;
    const loaded = given === undefined ? await load(parts) : { document: given };
    const document = loaded.document ?? emptyDocument(fingerprint.digest, DEFAULT_SETTINGS);
    const { settings } = document;
    onProgress(`Compiling the kernels of f16 and ${settings.scheme}`);
    const [halfCache, codedCache] = await Promise.all([
      create(parts, { ...settings, scheme: "f16" }),
      create(parts, settings),
    ]);
    const cacheSwitch = new CacheSwitch(halfCache.cache);
    onProgress("Bringing the model to the device");
    const engine = await createEngine({
      device,
      checkpoint: parts.checkpoint,
      cache: cacheSwitch,
      maxTokens: Math.min(STEP_TOKENS, config.maxPositions),
    });
    function reader({ cache, longPlan }: CreatedCache) {
      return new Reader(engine, cacheSwitch, cache, longPlan);
    }
    const half = reader(halfCache);
    const coded = reader(codedCache);
    const session = new Session(parts, engine, cacheSwitch, half, coded, document);
    if (loaded.problem !== undefined) {
      session.#kept = { state: "failed", parts: loaded.problem.parts };
    } else if (given === undefined && document.prompt.length > 0) {
      session.#kept = keptState(document);
    }
    onProgress("Restoring the caches");
    return { session, restored: await session.#restore() };
  }

  /** What the page shows of it. */
  get view(): SessionView {
    return {
      document: this.#document,
      half: side(this.#half, this.#halfPieces.list),
      coded: side(this.#coded, this.#codedPieces),
      kept: this.#kept,
      mostTokens: this.#parts.checkpoint.config.maxPositions,
    };
  }

  /** Why nothing more can be written: the text is as long as the model was made for, or the model has ended it. */
  get ended(): "full" | "ended" | undefined {
    const { config } = this.#parts.checkpoint;
    const { prompt, text } = this.#document;
    if (prompt.length + text.length >= config.maxPositions) return "full";
    return config.endTokens.includes(text.at(-1) ?? -1) ? "ended" : undefined;
  }

  /**
   * Begins a new text, if the prompt is another.
   *
   * @throws {CoupletError} `usage` where the prompt is empty or too long; the old text then stays.
   */
  begin(promptText: string): void {
    if (promptText === this.#document.promptText && this.#document.prompt.length > 0) return;
    const { tokenizer, config: { maxPositions } } = this.#parts.checkpoint;
    const prompt = tokenizer.encode(promptText, true);
    if (prompt.length === 0 || prompt.length >= maxPositions) {
      throw new CoupletError("usage", {
        what: "The model cannot continue this text",
        why: prompt.length === 0
          ? "there is none"
          : `it has ${prompt.length} tokens, and the model was made for ${maxPositions}`,
        remedy: prompt.length === 0 ? "Write some words" : "Shorten it",
      });
    }
    this.#start({ ...this.#blank(), promptText, prompt });
  }

  /** Leaves the prompt of the text alone. */
  clear(): void {
    const { promptText, prompt } = this.#document;
    this.#start({ ...this.#blank(), promptText, prompt });
  }

  #blank(): PlaygroundDocument {
    return emptyDocument(this.#document.model, this.#document.settings);
  }

  #start(document: PlaygroundDocument): void {
    const ownFrom = document.settings.ownText ? 0 : null;
    this.#document = { ...document, ownFrom };
    this.#half.clear();
    this.#coded.clear();
    this.#halfPieces = new Pieces(this.#parts.checkpoint.tokenizer, document.prompt);
    this.#codedPieces = [];
    this.#references = [];
  }

  /** Writes one more token, if the text has not ended. */
  async step(): Promise<void> {
    if (this.ended !== undefined) return;
    const document = this.#document;
    const place = document.text.length;
    const reference = referenceRow(await this.#half.next(halfTokens(document)));
    const logits = await this.#coded.next(codedTokens(document));
    const seed = document.settings.draws ? newSeed() : null;
    const same = sameBefore(document, place);
    document.text.push(pick(reference.logits, seed));
    document.seeds.push(seed);
    document.chosen.push(pick(logits, seed));
    document.divergences.push(same ? divergence(reference, logits) : null);
    this.#references?.push(reference);
    this.#halfPieces.add(document.text[place]!);
    this.#codedPieces.push(this.#codedPiece(place));
  }

  /**
   * Changes the settings. A cache of another scheme or other exact tokens takes the coded one's place, and reads
   * the text so far.
   *
   * @throws {CoupletError} as the planner and the cache do; all is as before then.
   */
  async change(settings: Settings): Promise<void> {
    const document = this.#document;
    const before = document.settings;
    const place = document.text.length;
    const ownFrom = !settings.ownText ? null : document.ownFrom ?? place;
    const replanned = (["scheme", "window", "sinks"] as const)
      .some((name) => settings[name] !== before[name]);
    const changed = { ...document, settings, ownFrom };
    if (replanned) {
      const { cache, longPlan } = await create(this.#parts, settings);
      const coded = new Reader(this.#engine, this.#cacheSwitch, cache, longPlan);
      try {
        await this.#reread(coded, changed);
      } catch (error) {
        coded.destroy();
        throw error;
      }
      this.#coded.destroy();
      this.#coded = coded;
    } else if (before.ownText && !settings.ownText) {
      await this.#reread(this.#coded, changed);
    } else {
      this.#document = changed;
    }
  }

  /** Lets the coded cache read a document's text from the beginning, and takes the document. */
  async #reread(coded: Reader, document: PlaygroundDocument): Promise<void> {
    const { text, seeds, prompt, ownFrom } = document;
    if (text.length > 0) {
      const first = prompt.length - 1;
      // The last token stays unread: the next step reads it.
      const rows = await coded.all(codedTokens(document).slice(0, -1), first);
      const references = this.#references ??=
        (await this.#half.all(halfTokens(document).slice(0, -1), first)).map(referenceRow);
      document = {
        ...document,
        chosen: rows.map((row, place) =>
          ownFrom !== null && place >= ownFrom ? document.chosen[place]! : pick(row, seeds[place]!)
        ),
        divergences: rows.map((row, place) =>
          sameBefore(document, place) ? divergence(references[place]!, row) : null
        ),
      };
    }
    this.#document = document;
    this.#codedPieces = text.map((_, place) => this.#codedPiece(place));
  }

  #codedPiece(place: number): string {
    const { prompt, chosen } = this.#document;
    const before = codedTokens(this.#document)[prompt.length + place - 1]!;
    return pieceAfter(this.#parts.checkpoint.tokenizer, before, chosen[place]!);
  }

  /** Keeps the document, with what the caches have read, if there is a place for it. */
  async keep(): Promise<void> {
    const { place } = this.#parts;
    const document = this.#document;
    if (place instanceof CoupletError || document.prompt.length === 0) return;
    try {
      const keys = [
        await this.#half.store(place.snapshots, halfTokens(document)),
        await this.#coded.store(place.snapshots, codedTokens(document)),
      ];
      await place.save(document, keys);
      this.#kept = keptState(document);
    } catch (error) {
      this.#kept = { state: "failed", parts: partsOf(error, "The text could not be kept") };
    }
  }

  /** Deletes what is kept, and begins with nothing. */
  async forget(): Promise<void> {
    const { place } = this.#parts;
    if (!(place instanceof CoupletError)) {
      await place.delete();
      this.#kept = { state: "nothing" };
    }
    this.#start(this.#blank());
  }

  /** Brings the document's text to new caches. */
  async #restore(): Promise<number> {
    const { place } = this.#parts;
    const document = this.#document;
    this.#references = document.text.length === 0 ? [] : undefined;
    for (const tokenId of document.text) this.#halfPieces.add(tokenId);
    this.#codedPieces = document.text.map((_, place) => this.#codedPiece(place));
    if (place instanceof CoupletError || document.text.length === 0) return 0;
    return Math.min(
      await this.#half.restore(place.snapshots, halfTokens(document).slice(0, -1)),
      await this.#coded.restore(place.snapshots, codedTokens(document).slice(0, -1)),
    );
  }
}

/** The document that is kept, or why it cannot be used. */
async function load(
  { place, checkpoint, schemes }: SessionParts,
): Promise<{ document?: PlaygroundDocument; problem?: CoupletError }> {
  if (place instanceof CoupletError) return {};
  try {
    const document = await place.load(checkpoint.fingerprint.digest, schemes);
    return document === undefined ? {} : { document };
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return { problem: error };
  }
}

interface CreatedCache {
  readonly cache: Cache;
  readonly longPlan: ReturnType<typeof planLongText>;
}

/** A cache for the text. */
async function create(
  { device, checkpoint, codebooks: loadCodebooks }: SessionParts,
  { scheme, sinks, window }: Settings,
): Promise<CreatedCache> {
  const { config, fingerprint } = checkpoint;
  const offered = SCHEMES.find(({ id }) => id === scheme);
  if (offered === undefined) {
    throw new CoupletError("scheme", {
      what: "The cache cannot be planned",
      why: `the playground does not offer ${scheme}`,
      remedy: `Choose one of ${SCHEMES.map(({ id }) => id).join(", ")}`,
    });
  }
  const [{ kernels }, bytes] = await Promise.all([offered.kernels(), loadCodebooks(scheme)]);
  const choice = { scheme, sinks, window, kernels };
  const { keyValueHeads, headDim } = config;
  const codebooks: CodebookSet | undefined = bytes && decodeCodebooks(bytes, {
    model: fingerprint,
    keySpace: "pre-rope",
    keyValueHeads,
    headDim,
  });
  const cache = await createCache({
    device,
    plan: planText(config, choice, device),
    model: fingerprint,
    ...(codebooks ? { codebooks } : {}),
  });
  return { cache, longPlan: planLongText(config, choice) };
}

function side(reader: Reader, pieces: readonly string[]): Side {
  const { memory, tokens, tokensPerSecond } = reader;
  return { memory, tokens, pieces, ...(tokensPerSecond === undefined ? {} : { tokensPerSecond }) };
}

function keptState({ prompt, text }: PlaygroundDocument): Kept {
  return { state: "kept", tokens: prompt.length + text.length };
}
