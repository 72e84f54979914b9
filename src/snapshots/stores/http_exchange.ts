/** Requests for one entry, and what a server's refusals mean. */
import { CoupletError } from "../../base/errors.ts";

/** Requests to one address. */
export interface Exchange {
  /** What cannot be done, where it fails. */
  readonly what: string;
  /** The address. */
  readonly url: URL;
  /**
   * Sends a request.
   *
   * @throws {CoupletError} `store` where there is no response.
   */
  send(
    method: "GET" | "HEAD" | "PUT" | "DELETE",
    headers?: Readonly<Record<string, string>>,
    body?: Uint8Array<ArrayBuffer>,
  ): Promise<Response>;
}

/** Whether a server says that there is no such file. */
export function isNotThere({ status }: Response): boolean {
  return status === 404 || status === 410;
}

/** What to do about a status, or the statuses from one to the next hundred. */
const REMEDIES: Readonly<Record<number, string>> = {
  401: "Give headers or a fetch that the server lets in",
  403:
    "Give headers or a fetch that has the right. Object storage answers so for what is not there, unless one may list",
  405: "Write to a server that takes it: this one is for reading",
  412: "Send no conditions that the server does not take (headers)",
  413: "Let the server take larger files",
  429: "Try again later",
  501: "Write to a server that takes it: this one is for reading",
  507: "Make room on the server",
  300: "Give the address that the server leads to",
  400: "Check the address, the headers and what the server allows",
  500: "Try again later, and look into the server's log",
};

/** The error for a response that is none that was asked for. */
export async function refusal({ what, url }: Exchange, response: Response): Promise<CoupletError> {
  await response.body?.cancel();
  const { status, statusText } = response;
  return new CoupletError("store", {
    what,
    why: `${url.origin}${url.pathname} answers ${`${status} ${statusText}`.trim()}`,
    remedy: REMEDIES[status] ?? REMEDIES[status - status % 100] ??
      "Check that a server of files is at this address",
  });
}

/**
 * Checks that a response has a file's own bytes.
 *
 * @throws {CoupletError} `store` where it is a page, which some servers answer with for whatever is
 * not there, or compressed for transport, so that neither length nor ranges are the file's.
 */
export async function checkIsFile({ what, url }: Exchange, response: Response): Promise<void> {
  const refuse = async (why: string, remedy: string) => {
    await response.body?.cancel();
    throw new CoupletError("store", { what, why: `${url.origin}${url.pathname} ${why}`, remedy });
  };
  const { headers } = response;
  if (/^text\/html\b/.test(headers.get("content-type") ?? "")) {
    await refuse(
      "answers with a page (text/html), not with a file",
      "Check the address, and have the server answer 404 for files that are not there",
    );
  }
  if ((headers.get("content-encoding") ?? "identity") !== "identity") {
    await refuse(
      "is compressed for transport",
      "Have the server send *.safetensors as they are",
    );
  }
}
