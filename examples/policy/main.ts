/**
 * Chooses a policy for a model, a length and a budget of bits: `deno task policy --help` lists the options.
 *
 * @module
 */
import {
  choosePolicy,
  type CodebookSet,
  CoupletError,
  estimateSensitivities,
  parseScheme,
  type SchemeId,
  type Sensitivity,
  SIDES,
} from "@couplet/kv";
import { requestTestDevice } from "../../tools/adapter.ts";
import { writeWhole } from "../../cli/files.ts";
import { checkWritable, runProgram } from "../command_line.ts";
import { outputWidth } from "../../cli/output_width.ts";
import { Progress } from "../../cli/progress.ts";
import { wrapLines } from "../../cli/table.ts";
import { mobyDick, readText, spreadContexts } from "../demo/texts.ts";
import {
  checkContext,
  type Checkpoint,
  loadConfig,
  loadModel,
  modelCacheOptions,
  type ModelConfig,
} from "../engine/mod.ts";
import { weightedSamples } from "../engine/weighted_samples.ts";
import { provideCodebooks } from "../eval/codebook_store.ts";
import { isLearned } from "../eval/methods.ts";
import { CANDIDATES, parseArguments, type PolicyOptions } from "./arguments.ts";
import { type PolicyFile, readSensitivities } from "./sensitivity_file.ts";
import { measureCodedSensitivities, measureSensitivities } from "./sensitivities.ts";

const WHAT = "Cannot choose a policy";

const SOURCES: Readonly<Record<PolicyOptions["sensitivity"], string>> = {
  "estimate": "estimated",
  "measure": "measured",
  "all-coded": "measured with every token coded",
};

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  await checkWritable(options.json);
  const config = await loadConfig(options.model);
  checkContext(WHAT, config, options.context);
  const { bits: budgetBits, tokens, sequences, window, sinks, candidates } = options;
  const { shape, keys } = modelCacheOptions(config);
  const choose = (sensitivities: readonly Sensitivity[]) =>
    choosePolicy({
      shape,
      keys,
      budgetBits,
      tokens,
      sequences,
      tiers: { window, sinks },
      ...(candidates === undefined ? {} : { candidates }),
      sensitivities,
    });
  // What no policy can meet is refused before anything is measured: losses do not change what a policy takes.
  if (options.from === undefined) choose(lossless(options, config));
  const checkpoint = await loadModel(options.model);
  const { source, sensitivities } = options.from === undefined
    ? await takeSensitivities(options, checkpoint)
    : await readSensitivities(options.from, checkpoint.fingerprint);
  const chosen = choose(sensitivities);
  console.log(wrapLines(chosen.describe(), outputWidth()));
  if (options.json === undefined) return;
  const { describe: _describe, ...figures } = chosen;
  const file: PolicyFile = {
    name: tokens === Infinity ? `policy ${budgetBits}` : `policy ${budgetBits} at ${tokens}`,
    ...figures,
    model: checkpoint.fingerprint,
    source,
    sensitivities,
  };
  await writeWhole(options.json, `${JSON.stringify(file, null, 2)}\n`);
}

/** Candidates whose codebooks have a kind of their own where KV heads share their centroids. */
function sharedCandidates(
  { candidates = CANDIDATES, tokens }: PolicyOptions,
  { keyValueHeads }: Pick<ModelConfig, "keyValueHeads">,
): readonly SchemeId[] {
  // Where the codes alone count, smaller codebooks gain nothing.
  if (tokens === Infinity || keyValueHeads === 1) return [];
  return candidates.filter((scheme) => parseScheme(scheme).codebookSpec?.stages !== undefined);
}

/** Sensitivities of candidates that would lose nothing anywhere. */
function lossless(options: PolicyOptions, config: ModelConfig): readonly Sensitivity[] {
  const kinds = [
    ...(options.candidates ?? CANDIDATES).map((scheme) => ({ scheme })),
    ...sharedCandidates(options, config).map((scheme) => ({ scheme, shareHeads: true })),
  ];
  return Array.from({ length: config.layers }, (_, layer) => layer).flatMap((layer) =>
    SIDES.flatMap((side) => kinds.map((kind) => ({ layer, side, loss: 0, ...kind })))
  );
}

/** Learns codebooks of all candidates, and finds what each costs in each place. */
async function takeSensitivities(
  options: PolicyOptions,
  checkpoint: Checkpoint,
): Promise<Pick<PolicyFile, "source" | "sensitivities">> {
  const { candidates = CANDIDATES, codebooks: folder, seed, sensitivity } = options;
  const text =
    await (options.calibration === undefined ? mobyDick() : readText(options.calibration));
  const { learned, held } = splitContexts(options, checkpoint, text.text);
  const shared = sharedCandidates(options, checkpoint.config);
  const device = await requestTestDevice();
  if (folder !== undefined) await Deno.mkdir(folder, { recursive: true });
  const progress = new Progress(shared.length > 0 ? 4 : 2);

  async function learn(schemes: readonly SchemeId[], shareHeads: boolean): Promise<CodebookSet> {
    const stage = progress.stage(`learn codebooks${shareHeads ? " that KV heads share" : ""}`);
    const set = await provideCodebooks(
      {
        weights: "fisher",
        keySpace: "pre-rope",
        shareHeads,
        schemes: { keys: schemes, values: schemes },
      },
      { device, checkpoint, contexts: learned, name: text.name, seed, folder },
      stage,
    );
    stage.done();
    // The folder may hold those of other schemes, too.
    const codebooks = set.codebooks.filter(({ scheme }) => schemes.includes(scheme));
    return { ...set, codebooks };
  }
  const heldSamples = sensitivity === "estimate"
    ? await weightedSamples({ device, checkpoint, windows: held, weighting: "fisher" })
    : [];
  async function take(
    schemes: readonly SchemeId[],
    shareHeads: boolean,
  ): Promise<readonly Sensitivity[]> {
    const codebooks = await learn(schemes.filter(isLearned), shareHeads);
    const stage = progress.stage("sensitivities");
    const options = {
      checkpoint,
      codebooks,
      contexts: held,
      candidates: schemes.filter((id) => !parseScheme(id).lossless),
      onProgress: stage.update,
    };
    const taken = sensitivity === "estimate"
      ? estimateSensitivities(codebooks, heldSamples, schemes.filter(isDataFree))
      : sensitivity === "measure"
      ? await measureSensitivities({ device, ...options })
      : await measureCodedSensitivities(options);
    stage.done();
    return shareHeads ? taken.map((one) => ({ ...one, shareHeads })) : taken;
  }
  const sensitivities = [
    ...await take(candidates, false),
    ...(shared.length > 0 ? await take(shared, true) : []),
  ];
  device.destroy();
  const source = `${SOURCES[sensitivity]} on ${held.length} contexts of ${text.name}`;
  return { source, sensitivities };
}

function isDataFree(scheme: SchemeId): boolean {
  return parseScheme(scheme).codebook === "universal";
}

/** Contexts to learn on, and others, spread among them, to take sensitivities on. */
function splitContexts(
  { context, calibrationTokens, sensitivityTokens }: PolicyOptions,
  { tokenizer }: Checkpoint,
  text: string,
): { readonly learned: readonly number[][]; readonly held: readonly number[][] } {
  const heldCount = Math.ceil(sensitivityTokens / context);
  const count = Math.ceil(calibrationTokens / context) + heldCount;
  const all = spreadContexts("calibrate on", tokenizer.encode(text), context, count);
  if (all.length < 2 * heldCount) {
    throw new CoupletError("samples", {
      what: WHAT,
      why:
        `the text holds ${all.length} contexts of ${context} tokens, and ${heldCount} of them are to be kept apart`,
      remedy: "Pass a longer text, fewer --sensitivity-tokens or a smaller --context",
    });
  }
  const every = all.length / heldCount;
  const isHeld = new Set(
    Array.from({ length: heldCount }, (_, i) => Math.floor((i + 0.5) * every)),
  );
  const part = (held: boolean) =>
    all.filter((_, i) => isHeld.has(i) === held).map((one) => [...one]);
  return { learned: part(false), held: part(true) };
}

if (import.meta.main) await runProgram(main);
