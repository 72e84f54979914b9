/**
 * What went wrong, in one token a program can branch on.
 *
 * - `shape`: sizes that do not divide or do not match
 * - `scheme`: an id that no scheme parses
 * - `kernel`: no generated kernel covers the wanted row
 * - `limits`: the device's limits or features do not suffice
 * - `device`: no WebGPU adapter or device, or it refuses a kernel
 * - `memory`: the device is out of memory
 * - `lost`: the device was lost, and all that was on it
 * - `numbers`: keys or values that binary16 cannot hold
 * - `samples`: calibration data that cannot be clustered
 * - `codebook`: a codebook that is missing, foreign or of another version
 * - `snapshot`: a snapshot of another model, plan, set of codebooks or version
 * - `tuning`: a tuning record of another device, shape, version or set of kernels
 * - `store`: a store of snapshots that cannot be read or written
 * - `encryption`: a snapshot that is encrypted, with another key or under another name, or is not
 * - `file`: bytes that are not the file they claim to be
 * - `capacity`: the planned number of tokens, pages or sequences is used up
 * - `usage`: a call out of order or with arguments that contradict each other
 */
export type CoupletErrorCode =
  | "shape"
  | "scheme"
  | "kernel"
  | "limits"
  | "device"
  | "memory"
  | "lost"
  | "numbers"
  | "samples"
  | "codebook"
  | "snapshot"
  | "tuning"
  | "store"
  | "encryption"
  | "file"
  | "capacity"
  | "usage";

/** The three sentences every error of this library carries. */
export interface ErrorParts {
  /** What failed. */
  readonly what: string;
  /** Why it failed, with the values that were found. */
  readonly why: string;
  /** What the caller can do about it. */
  readonly remedy: string;
}

/** Every error this library throws: `code` to branch on, and what, why and remedy to read. */
export class CoupletError extends Error {
  /** The kind of failure. */
  readonly code: CoupletErrorCode;
  /** What failed, why, and what to do. */
  readonly parts: ErrorParts;

  /**
   * An error with its three sentences.
   *
   * @param code The kind of failure.
   * @param parts What failed, why, and what to do.
   * @param options The underlying `cause`, where there is one.
   */
  constructor(code: CoupletErrorCode, parts: ErrorParts, options?: ErrorOptions) {
    const [what, why, remedy] = [parts.what, parts.why, parts.remedy].map(shortened);
    super(`${what}: ${why}. ${remedy}`, options);
    this.name = "CoupletError";
    this.code = code;
    this.parts = { what: what!, why: why!, remedy: remedy! };
  }
}

/**
 * Characters of a sentence, at most: it may quote a file, whose texts may be as long as the file.
 */
const MOST_CHARACTERS = 4000;

function shortened(text: string): string {
  if (text.length <= MOST_CHARACTERS) return text;
  return `${text.slice(0, MOST_CHARACTERS)}... (${text.length} characters)`;
}
