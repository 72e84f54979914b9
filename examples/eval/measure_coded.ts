import type { CodebookSet } from "@couplet/kv";
import { evaluate } from "../demo/evaluate.ts";
import { needId } from "./codebook_store.ts";
import { CodedRun, policyCoding } from "./coded_run.ts";
import { CodingErrors, type CodingErrorsOfRun } from "./coding_error.ts";
import type { MeasuredMethods } from "./measured.ts";
import { BASELINE, type Method } from "./methods.ts";
import { errorContexts, evaluationContexts, trialTexts, type Work } from "./prepare.ts";
import type { CodeUsageFigures } from "./figures/results.ts";
import { predictAnswers } from "./retrieval.ts";

/** Texts whose logits are in memory at once. */
const BATCH = 2;

/** What {@linkcode measureCoded} needs. */
export interface CodedMeasureOptions {
  readonly work: Work;
  readonly methods: readonly Method[];
  /** By {@linkcode needId}. */
  readonly codebooks: ReadonlyMap<string, CodebookSet>;
  /** Told how many tokens have run since it was last told. */
  readonly onTokens: (tokens: number) => void;
}

/**
 * Measures methods with every token coded, in float64, beside the exact model. The noise floor is of keys and values that
 * are rounded to f16 alone. Nothing is written.
 */
export async function measureCoded(
  { work, methods, codebooks, onTokens }: CodedMeasureOptions,
): Promise<MeasuredMethods> {
  const { checkpoint, options } = work;
  const exact = new CodedRun(checkpoint);
  const runs = [BASELINE, ...methods].map((method) =>
    new CodedRun(
      checkpoint,
      policyCoding(checkpoint.config, {
        ...method,
        codebooks: codebooks.get(needId(method.weights, method.keySpace, method.policy.shareHeads)),
      }),
    )
  );
  const [rounded, ...coded] = runs as [CodedRun, ...CodedRun[]];
  const references = [exact, rounded];
  const first = references.length;
  const errors = new CodingErrors(checkpoint.config, errorContexts(work), first);
  const codingErrors: CodingErrorsOfRun[] = [];
  const codeUsages: (readonly CodeUsageFigures[])[] = [];
  const qualities = await evaluate({
    runs: [...references, ...coded],
    contexts: evaluationContexts(work),
    batch: BATCH,
    chunk: options.context,
    onTokens,
    inspection: errors,
    async onFull(held): Promise<void> {
      for (const [i, run] of coded.entries()) {
        const own = held[first + i]!;
        codingErrors.push(await errors.measure(first + i, run.contexts(own)));
        codeUsages.push(run.codeUsage(own));
      }
    },
  });
  const answers = async (run: CodedRun, kind: "planted" | "notPlanted") =>
    await predictAnswers(run, trialTexts(work, kind), BATCH, onTokens);
  const measured = [];
  for (const [i, run] of coded.entries()) {
    measured.push({
      qualities: qualities[first + i]!,
      ...codingErrors[i]!,
      codeUsage: codeUsages[i]!,
      answers: await answers(run, "planted"),
      written: [],
    });
  }
  return {
    baseline: {
      qualities: qualities[0]!,
      answers: await answers(exact, "planted"),
      written: [],
    },
    noise: qualities[1]!,
    hidden: await answers(exact, "notPlanted"),
    methods: measured,
  };
}

/** Tokens that {@linkcode measureCoded} runs. */
export function codedTokens(work: Work, methods: readonly Method[]): number {
  const read = evaluationContexts(work).length * work.options.context;
  const asked = trialTexts(work, "planted")
    .reduce((sum, { tokenIds }) => sum + tokenIds.length - 1, 0);
  return (methods.length + 2) * (read + asked);
}
