/** A document in the browser's own file system, with snapshots of the caches that have read it. */
import { CoupletError, type ErrorParts, type SnapshotStore } from "@couplet/kv";
import { openOpfsStore } from "../../../../src/snapshots/stores/opfs.ts";
import { decodeDocument, encodeDocument, type PlaygroundDocument } from "./document.ts";

const KEY = "document";

/** The place of the one document. */
export class KeptDocument {
  /** Snapshots of sequences that have read it. */
  readonly snapshots: SnapshotStore;
  /** Stores do not interpret their entries, and see them whole or not at all: so may a document. */
  readonly #documents: SnapshotStore;

  private constructor(documents: SnapshotStore, snapshots: SnapshotStore) {
    this.#documents = documents;
    this.snapshots = snapshots;
  }

  /** @throws {CoupletError} `store` where the browser has no such place. */
  static async open(): Promise<KeptDocument> {
    return new KeptDocument(
      await openOpfsStore("couplet-playground-document"),
      await openOpfsStore("couplet-playground-snapshots"),
    );
  }

  /**
   * The document that was kept, if any.
   *
   * @param model Digest of the model that is to go on with it.
   * @param schemes The schemes on offer.
   * @throws {CoupletError} `file` where it is damaged, of another model or of another scheme.
   */
  async load(
    model: string,
    schemes: readonly string[],
  ): Promise<PlaygroundDocument | undefined> {
    const bytes = await this.#documents.get(KEY);
    if (bytes === undefined) return undefined;
    const document = decodeDocument(bytes);
    const problem = document === undefined
      ? "it is damaged"
      : document.model !== model
      ? "another model wrote it"
      : schemes.includes(document.settings.scheme)
      ? undefined
      : `its cache is in ${document.settings.scheme}, which is not on offer any more`;
    if (problem === undefined) return document;
    throw new CoupletError("file", {
      what: "The text that was kept here cannot be used",
      why: problem,
      remedy: "Write a new one; it takes the old one's place",
    });
  }

  /** Keeps a document, and of the snapshots only those of these keys. */
  async save(document: PlaygroundDocument, keys: readonly (string | undefined)[]): Promise<void> {
    await this.#documents.put(KEY, encodeDocument(document));
    for (const key of await this.snapshots.list()) {
      if (!keys.includes(key)) await this.snapshots.delete(key);
    }
  }

  /** Deletes the document and all snapshots. */
  async delete(): Promise<void> {
    await this.#documents.delete(KEY);
    for (const key of await this.snapshots.list()) await this.snapshots.delete(key);
  }
}

/** The sentences of an error on its way to the page. */
export function partsOf(error: unknown, what: string): ErrorParts {
  return error instanceof CoupletError ? error.parts : {
    what,
    why: error instanceof Error ? error.message : String(error),
    remedy: "Reload the page",
  };
}
