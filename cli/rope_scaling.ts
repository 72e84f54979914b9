/** Rotary frequencies from Hugging Face's `rope_scaling` and `rope_parameters`. */
import { CoupletError } from "../src/base/errors.ts";

/** A JSON object of unknown content. */
type Json = Readonly<Record<string, unknown>>;

/** The kinds that {@linkcode scaleFrequencies} computes. */
export const ROPE_SCALINGS: readonly string[] = ["default", "linear", "llama3"];

/** The kind of scaling an object of parameters asks for. */
export function scalingKind(parameters: Json): unknown {
  return parameters["rope_type"] ?? parameters["type"] ?? "default";
}

/**
 * Scaled frequencies, in radians per position, or undefined for a kind that is not in
 * {@linkcode ROPE_SCALINGS}.
 *
 * @param plain `[rotaryDim / 2]`, the geometric series without scaling.
 * @throws {CoupletError} `file` where a parameter is missing or makes no sense.
 */
export function scaleFrequencies(
  plain: readonly number[],
  parameters: Json,
): readonly number[] | undefined {
  switch (scalingKind(parameters)) {
    case "default":
      return plain;
    case "linear": {
      const factor = positive(parameters, "factor");
      return plain.map((frequency) => frequency / factor);
    }
    case "llama3":
      return llama3Frequencies(plain, parameters);
    default:
      return undefined;
  }
}

/**
 * Llama 3.1's frequencies: short wavelengths, which the original context held often enough, are
 * kept; those longer than it are stretched by `factor`; those between are interpolated.
 * https://github.com/meta-llama/llama-models/blob/main/models/llama3/model.py
 */
function llama3Frequencies(plain: readonly number[], parameters: Json): readonly number[] {
  const factor = positive(parameters, "factor");
  const low = positive(parameters, "low_freq_factor");
  const high = positive(parameters, "high_freq_factor");
  const context = positive(parameters, "original_max_position_embeddings");
  if (!(high > low)) {
    throw unusable(
      `high_freq_factor ${high} is not above low_freq_factor ${low}`,
      "Correct rope_scaling in config.json",
    );
  }
  return plain.map((frequency) => {
    const periods = context * frequency / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (periods - low) / (high - low)));
    return kept * frequency + (1 - kept) * frequency / factor;
  });
}

function positive(json: Json, key: string): number {
  const found = json[key];
  if (typeof found === "number" && Number.isFinite(found) && found > 0) return found;
  throw unusable(`${key} is ${JSON.stringify(found)}, not a positive number`, `Correct ${key}`);
}

function unusable(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: "config.json cannot be used", why, remedy });
}
