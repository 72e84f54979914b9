/** The rotary embeddings that a `config.json` describes, by kind of layer. */
import { type Kind, kind, listOf, POSITIVE, TEXT, whole } from "../base/check_options.ts";
import { mropeSections } from "../model/mrope_sections.ts";
import { Entries, isObject } from "./reading/entries.ts";
import type { AttentionLayer, RopeFacts } from "./reading/facts.ts";
import type { RopeRule } from "./reading/family.ts";
import { refuse } from "./reading/refuse.ts";
import { ROPE_SCALINGS, type ScaledFrequencies } from "./rope_scalings.ts";

/** A share of channels. */
const SHARE: Kind<number> = kind(
  "a number above 0, at most 1",
  (value) => POSITIVE[1](value) && value <= 1,
);
const SECTIONS: Kind<readonly number[]> = listOf(whole(0));
const CHANNELS = whole(2);
const ANY: Kind<unknown> = kind("anything", () => true);
/** Entries about an embedding that a model does not have. */
const IN_VAIN: readonly string[] = [
  "rope_theta",
  "rope_scaling",
  "rope_parameters",
  "partial_rotary_factor",
];

/** How the layers of a model rotate. */
export interface ReadRopes {
  /** The embedding of layers of a kind; undefined where they have none. */
  readonly of: (kind: AttentionLayer["kind"], headDim: number) => RopeFacts | undefined;
  /** Why keys cannot be coded before it, as far as the file's parameters say so. */
  readonly asScored?: string;
  /** Sentences on what depends on the sequences' length. */
  readonly notes: ReadonlySet<string>;
}

/** What frequencies are computed with, beside the parameters of the embedding itself. */
interface Context {
  readonly entries: Entries;
  readonly layout: RopeFacts["layout"];
  readonly mrope: RopeRule["mrope"];
  readonly maxPositions: number | undefined;
  readonly length: number | undefined;
  readonly notes: Set<string>;
}

/**
 * Reads the entries about rotary embeddings: `rope_theta`, `rope_scaling` or `rope_parameters`, one
 * for all layers or one for each of their kinds.
 *
 * @param length Tokens of the sequences to be planned for, where they are known.
 * @throws {CoupletError} `file` where a scaling is not known, or a parameter is missing or makes no
 * sense.
 */
export function readRopes(
  entries: Entries,
  rule: RopeRule,
  maxPositions: number | undefined,
  length: number | undefined,
): ReadRopes {
  const notes = new Set<string>();
  if (rule.layout === "none") {
    // Files may have them all the same.
    for (const name of IN_VAIN) entries.get(name, ANY);
    return { of: () => undefined, notes };
  }
  const layout = rule.layout ?? "half";
  const { mrope } = rule;
  const context: Context = { entries, layout, mrope, maxPositions, length, notes };
  const empty = new Entries({});
  const all = entries.object("rope_scaling") ?? entries.object("rope_parameters") ?? empty;
  const isNested = all.names.some((name) => isObject(all.json[name]));
  const nested = new Map<string, Entries | undefined>();
  const sections = all.get("mrope_section", SECTIONS);
  const localTheta = entries.get("rope_local_base_freq", POSITIVE);
  // Layers of a kind have one embedding together.
  const found = new Map<string, RopeFacts>();
  const read = (kind: AttentionLayer["kind"], headDim: number): RopeFacts => {
    if (isNested) {
      const name = `${kind}_attention`;
      if (!nested.has(name)) nested.set(name, all.object(name));
      const own = nested.get(name) ??
        refuse(`${all.name(name)} is missing`, "Check that the file is whole");
      return readRope(own, headDim, undefined, context);
    }
    const local = kind === "sliding" && rule.scaled === "full";
    return readRope(local ? empty : all, headDim, local ? localTheta : undefined, context);
  };
  return {
    of: (kind, headDim) => {
      const key = `${kind} ${headDim}`;
      const rope = found.get(key) ?? read(kind, headDim);
      found.set(key, rope);
      return rope;
    },
    ...(sections === undefined ? {} : { asScored: mropeReason(sections) }),
    notes,
  };
}

function mropeReason(sections: readonly number[]): string {
  return `its channels rotate by ${sections.length} positions of a token, in sections of ${
    sections.join(", ")
  } pairs (mrope_section)`;
}

function readRope(
  parameters: Entries,
  headDim: number,
  otherTheta: number | undefined,
  { entries, layout, mrope, maxPositions, length, notes }: Context,
): RopeFacts {
  const ownTheta = parameters.get("rope_theta", POSITIVE);
  const modelTheta = entries.get("rope_theta", POSITIVE);
  const theta = otherTheta ?? ownTheta ?? modelTheta ?? 10000;
  const rotaryDim = readRotaryDim(parameters, entries, headDim);
  const types = [parameters.get("rope_type", TEXT), parameters.get("type", TEXT)];
  const type = types[0] ?? types[1] ?? "default";
  const scale = Object.hasOwn(ROPE_SCALINGS, type) ? ROPE_SCALINGS[type]! : refuse(
    `${parameters.name("rope_type")} is "${type}", a scaling that is not known`,
    `Those known are ${Object.keys(ROPE_SCALINGS).join(", ")}`,
  );
  // Queries are multiplied by a factor of their position, which the host does.
  const scaling = parameters.get("llama_4_scaling_beta", POSITIVE);
  if (scaling !== undefined) {
    notes.add(
      "Queries are multiplied by a factor of their position (llama_4_scaling_beta): the host does that.",
    );
  }
  const originalPositions = entries.get("original_max_position_embeddings", POSITIVE);
  const scaled: ScaledFrequencies = scale({
    parameters,
    theta,
    rotaryDim,
    headDim,
    maxPositions,
    originalPositions,
    length,
  });
  if (scaled.note !== undefined) notes.add(scaled.note);
  const { inverseFrequencies, attentionFactor = 1 } = scaled;
  const pairs = mrope && parameters.get("mrope_section", SECTIONS);
  return {
    layout,
    theta: scaled.theta ?? theta,
    rotaryDim: scaled.rotaryDim ?? rotaryDim,
    ...(inverseFrequencies === undefined ? {} : { inverseFrequencies }),
    attentionFactor,
    ...(pairs && { sections: readSections(pairs, mrope, rotaryDim, parameters) }),
  };
}

/** The sections of a family whose order is known. */
function readSections(
  pairs: readonly number[],
  mrope: RopeRule["mrope"],
  rotaryDim: number,
  parameters: Entries,
): readonly number[] {
  if (pairs.length !== 3 || pairs.reduce((a, b) => a + b) !== rotaryDim / 2) {
    refuse(
      `${parameters.name("mrope_section")} is ${pairs.join(", ")}, and ${
        rotaryDim / 2
      } pairs rotate`,
      "Time, height and width must share all pairs",
    );
  }
  return mropeSections(pairs, { interleaved: mrope === "interleaved" });
}

/** Channels that rotate: a number of them, or a share of the head. */
function readRotaryDim(parameters: Entries, entries: Entries, headDim: number): number {
  const ownShare = parameters.get("partial_rotary_factor", SHARE);
  const modelShare = entries.get("partial_rotary_factor", SHARE);
  const channels = entries.get("rotary_dim", CHANNELS);
  const rotaryDim = channels ?? Math.floor(headDim * (ownShare ?? modelShare ?? 1));
  if (rotaryDim % 2 !== 0 || rotaryDim > headDim || rotaryDim === 0) {
    refuse(
      `${rotaryDim} of ${headDim} channels rotate, by ${
        entries.name(channels === undefined ? "partial_rotary_factor" : "rotary_dim")
      }`,
      "An even number of channels must, at most the head dimension",
    );
  }
  return rotaryDim;
}
