import { type CacheOptions, CoupletError, planCache } from "@couplet/kv";
import { manifest } from "@couplet/kv/kernels";
import { readPolicy } from "../../cli/policy_file.ts";
import { calibrationTokens } from "../calibration_tokens.ts";
import { checkWritable } from "../command_line.ts";
import { deviceLimits, type StepSizes, stepSizes } from "../demo/setups.ts";
import { mobyDick, readText, spreadContexts, statesOfTheUnion, type Text } from "../demo/texts.ts";
import {
  type Checkpoint,
  loadModel,
  modelCacheOptions,
  requirePlainNetwork,
} from "../engine/mod.ts";
import type { EvalArguments } from "./arguments.ts";
import { codedBits } from "./effective_bits.ts";
import {
  BASELINE,
  expandMethods,
  type Method,
  NOISE,
  policyPairs,
  type RefusedMethod,
} from "./methods.ts";
import { buildTrials, type Trial } from "./retrieval.ts";

/** Everything that is read, checked and decided before work starts. */
export interface Work {
  readonly options: EvalArguments;
  readonly checkpoint: Checkpoint;
  readonly texts: {
    /** Unlike the calibration's. */
    readonly different: EvaluationText;
    /** Held out from the calibration's. */
    readonly inDomain: EvaluationText;
  };
  readonly calibrationText: Text;
  /** Token ids to calibrate on. */
  readonly calibrationContexts: readonly (readonly number[])[];
  readonly trials: readonly Trial[];
  /** Token ids to write on from. */
  readonly prompts: readonly (readonly number[])[];
  readonly methods: readonly Method[];
  readonly refused: readonly RefusedMethod[];
  readonly sizes: StepSizes;
  /** What a method's cache is to be. */
  cacheOptions(method: Method): CacheOptions;
  /** What the device must offer. */
  readonly limits: Record<string, number>;
}

/** A text to evaluate on. */
export interface EvaluationText {
  readonly name: string;
  /** Token ids, `[contexts][context]`. */
  readonly contexts: readonly (readonly number[])[];
}

/** All contexts, those of the different text first. */
export function evaluationContexts({ texts }: Pick<Work, "texts">): EvaluationText["contexts"] {
  return [...texts.different.contexts, ...texts.inDomain.contexts];
}

/** Contexts whose vectors are decoded for the coding error, at most. */
const ERROR_CONTEXTS = 2;

/** How many of the first contexts have their vectors decoded for the coding error. */
export function errorContexts({ texts }: Pick<Work, "texts">): number {
  return Math.min(ERROR_CONTEXTS, texts.different.contexts.length);
}

/** The trials' texts, with the names planted or not. */
export function trialTexts(
  { trials }: Pick<Work, "trials">,
  kind: "planted" | "notPlanted",
): { readonly tokenIds: readonly number[]; readonly answerTokens: number }[] {
  return trials.map((trial) => ({ tokenIds: trial[kind], answerTokens: trial.answerTokens }));
}

/** Sequences that run together. */
const BATCH = 8;

/** The part of the calibration's text, at its end, that is held out to evaluate on. */
export const HELD_OUT = 1 / 5;

/** Tokens that written text starts from. */
const PROMPT_TOKENS = 32;

/**
 * Reads the model, the texts and the policies, and plans all caches.
 *
 * @throws {CoupletError} where a file is missing or unfit, a text is too short, or a method cannot be planned.
 */
export async function prepare(options: EvalArguments): Promise<Work> {
  for (const path of [options.json, options.html]) await checkWritable(path);
  const policies = [...options.schemes, ...await Promise.all(options.policy.map(readPolicy))];
  const different =
    await (options.text === undefined ? statesOfTheUnion() : readText(options.text));
  const calibrationText =
    await (options.calibration === undefined ? mobyDick() : readText(options.calibration));
  const checkpoint = await loadModel(options.model);
  const { config, tokenizer } = checkpoint;
  // Methods that run without a cache, and what is measured of logits, have attention of their own.
  requirePlainNetwork(config, "Cannot evaluate the model");
  const { context } = options;
  checkLength("--context", context, config.maxPositions);
  if (options.generate > 0) {
    checkLength(
      `--generate, with ${PROMPT_TOKENS} tokens of prompt,`,
      options.generate + PROMPT_TOKENS,
      config.maxPositions,
    );
  }

  const contexts = (what: string, tokenIds: readonly number[], tokens: number) =>
    spreadContexts(what, tokenIds, context, Math.ceil(tokens / context));
  const differentTokens = tokenizer.encode(different.text);
  const calibrationBook = tokenizer.encode(calibrationText.text);
  const heldOut = Math.ceil(calibrationBook.length * (1 - HELD_OUT));
  const texts = {
    different: {
      name: different.name,
      contexts: contexts("evaluate on", differentTokens, options.tokens),
    },
    inDomain: {
      name: `${calibrationText.name}, its last fifth`,
      contexts: contexts(
        "evaluate on, its last fifth held out from calibration",
        calibrationBook.slice(heldOut),
        options.tokens,
      ),
    },
  };
  const calibrationContexts = contexts(
    "calibrate on, without its last fifth",
    calibrationBook.slice(0, heldOut),
    options.calibrationTokens ?? calibrationTokens(
      policies.flatMap(({ policy }) => policyPairs(policy).flatMap((pair) => Object.values(pair))),
    ),
  );
  const trials = buildTrials({
    tokenizer,
    vocabularySize: config.vocabularySize,
    filler: differentTokens,
    distances: options.distances,
    trials: options.trials,
    seed: options.seed,
    maxTokens: config.maxPositions,
  });
  const prompts = [...texts.different.contexts, ...texts.inDomain.contexts]
    .slice(0, options.generate > 0 ? BATCH : 0)
    .map((tokenIds) => tokenIds.slice(0, PROMPT_TOKENS));

  const sizes = stepSizes(BATCH, config);
  const chunk = Math.min(sizes.chunk, options.chunk);
  const sequenceTokens = Math.max(
    context,
    ...trials.map(({ planted }) => planted.length),
    ...prompts.map(({ length }) => length + options.generate),
  );
  function cacheOptions({ policy, keySpace, tiers }: Method): CacheOptions {
    return {
      ...modelCacheOptions(config, keySpace),
      policy,
      tiers,
      capacity: {
        sequences: BATCH,
        tokens: BATCH * sequenceTokens,
        sequenceTokens,
        stepTokens: BATCH * chunk,
        appendTokens: chunk,
      },
    };
  }
  const { methods, refused } = expandMethods(
    { ...options, policies, spaces: options.spaces },
    options.sweep,
    (method) =>
      void (method.allCoded
        ? codedBits(cacheOptions(method), 1, context)
        : planCache({ ...cacheOptions(method), kernels: manifest })),
  );
  const cached = methods.filter(({ allCoded }) => !allCoded);
  return {
    options,
    checkpoint,
    texts,
    calibrationText,
    calibrationContexts,
    trials,
    prompts: methods.length > 0 && cached.length === 0 ? [] : prompts,
    methods,
    refused,
    sizes: { batch: BATCH, chunk },
    cacheOptions,
    limits: deviceLimits([BASELINE, NOISE, ...cached].map(cacheOptions)),
  };
}

function checkLength(name: string, tokens: number, most: number): void {
  if (tokens <= most) return;
  throw new CoupletError("usage", {
    what: "Cannot evaluate the model",
    why: `${name} is ${tokens} tokens and the model was made for ${most}`,
    remedy: `Stay at ${most} tokens or fewer`,
  });
}
