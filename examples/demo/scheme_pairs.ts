import { CoupletError, parseScheme, recordBits, type SchemeId } from "@couplet/kv";
import { pairName } from "../../cli/scheme_pair.ts";

/** One row of the table: a scheme for keys and one for values. */
export interface SchemePair {
  /** `c4b8`, or `c4b8/c8b8` where keys and values differ. */
  readonly id: string;
  readonly keys: SchemeId;
  readonly values: SchemeId;
}

/** A pair at the model's head dimension. */
export interface SizedPair extends SchemePair {
  /** Bits per channel of a record, keys and values averaged. */
  readonly bits: number;
}

/** The uncompressed run, which everything is compared with. */
export const UNCOMPRESSED: SchemePair = { id: "f16", keys: "f16", values: "f16" };

/**
 * The pairs of the default table: 4, 2, 1.25 and 1 bit; the ladders of coupling at 1 and at 2 bits; and
 * more bits for keys than for values.
 */
export const DEFAULT_PAIRS = "f16,c2b8,c1b2,c2b4,c4b8,c4b8/c8b8,c8b10,c1b1,c2b2,c4b4,c8b8";

/**
 * The pairs that `list` names, `f16` first.
 *
 * @param list Comma-separated `scheme` or `keys/values`.
 * @throws {CoupletError} `scheme` where a scheme is unknown, `usage` where the list has another form.
 */
export function parseSchemePairs(list: string): readonly SchemePair[] {
  const pairs = new Map([[UNCOMPRESSED.id, UNCOMPRESSED]]);
  for (const item of list.split(",").map((item) => item.trim())) {
    const [keys, values = keys, ...rest] = item.split("/").map((id) => id.trim());
    if (!keys || !values || rest.length > 0) {
      throw new CoupletError("usage", {
        what: `Cannot read the scheme pair "${item}"`,
        why: "a pair is one scheme, or one for keys and one for values with a slash between",
        remedy: 'Write for example "--schemes c4b8,c8b8/c4b8"',
      });
    }
    const id = pairName({ keys, values });
    pairs.set(id, { id, keys: parseScheme(keys).id, values: parseScheme(values).id });
  }
  return [...pairs.values()];
}

/**
 * A pair with its bits.
 *
 * @throws {CoupletError} `shape` where a scheme has no record of the head dimension.
 */
export function sizedPair(pair: SchemePair, headDim: number): SizedPair {
  const [keys, values] = [pair.keys, pair.values].map((id) =>
    recordBits(parseScheme(id).layout(headDim), headDim)
  );
  return { ...pair, bits: (keys! + values!) / 2 };
}

/** The pair with the fewest bits; among equals, the one that couples most channels. */
export function smallestPair(pairs: readonly SizedPair[]): SizedPair | undefined {
  const coupled = ({ keys, values }: SchemePair) =>
    parseScheme(keys).channels + parseScheme(values).channels;
  return pairs.toSorted((a, b) => a.bits - b.bits || coupled(b) - coupled(a))[0];
}
