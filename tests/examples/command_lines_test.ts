/** The command lines of tasks: what their help looks like, and how wrong ones end. */
import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { parseArguments as parseBench } from "../../bench/arguments.ts";
import { EXIT, exitCodeOf } from "../../cli/command.ts";
import { parseAblationArguments } from "../../examples/ablation/arguments.ts";
import { parseArguments as parseCalibrate } from "../../examples/calibrate/arguments.ts";
import { parseArguments as parseDemo } from "../../examples/demo/arguments.ts";
import { parseArguments as parseEval } from "../../examples/eval/arguments.ts";
import { parseArguments as parseExplorer } from "../../examples/explorer/arguments.ts";
import { parseArguments as parseChat } from "../../examples/engine/arguments.ts";
import { parseServeArguments } from "../../examples/engine/serve_arguments.ts";
import { parseArguments as parsePolicy } from "../../examples/policy/arguments.ts";
import { parseArguments as parseVision } from "../../examples/vision/arguments.ts";
import { assertNarrow } from "../helpers/width.ts";

interface Task {
  readonly parse: (argv: readonly string[]) => { readonly help: string } | object;
  /** Command lines that are wrong. */
  readonly wrong: readonly string[];
}

const TASKS: Readonly<Record<string, Task>> = {
  demo: { parse: parseDemo, wrong: ["--tokens abc", "--context 1", "--weights heavy"] },
  eval: { parse: parseEval, wrong: ["--tokens abc", "--sinks -1", "--spaces here", "--trials x"] },
  ablation: { parse: parseAblationArguments, wrong: ["--tokens abc", "--only nothing"] },
  calibrate: {
    parse: parseCalibrate,
    wrong: ["--schemes c4b8", "--out o", "--tokens abc --out o"],
  },
  policy: { parse: parsePolicy, wrong: ["", "--bits 0", "--bits x", "--bits 1 --tokens abc"] },
  chat: { parse: parseChat, wrong: ["--tokens abc", "--temperature hot", "--keys c4b8"] },
  serve: { parse: parseServeArguments, wrong: ["", "--draft x one", "--store s one"] },
  vision: { parse: parseVision, wrong: ["--frames x", "--video -1"] },
  explorer: { parse: parseExplorer, wrong: ["--port abc", "--port 65536"] },
  bench: {
    parse: parseBench,
    wrong: ["--seconds x", "nothing", "count --override x", "gpu --minutes 0"],
  },
};

const BENCHES = [
  "attention",
  "report",
  "bandwidth",
  "gpu",
  "count",
  "encode",
  "kmeans",
  "prefill",
  "host",
  "onnx",
];

function words(line: string): string[] {
  return line.split(" ").filter((word) => word !== "");
}

for (const [task, { parse, wrong }] of Object.entries(TASKS)) {
  for (const suite of task === "bench" ? ["", ...BENCHES] : [""]) {
    Deno.test(`${task} ${suite} --help is words, and fits 80 columns`, () => {
      const parsed = parse([...words(suite), "--help"]);
      assert.ok("help" in parsed);
      const help: string = parsed.help;
      assert.match(help, /^Usage: /);
      assert.doesNotMatch(help, /[[{]"/);
      assertNarrow(help);
    });
  }

  for (const line of [...wrong, "--no-such-option"]) {
    Deno.test(`${task} ${line} ends with 2`, () => {
      assert.throws(() => parse(words(line)), (error) => {
        assert.ok(error instanceof CoupletError, String(error));
        assert.equal(exitCodeOf(error), EXIT.usage, error.message);
        return true;
      });
    });
  }
}
