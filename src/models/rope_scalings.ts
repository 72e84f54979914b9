/**
 * Frequencies of scaled rotary embeddings, as published, in float64.
 *
 * A frequency is that of one pair of channels, in radians per position. An attention factor
 * multiplies rotated channels of keys and of queries.
 */
import { FLAG, type Kind, kind, listOf, POSITIVE } from "../base/check_options.ts";
import type { Entries } from "./reading/entries.ts";
import { refuse } from "./reading/refuse.ts";

/** What a scaling computes with. */
export interface Scaling {
  /** The entries of `rope_scaling` or `rope_parameters`. */
  readonly parameters: Entries;
  /** Base of the plain series. */
  readonly theta: number;
  /** Channels that rotate. */
  readonly rotaryDim: number;
  /** Channels of a head. */
  readonly headDim: number;
  /** The longest sequence the model was made for. */
  readonly maxPositions: number | undefined;
  /** The longest sequence of its first training, where the file has it beside the scaling. */
  readonly originalPositions: number | undefined;
  /** Tokens of the sequences to be planned for, where they are known. */
  readonly length: number | undefined;
}

/** What it computes. */
export interface ScaledFrequencies {
  /** `[pairs]`; absent where the series is the plain one of `theta`. */
  readonly inverseFrequencies?: readonly number[];
  /** Another base, whose plain series the frequencies are. */
  readonly theta?: number;
  /** Channels that rotate, where they are not the `rotaryDim` given. */
  readonly rotaryDim?: number;
  /** 1 where absent. */
  readonly attentionFactor?: number;
  /** A sentence on what depends on the sequences' length. */
  readonly note?: string;
}

const FACTORS: Kind<readonly number[]> = listOf(POSITIVE);
const NOT_NEGATIVE: Kind<number> = kind(
  "0 or a positive number",
  (value) => value === 0 || POSITIVE[1](value),
);

/** Scalings by `rope_type`. */
export const ROPE_SCALINGS: Readonly<Record<string, (scaling: Scaling) => ScaledFrequencies>> = {
  default: () => ({}),
  // Sections are of positions: the frequencies are plain.
  mrope: () => ({}),
  linear: (scaling) => {
    const factor = required(scaling, "factor");
    return { inverseFrequencies: plain(scaling).map((frequency) => frequency / factor) };
  },
  dynamic,
  llama3,
  yarn,
  longrope,
  // The name of the first Phi-3 files.
  su: longrope,
  proportional,
};

/** `theta ** (-2 i / of)` for the pairs of `rotaryDim` channels. */
function plain({ theta, rotaryDim }: Pick<Scaling, "theta" | "rotaryDim">, of = rotaryDim) {
  return Array.from({ length: rotaryDim / 2 }, (_, i) => theta ** (-2 * i / of));
}

function required({ parameters }: Scaling, name: string): number {
  return parameters.get(name, POSITIVE) ??
    refuse(`${parameters.name(name)} is missing`, "Check that the file is whole");
}

/** Positions of the first training: beside the scaling, within it, or all that the model has. */
function originalPositions(scaling: Scaling): number {
  const within = scaling.parameters.get("original_max_position_embeddings", POSITIVE);
  return scaling.originalPositions ?? within ?? scaling.maxPositions ??
    required(scaling, "original_max_position_embeddings");
}

/** How many times longer sequences are than those of the first training. */
function stretch(scaling: Scaling, original: number): number {
  return scaling.parameters.get("factor", POSITIVE) ??
    (scaling.maxPositions === undefined
      ? required(scaling, "factor")
      : scaling.maxPositions / original);
}

/**
 * Neural tangent kernels (https://www.reddit.com/r/LocalLLaMA/comments/14mrgpr): a base that grows
 * with the sequence beyond the model's length, or by a fixed `alpha` (Hunyuan).
 */
function dynamic(scaling: Scaling): ScaledFrequencies {
  const { parameters, theta, rotaryDim, maxPositions, length } = scaling;
  const power = rotaryDim / (rotaryDim - 2);
  const alpha = parameters.get("alpha", POSITIVE);
  const factor = required(scaling, "factor");
  if (alpha !== undefined) {
    // YaRN's, which Hunyuan's files have in vain.
    for (const name of ["beta_fast", "beta_slow", "mscale", "mscale_all_dim"]) {
      parameters.get(name, NOT_NEGATIVE);
    }
    return { theta: theta * alpha ** power };
  }
  const original = parameters.get("original_max_position_embeddings", POSITIVE) ?? maxPositions ??
    required(scaling, "original_max_position_embeddings");
  if (length === undefined || length <= original) {
    return {
      note:
        `Its rotary frequencies are those of sequences of up to ${original} tokens; those of longer ones depend on their length.`,
    };
  }
  return {
    theta: theta * (factor * length / original - (factor - 1)) ** power,
    note:
      `Its rotary frequencies are those of sequences of ${length} tokens: they depend on the length beyond ${original}.`,
  };
}

/**
 * Llama 3.1's frequencies: short wavelengths, which the original context held often enough, are
 * kept; those longer than it are stretched by `factor`; those between are interpolated.
 * https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
 */
function llama3(scaling: Scaling): ScaledFrequencies {
  const factor = required(scaling, "factor");
  const low = required(scaling, "low_freq_factor");
  const high = required(scaling, "high_freq_factor");
  const context = originalPositions(scaling);
  if (high < low) {
    refuse(
      `${scaling.parameters.name("high_freq_factor")} ${high} is below low_freq_factor ${low}`,
      "Check that the file is of the model itself",
    );
  }
  return {
    inverseFrequencies: plain(scaling).map((frequency) => {
      const periods = context * frequency / (2 * Math.PI);
      // Equal factors leave nothing between (Llama 4).
      const kept = high === low
        ? Number(periods > high)
        : Math.min(1, Math.max(0, (periods - low) / (high - low)));
      return kept * frequency + (1 - kept) * frequency / factor;
    }),
  };
}

/**
 * YaRN (arXiv 2309.00071): pairs that turn often within the original context are kept, those that
 * turn less than once are stretched, with a ramp over the pairs between.
 */
function yarn(scaling: Scaling): ScaledFrequencies {
  const { parameters, theta, rotaryDim } = scaling;
  const original = originalPositions(scaling);
  const factor = stretch(scaling, original);
  const truncate = parameters.get("truncate", FLAG) ?? true;
  /** The pair, as a fraction, that turns so often within the original context. */
  const pairOf = (turns: number) =>
    rotaryDim * Math.log(original / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  const fast = pairOf(parameters.get("beta_fast", POSITIVE) ?? 32);
  const slow = pairOf(parameters.get("beta_slow", POSITIVE) ?? 1);
  const first = Math.max(truncate ? Math.floor(fast) : fast, 0);
  const last = Math.min(truncate ? Math.ceil(slow) : slow, rotaryDim - 1);
  const span = last === first ? 0.001 : last - first;
  return {
    inverseFrequencies: plain(scaling).map((frequency, i) => {
      const stretched = Math.min(1, Math.max(0, (i - first) / span));
      return stretched * frequency / factor + (1 - stretched) * frequency;
    }),
    attentionFactor: yarnAttention(parameters, factor),
  };
}

function yarnAttention(parameters: Entries, factor: number): number {
  const given = parameters.get("attention_factor", POSITIVE);
  const scale = parameters.get("mscale", NOT_NEGATIVE);
  const scaleOfAll = parameters.get("mscale_all_dim", NOT_NEGATIVE);
  const magnitude = (weight: number) => factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  if (given !== undefined) return given;
  return scale && scaleOfAll ? magnitude(scale) / magnitude(scaleOfAll) : magnitude(1);
}

/**
 * LongRoPE (arXiv 2402.13753): each pair is stretched by a factor of its own, from one list for
 * sequences up to the original length and another for longer ones.
 */
function longrope(scaling: Scaling): ScaledFrequencies {
  const { parameters, rotaryDim, length } = scaling;
  const original = originalPositions(scaling);
  const factor = stretch(scaling, original);
  const long = length !== undefined && length > original;
  const lists = { short_factor: [] as readonly number[], long_factor: [] as readonly number[] };
  for (const name of ["short_factor", "long_factor"] as const) {
    const list = parameters.get(name, FACTORS);
    if (list?.length !== rotaryDim / 2) {
      refuse(
        `${parameters.name(name)} has ${list?.length ?? "no"} factors for ${rotaryDim / 2} pairs`,
        "Check that the file is whole, and of the model itself",
      );
    }
    lists[name] = list!;
  }
  const factors = lists[long ? "long_factor" : "short_factor"];
  const given = parameters.get("attention_factor", POSITIVE);
  // Phi-3.5 MoE has a magnitude for each list instead.
  const magnitudes = [
    parameters.get("short_mscale", POSITIVE),
    parameters.get("long_mscale", POSITIVE),
  ];
  const attentionFactor = magnitudes[Number(long)] ?? given ??
    (factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original)));
  return {
    inverseFrequencies: plain(scaling).map((frequency, i) => frequency / factors[i]!),
    attentionFactor,
    note: `Its rotary frequencies are those of sequences of ${
      long ? `more than ${original} tokens; shorter` : `up to ${original} tokens; longer`
    } ones have others (${parameters.name(long ? "short_factor" : "long_factor")}).`,
  };
}

/**
 * Gemma 4's: pairs lie half a head apart, and those of the first channels alone turn, at the
 * frequencies that they have in a whole head.
 */
function proportional(scaling: Scaling): ScaledFrequencies {
  const { headDim, parameters } = scaling;
  const factor = parameters.get("factor", POSITIVE) ?? 1;
  const turning = plain(scaling, headDim).map((frequency) => frequency / factor);
  const still = new Array<number>(headDim / 2 - turning.length).fill(0);
  return { rotaryDim: headDim, inverseFrequencies: [...turning, ...still] };
}
