import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { parseArguments } from "../../../examples/vision/arguments.ts";
import { inWords } from "../../../examples/vision/question_words.ts";

const VISION = fileURLToPath(new URL("../../../examples/vision/main.ts", import.meta.url));

/** Runs the demo as a person would, but for the launcher, in whose environment the tests run. */
async function runVision(...args: string[]) {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", VISION, ...args],
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

Deno.test("vision draws frames, and answers in f16 and in few bits, with the memory of both", async () => {
  const args = "--frames 3 --questions 4 --schemes sc1,kc2/kt2 --video 2".split(" ");
  const { code, output, errors } = await runVision(...args);
  assert.equal(code, 0, errors);
  const [heading, ...lines] = output.split("\n");
  assert.equal(heading, "frame 3");
  // No terminal reads this: letters, and no escapes.
  assert.ok(lines.slice(0, 28).some((line) => line.includes("@")));
  assert.ok(!output.includes("\x1b"));
  assert.match(output, /video 2: 16 frames of 56 x 56 pixels, 256 visual tokens/);
  assert.match(output, /question +right answer +f16 +sc1 +kc2\/kt2\n/);
  assert.equal(output.match(/^(which|how) .*\?/gm)!.length, 4);
  assert.match(output, /^f16 +16\.000 +512 KiB +1\.0 +[34] of 4$/m);
  assert.match(output, /^sc1 +1\.125 +36\.0 KiB +14\.2 +\d of 4$/m);
  assert.match(output, /^kc2\/kt2 +3\.000 +96\.0 KiB +5\.3 +\d of 4$/m);
});

for (
  const [args, exitCode, message] of [
    [["--video", "64"], 2, /--video 64 is not among 64/],
    [["--frames", "16"], 2, /--frames has 16, and the video 16 frames/],
    [["--videos", "nowhere.safetensors"], 1, /nowhere\.safetensors/],
  ] as const
) {
  Deno.test(`vision refuses ${args.join(" ")} with a sentence`, async () => {
    const { code, errors } = await runVision(...args);
    assert.equal(code, exitCode);
    assert.match(errors, message);
    assert.ok(!/\bat .*:\d+:\d+/.test(errors), errors);
  });
}

Deno.test("vision's parseArguments takes the files of the model, and reads lists", () => {
  const parsed = parseArguments([
    "--model",
    "dir",
    "--schemes",
    "f16,c8b8/c4b8",
    "--frames",
    "1,2",
  ]);
  assert.ok("options" in parsed);
  const { videos, calibration, pairs, frames } = parsed.options;
  assert.deepEqual([videos, calibration], [
    "dir/examples.safetensors",
    "dir/calibration.safetensors",
  ]);
  assert.deepEqual(pairs.map(({ id }) => id), ["c8b8/c4b8"]);
  assert.deepEqual(frames, [1, 2]);
  assert.ok("help" in parseArguments(["--help"]));
  assert.throws(() => parseArguments(["--schemes", "c5b8"]), { code: "scheme" });
  assert.throws(() => parseArguments(["--questions", "0"]), { code: "usage" });
});

Deno.test("inWords knows the fixture's questions, and leaves others", () => {
  assert.equal(inWords("<look><f3><c11>"), "which digit does frame 3 show in cell 11?");
  assert.equal(inWords("<count><f0>5"), "how often does frame 0 show a 5?");
  assert.equal(inWords("<first><c4>9"), "which frame shows a 9 in cell 4 first?");
  assert.equal(inWords("<f12>"), "frame 12");
  for (const text of ["7", "What is this?"]) assert.equal(inWords(text), text);
});
