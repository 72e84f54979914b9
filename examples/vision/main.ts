/**
 * Shows a video to a small vision-language model and asks about it, with the video's keys and values in
 * f16 and in few bits: `deno task vision --help` lists the options.
 *
 * @module
 */
import { requiredLimits, type Sequence } from "@couplet/kv";
import { Progress } from "../../cli/progress.ts";
import { outputWidth } from "../../cli/output_width.ts";
import { formatBytes } from "../../cli/format_bytes.ts";
import { formatTable } from "../../cli/table.ts";
import { requestTestDevice } from "../../tools/adapter.ts";
import { runProgram, usageError } from "../command_line.ts";
import { UNCOMPRESSED } from "../demo/scheme_pairs.ts";
import { type Answer, questionTokens, readAnswers } from "./answers.ts";
import { parseArguments, type VisionDemoArguments } from "./arguments.ts";
import { drawFrame, sideBySide } from "./draw_frame.ts";
import { VisionHost, visionPlanOptions } from "./host.ts";
import { inWords } from "./question_words.ts";
import { bitsPerChannel, spanBytes } from "./span_bytes.ts";
import { learnSpanCodebooks, needsCodebooks } from "./span_codebooks.ts";
import { readVideos, type Video } from "./videos.ts";
import { loadVisionModel, type VisionModel } from "./vision_model.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { options } = parsed;
  const model = await loadVisionModel(options.model);
  const video = chooseVideo(options, await readVideos(options.videos, model));
  showFrames(options, model, video);

  const { pairs } = options;
  const textTokens = questionTokens(video.questions).length;
  const tokens = video.pixels.length / model.vision.frameSize ** 2 * model.vision.frameTokens;
  const spans = Object.fromEntries(
    pairs.map(({ keys, values }, i) => [spanName(i), { keys, values, tokens, count: 1 }]),
  );
  const limits = requiredLimits(visionPlanOptions({ model, spans, textTokens }));
  const device = await requestTestDevice({ requiredLimits: { ...limits } });
  const codebooks = needsCodebooks(pairs)
    ? await learnCodebooks(options, model, device)
    : undefined;
  const host = await VisionHost.create({
    device,
    model,
    spans,
    textTokens,
    ...(codebooks ? { codebooks } : {}),
  });
  const seen = await host.read(video.pixels);
  const ask = async (sequence: Sequence) => {
    const logits = await host.ask(seen, sequence, questionTokens(video.questions));
    host.free(sequence);
    return readAnswers(model, video.questions, logits);
  };
  const answers = [await ask(host.exact(seen))];
  for (const [i] of pairs.entries()) {
    answers.push(await ask(host.compress(seen, [{ name: spanName(i) }])));
  }
  host.destroy();
  device.destroy();
  showAnswers(options, model, video, answers);
  showMemory(options, model, tokens, answers);
}

/** The video that is asked about, with no more questions than are to be asked. */
function chooseVideo(
  { video, questions }: VisionDemoArguments,
  videos: readonly Video[],
): Video {
  const chosen = videos[video];
  if (chosen === undefined) {
    throw usageError("Cannot show the video", `--video ${video} is not among ${videos.length}`);
  }
  return { ...chosen, questions: chosen.questions.slice(0, questions) };
}

function showFrames(
  { video, frames }: VisionDemoArguments,
  { vision: { frameSize, frameTokens } }: VisionModel,
  { pixels }: Video,
): void {
  const count = pixels.length / frameSize ** 2;
  const wrong = frames.find((frame) => frame >= count);
  if (wrong !== undefined) {
    throw usageError(
      "Cannot show the video",
      `--frames has ${wrong}, and the video ${count} frames`,
    );
  }
  const colours = Deno.stdout.isTerminal() && Deno.env.get("NO_COLOR") === undefined;
  const across = Deno.stdout.isTerminal() ? Deno.consoleSize().columns : 2 * frameSize + 2;
  const fit = Math.max(1, Math.floor((across + 2) / (frameSize + 2)));
  for (let first = 0; first < frames.length; first += fit) {
    const row = frames.slice(first, first + fit);
    console.log(row.map((frame) => `frame ${frame}`.padEnd(frameSize)).join("  ").trimEnd());
    console.log(
      sideBySide(row.map((frame) =>
        drawFrame(
          pixels.subarray(frame * frameSize ** 2, (frame + 1) * frameSize ** 2),
          frameSize,
          colours,
        )
      )),
    );
  }
  console.log(
    `video ${video}: ${count} frames of ${frameSize} x ${frameSize} pixels, ` +
      `${count * frameTokens} visual tokens\n`,
  );
}

async function learnCodebooks(
  { calibration, pairs, weights, seed }: VisionDemoArguments,
  model: VisionModel,
  device: GPUDevice,
) {
  const videos = await readVideos(calibration, model);
  const stage = new Progress(1).stage(`codebooks, from ${videos.length} other videos`);
  const codebooks = await learnSpanCodebooks({
    device,
    model,
    videos,
    policies: pairs,
    weighting: weights,
    seed,
    source: "visual tokens",
  }, stage);
  stage.done();
  return codebooks;
}

/** Questions and answers, side by side. */
function showAnswers(
  { pairs }: VisionDemoArguments,
  { text: { tokenizer } }: VisionModel,
  { questions }: Video,
  answers: readonly (readonly Answer[])[],
): void {
  const words = (tokenIds: readonly number[]) => inWords(tokenizer.decode(tokenIds));
  console.log(formatTable([
    ["question", "right answer", UNCOMPRESSED.id, ...pairs.map(({ id }) => id)],
    ...questions.map(({ tokenIds, answer }, i) => [
      words(tokenIds),
      words([answer]),
      ...answers.map((all) => words([all[i]!.token]) + (all[i]!.right ? "" : " (wrong)")),
    ]),
  ], { width: outputWidth() }));
  console.log();
}

/** What a video takes, in f16 and in each scheme. */
function showMemory(
  { pairs }: VisionDemoArguments,
  { text: { config } }: VisionModel,
  tokens: number,
  answers: readonly (readonly Answer[])[],
): void {
  const whole = spanBytes(UNCOMPRESSED, tokens, config);
  console.log(formatTable(
    [
      ["video's keys and values", "bits a channel", "memory", "f16 /", "right"],
      ...[UNCOMPRESSED, ...pairs].map((pair, i) => {
        const bytes = spanBytes(pair, tokens, config);
        return [
          pair.id,
          bitsPerChannel(bytes, tokens, config).toFixed(3),
          formatBytes(bytes),
          (whole / bytes).toFixed(1),
          `${answers[i]!.filter(({ right }) => right).length} of ${answers[i]!.length}`,
        ];
      }),
    ],
    { width: outputWidth(), right: [1, 2, 3, 4] },
  ));
}

/** What a pair's span is called in the plan. */
function spanName(index: number): string {
  return `pair_${index}`;
}

if (import.meta.main) await runProgram(main);
