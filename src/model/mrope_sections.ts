import {
  checkOptions,
  type Fields,
  FLAG,
  type Kind,
  kind,
  listOf,
  whole,
} from "../base/check_options.ts";

/** Options of {@linkcode mropeSections}. */
export interface MropeSectionOptions {
  /**
   * Whether pairs are of time, height and width in turn, and of time where another's are used up
   * (Qwen3-VL), instead of one section behind the other (Qwen2-VL). Defaults to false.
   */
  readonly interleaved?: boolean;
}

/** What the options of {@linkcode mropeSections} may be. */
export function mropeFields(): Fields<MropeSectionOptions> {
  return { "interleaved?": FLAG };
}

/**
 * Which of a token's three positions turns each pair of channels, as `rope.sections` of a plan's
 * keys lists them (mrope; Qwen2-VL, arXiv 2409.12191 §2.1).
 *
 * @param pairs `[time, height, width]`: pairs of each, `mrope_section` in a `config.json`.
 * @returns `[rotaryDim / 2]`: 0 for time, 1 for height, 2 for width.
 * @throws {CoupletError} `shape` where it is not given three numbers, or an option is not what it may
 * be.
 */
export function mropeSections(
  pairs: readonly number[],
  options: MropeSectionOptions = {},
): number[] {
  const three: Kind<readonly number[]> = kind(
    "three numbers of pairs",
    (value) => listOf(whole(0))[1](value) && (value as readonly number[]).length === 3,
  );
  checkOptions(
    "shape",
    "Cannot list the sections of a rotary embedding",
    { pairs: three, options: mropeFields() },
    { pairs, options },
  );
  if (options.interleaved !== true) {
    return pairs.flatMap((count, section) => new Array<number>(count).fill(section));
  }
  const all = pairs.reduce((sum, count) => sum + count);
  return Array.from({ length: all }, (_, pair) => {
    const section = pair % 3;
    return pair < 3 * pairs[section]! ? section : 0;
  });
}
