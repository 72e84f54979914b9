import { checkWritable } from "../command_line.ts";
import { checkContext, type Checkpoint, loadConfig, loadModel } from "../engine/mod.ts";
import type { DemoOptions } from "./arguments.ts";
import { deviceLimits, planSetups, type Setup, type StepSizes, stepSizes } from "./setups.ts";
import { mobyDick, readText, spreadContexts, stateOfTheUnion, type Text } from "./texts.ts";

/** Everything that is read, checked and decided before work starts. */
export interface Work {
  readonly options: DemoOptions;
  readonly checkpoint: Checkpoint;
  readonly text: Text;
  /** Token ids to evaluate on. */
  readonly contexts: readonly (readonly number[])[];
  readonly calibrationText: Text;
  /** Token ids to calibrate on. */
  readonly calibrationContexts: readonly (readonly number[])[];
  readonly sizes: StepSizes;
  readonly setups: readonly Setup[];
  /** What the device must offer. */
  readonly limits: Record<string, number>;
}

/**
 * Reads the model and the texts, and plans all caches.
 *
 * @throws {CoupletError} where a file is missing or unfit, a text is too short, or a cache cannot be planned.
 */
export async function prepare(options: DemoOptions): Promise<Work> {
  await checkWritable(options.json);
  checkContext("Cannot evaluate the model", await loadConfig(options.model), options.context);
  const text = await (options.text === undefined ? stateOfTheUnion() : readText(options.text));
  const calibrationText =
    await (options.calibration === undefined ? mobyDick() : readText(options.calibration));
  const checkpoint = await loadModel(options.model);
  const { config, tokenizer } = checkpoint;
  const { context } = options;
  function contexts(what: string, { text }: Text, tokens: number) {
    return spreadContexts(what, tokenizer.encode(text), context, Math.ceil(tokens / context));
  }
  const evaluated = contexts("evaluate on", text, options.tokens);
  const calibrated = contexts("calibrate on", calibrationText, options.calibrationTokens);
  const sizes = stepSizes(evaluated.length, config);
  const setups = planSetups(config, options, sizes);
  return {
    options,
    checkpoint,
    text,
    contexts: evaluated,
    calibrationText,
    calibrationContexts: calibrated,
    sizes,
    setups,
    limits: deviceLimits(
      setups.flatMap(({ codesAlone, withTiers }) => [codesAlone, withTiers]),
    ),
  };
}
