/** An entry's bytes, whole and of one version, though the connection may be cut. */
import { joinBytes } from "../../base/join_bytes.ts";
import { storeError } from "../store.ts";
import { checkIsFile, type Exchange, isNotThere, refusal } from "./http_exchange.ts";

/** An entry as it was received. */
export interface Downloaded {
  /** All of it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Its ETag, where the server gave one that a page may see. */
  readonly etag: string | undefined;
}

/** Most attempts in a row that bring nothing new. */
const ATTEMPTS = 5;

/**
 * Receives an entry. Where the connection is cut, the rest is requested, on condition that the entry
 * is still the same; where it is not, or the server has no ranges, all of it.
 *
 * @param first The response to a GET.
 * @returns Undefined where there is no entry.
 * @throws {CoupletError} `store` where it cannot be received.
 */
export async function download(to: Exchange, first: Response): Promise<Downloaded | undefined> {
  let response = first;
  let received = new Received(response);
  let furthest = 0;
  for (let failures = 0;;) {
    if (isNotThere(response)) {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status === 200) received = new Received(response);
    else if (!received.isContinuedBy(response)) throw await refusal(to, response);
    await checkIsFile(to, response);
    const cut = await received.read(response);
    if (cut === undefined) return { bytes: received.joined(), etag: received.etag };
    failures = received.progress > furthest ? 1 : failures + 1;
    furthest = Math.max(furthest, received.progress);
    if (failures === ATTEMPTS) {
      throw storeError(to.what, cut, "Check the connection, and try again");
    }
    response = await to.send("GET", received.rest());
  }
}

/** What was received of one version of an entry. */
class Received {
  /** Bytes so far. */
  length = 0;
  readonly etag: string | undefined;
  /** Bytes of all, where the server says. */
  readonly #total: number | undefined;
  readonly #parts: Uint8Array[] = [];

  constructor({ headers }: Response) {
    this.etag = headers.get("etag") ?? undefined;
    const total = headers.get("content-length");
    this.#total = total === null ? undefined : Number(total);
  }

  /** Bytes so far that belong to it: a server may send more than it announced, without end. */
  get progress(): number {
    return Math.min(this.length, this.#total ?? Infinity);
  }

  /** Whether a response has the next bytes of the same version. */
  isContinuedBy({ status, headers }: Response): boolean {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "");
    return status === 206 && Number(range?.[1]) === this.length &&
      headers.get("etag") === this.etag &&
      (this.#total === undefined || range?.[2] === "*" || Number(range?.[2]) === this.#total);
  }

  /** Takes the bytes of a response. Returns why it is not all, or undefined where it is. */
  async read({ body }: Response): Promise<unknown> {
    const reader = body?.getReader();
    try {
      for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
        this.#parts.push(part.value);
        this.length += part.value.length;
      }
    } catch (cause) {
      return cause;
    }
    const wanted = this.#total ?? Math.max(1, this.length);
    if (this.length === wanted && wanted > 0) return undefined;
    return new Error(`${this.length} of ${wanted} bytes came`);
  }

  /** Requests the rest; of an entry that cannot be told from another by its ETag, all. */
  rest(): Record<string, string> {
    const strong = this.etag?.startsWith('"') ? this.etag : undefined;
    if (strong === undefined || this.length === 0) return {};
    return { range: `bytes=${this.length}-`, "if-range": strong };
  }

  joined(): Uint8Array<ArrayBuffer> {
    return joinBytes(this.#parts);
  }
}
