import { checkOptions } from "../base/check_options.ts";
import { groupBy } from "../base/group_by.ts";
import { joinFloats } from "../base/join_floats.ts";
import { list } from "../base/data_kinds.ts";
import { CoupletError } from "../base/errors.ts";
import { SAMPLES } from "./sample_fields.ts";
import { type CalibrationSamples, tokensOf } from "./samples.ts";

/**
 * Samples of several files as one: the tokens of each layer and side one after the other, in the
 * files' order. Positions are kept if every file has them.
 *
 * @throws {CoupletError} `shape` where files differ in a layer's heads, channels, rotary embedding,
 * scale or kind of weights.
 */
export function joinSamples(
  files: readonly (readonly CalibrationSamples[])[],
): readonly CalibrationSamples[] {
  checkOptions("usage", "Cannot join samples", { files: list("a list of lists", SAMPLES) }, {
    files,
  });
  const bySide = groupBy(files.flat(), ({ layer, side }) => `${side} of layer ${layer}`);
  return [...bySide].map(([name, parts]) => joinSide(name, parts));
}

function joinSide(name: string, parts: readonly CalibrationSamples[]): CalibrationSamples {
  const [first] = parts as [CalibrationSamples];
  if (parts.length === 1) return first;
  const { layer, side, keyValueHeads, headDim, scale } = first;
  for (const part of parts) {
    if (part.keyValueHeads !== keyValueHeads || part.headDim !== headDim) {
      throw apart(
        name,
        `one file has ${keyValueHeads} heads of ${headDim} channels and another ${part.keyValueHeads} of ${part.headDim}`,
      );
    }
    if (weightsPerToken(part) !== weightsPerToken(first)) {
      throw apart(
        name,
        `one file has ${weightsPerToken(first) ?? "no"} weights per token and another ${
          weightsPerToken(part) ?? "none"
        }`,
      );
    }
    if (`${part.scale}` !== `${scale}`) throw apart(name, "their scales differ");
  }
  const ropes = new Set<string | undefined>(parts.map(({ rope }) => JSON.stringify(rope)));
  if (ropes.size > 1 && !ropes.has(undefined)) {
    throw apart(name, "their rotary embeddings differ");
  }
  const weights = parts.flatMap((part) => part.weights ?? []);
  const positions = parts.map((part) => part.positions);
  const { rope } = first;
  return {
    layer,
    side,
    keyValueHeads,
    headDim,
    values: joinFloats(parts.map(({ values }) => values)),
    ...(weights.length > 0 && { weights: joinFloats(weights) }),
    ...(scale && { scale }),
    ...(positions.every((own) => own !== undefined) && {
      positions: positions.flatMap((own) => Array.from(own)),
    }),
    ...(rope && ropes.size === 1 && { rope }),
  };
}

function weightsPerToken(samples: CalibrationSamples): number | undefined {
  return samples.weights && samples.weights.length / tokensOf(samples);
}

function apart(name: string, why: string): CoupletError {
  return new CoupletError("shape", {
    what: `Cannot join the samples of the ${name}`,
    why,
    remedy: "Take all samples from one model, in the same way",
  });
}
