import { sha256 } from "../src/base/sha256.ts";

/**
 * The digest of a model, from the SHA-256 of `config.json` and of its weights' files, in
 * hexadecimal digits. It is one over the files' digests, so that no file has to be held to join them.
 */
export async function modelDigest(digests: readonly string[]): Promise<string> {
  return `sha256:${await sha256(new TextEncoder().encode(digests.join("\n")))}`;
}
