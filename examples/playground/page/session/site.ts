/** What the build writes beside the page for it to fetch. */
import { CoupletError } from "@couplet/kv";
import type { ModelFiles } from "../../../engine/checkpoint.ts";

/** A file of the site. */
export interface SiteFile {
  /** Its path, from the page. */
  readonly path: string;
  readonly bytes: number;
}

/** The list of what there is, `site.json`. */
export interface Site {
  readonly model: {
    readonly name: string;
    /** By their names in a model's folder. */
    readonly files: Readonly<Record<string, SiteFile>>;
  };
  /** Codebook files by scheme. */
  readonly codebooks: Readonly<Record<string, SiteFile>>;
  /** How the codebooks were learned, for people. */
  readonly learned: { readonly source: string; readonly tokens: number };
}

/** Told how many bytes have come. */
export type OnBytes = (bytes: number) => void;

/** The site's list. */
export async function loadSite(): Promise<Site> {
  return JSON.parse(new TextDecoder().decode(await download("site.json", () => {})));
}

/** Bytes of all of the model's files. */
export function modelBytes({ model }: Site): number {
  return Object.values(model.files).reduce((sum, { bytes }) => sum + bytes, 0);
}

/** The model's files, as the engine reads them. */
export function modelFiles({ model: { name, files } }: Site, onBytes: OnBytes): ModelFiles {
  let done = 0;
  return {
    name,
    weightFiles: () => Promise.resolve([{ file: "model.safetensors", tensors: [] }]),
    has: (file) => Promise.resolve(file in files),
    async read(file) {
      const bytes = await download(files[file]!.path, (bytes) => onBytes(done + bytes));
      done += bytes.length;
      return bytes;
    },
  };
}

/**
 * A file of the site.
 *
 * @throws {CoupletError} `file` where it does not come.
 */
export async function download(path: string, onBytes: OnBytes): Promise<Uint8Array<ArrayBuffer>> {
  const url = new URL(path, location.href);
  try {
    const response = await fetch(url);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    const parts: Uint8Array<ArrayBuffer>[] = [];
    let bytes = 0;
    for await (const part of chunks(response.body!)) {
      parts.push(part);
      onBytes(bytes += part.length);
    }
    return new Uint8Array(await new Blob(parts).arrayBuffer());
  } catch (cause) {
    throw new CoupletError("file", {
      what: `${path} could not be loaded`,
      why: cause instanceof Error ? cause.message : String(cause),
      remedy: "Check the connection, and that all files of the playground are on the server",
    }, { cause });
  }
}

/** Not every browser's streams are iterable. */
async function* chunks(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, void> {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
