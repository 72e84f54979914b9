/** ONNX Runtime Web's attention beside the library's, in a headless Chromium. */
import { findChromium, visitWithGpu } from "../../tests/helpers/browser.ts";
import { bundlePage } from "../../tools/bundle_page.ts";
import { ROOT, runDeno } from "../../tools/project.ts";
import onnxProject from "../../examples/hosts/onnxruntime_web/deno.json" with { type: "json" };
import { CoupletError } from "../../mod.ts";
import { outputWidth } from "../../cli/output_width.ts";
import { wrapLines } from "../../cli/table.ts";
import { type ColumnGroup, formatTable } from "../../examples/tables/grouped.ts";
import { formatTime, halfSpread } from "../measure/figures.ts";
import { describeMachine, type MachineDescription } from "../measure/device.ts";
import { type BenchModel, MODELS } from "../measure/models.ts";
import { speedup, spread } from "../measure/statistics.ts";
import { onnxAnswerSchema, type OnnxComparison, type OnnxJob } from "./job.ts";
import { attentionModel } from "./model.ts";

/** What the onnx suite compares. */
export interface OnnxChoice {
  readonly models: readonly BenchModel[];
  readonly contexts: readonly number[];
  readonly rounds: number;
}

/** The example host that has the package, 140 MB, which no other task needs. */
const PROJECT = `${ROOT}examples/hosts/onnxruntime_web`;

/** The package's version. */
const VERSION: string = onnxProject.imports["onnxruntime-web"].replace(/^.*@/, "");

/** The package's files that a page loads. */
const ONNX_FILES: readonly string[] = [
  "ort.webgpu.bundle.min.mjs",
  "ort-wasm-simd-threaded.asyncify.wasm",
];

/** What a run of the suite comes to. */
export interface OnnxBench {
  readonly format: "couplet-bench-onnx";
  readonly version: 1;
  readonly machine: MachineDescription;
  /** The browser's adapter. */
  readonly adapter: string;
  /** Version of ONNX Runtime Web. */
  readonly onnxruntime: string;
  readonly compared: readonly OnnxComparison[];
}

/** The largest difference of outputs that f16 explains. */
const DIFFERENCE = 0.02;

/**
 * Compares both on each shape.
 *
 * @param software Whether to run on SwiftShader, which Chromium brings.
 * @throws {CoupletError} `device` where there is no Chromium or the page fails in it; `usage` where the outputs differ.
 */
export async function measureOnnx(choice: OnnxChoice, software: boolean): Promise<OnnxBench> {
  const machine = await describeMachine();
  const chromium = await findChromium();
  if (chromium === undefined) throw failure("no Chromium is on PATH");
  await runDeno(["install", "--frozen", "--quiet", "--config", `${PROJECT}/deno.json`]);
  const job: OnnxJob = {
    shapes: choice.models.flatMap(({ name }) =>
      choice.contexts.map((context) => ({ model: name, context }))
    ),
    rounds: choice.rounds,
  };
  const found = await visitPage(chromium, job, software);
  const answer = onnxAnswerSchema.parse(found);
  if ("error" in answer) throw failure(`the page failed: ${answer.error}`);
  for (const { model, context, difference } of answer.compared) {
    if (difference > DIFFERENCE) {
      throw failure(`outputs of ${model} at ${context} tokens differ by ${difference}`);
    }
  }
  return { format: "couplet-bench-onnx", version: 1, machine, onnxruntime: VERSION, ...answer };
}

/** Serves the page with what it needs, opens it and gives what it posts. */
async function visitPage(chromium: string, job: OnnxJob, software: boolean): Promise<unknown> {
  const program = await bundlePage("bench/onnx/page.ts");
  let report: (result: unknown) => void = () => {};
  const result = new Promise<unknown>((resolve) => report = resolve);
  const server = Deno.serve({ port: 0, hostname: "localhost", onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/result") {
      report(await request.json());
      return new Response();
    }
    const [body, type] = await servedFile(pathname, program, job) ?? [];
    if (body === undefined || type === undefined) return new Response(null, { status: 404 });
    return new Response(body, { headers: { "content-type": type } });
  });
  try {
    return await visitWithGpu(chromium, `http://localhost:${server.addr.port}/`, result, {
      adapter: software ? "swiftshader" : "hardware",
      minutes: 1 + 2 * job.shapes.length,
    });
  } finally {
    await server.shutdown();
  }
}

const SCRIPT = "text/javascript";

/** A response's body and media type. */
type Served = readonly [body: string | Uint8Array<ArrayBuffer>, type: string];

async function servedFile(
  path: string,
  program: string,
  job: OnnxJob,
): Promise<Served | undefined> {
  if (path === "/") {
    return ['<!doctype html><script type="module" src="/program.js"></script>', "text/html"];
  }
  if (path === "/program.js") return [program, SCRIPT];
  if (path === "/job.json") return [JSON.stringify(job), "application/json"];
  if (ONNX_FILES.includes(path.slice(1))) {
    const file = await Deno.readFile(`${PROJECT}/node_modules/onnxruntime-web/dist${path}`);
    return [file, path.endsWith(".wasm") ? "application/wasm" : SCRIPT];
  }
  const [, model, context, type] = /^\/([^/]+)\/(\d+)\/(float16|float32)\.onnx$/.exec(path) ?? [];
  if (model === undefined) return undefined;
  const file = attentionModel({
    ...MODELS.find(({ name }) => name === model)!,
    context: Number(context),
    type: type as "float16" | "float32",
  });
  return [file, "application/octet-stream"];
}

/**
 * The comparisons as a table.
 *
 * @param width Columns that it may take. Defaults to the terminal's.
 */
export function formatOnnx(
  { adapter, onnxruntime, compared }: OnnxBench,
  width: number = outputWidth(),
): string {
  const time = (title: string, of: (row: OnnxComparison) => readonly number[]) => ({
    title,
    columns: [
      { title: "ms", cell: (row: OnnxComparison) => formatTime(spread(of(row)).median) },
      { title: "±%", cell: (row: OnnxComparison) => halfSpread(spread(of(row))) },
    ],
  });
  const groups: ColumnGroup<OnnxComparison>[] = [
    {
      title: "",
      columns: [
        { title: "shape", cell: ({ model }) => model },
        { title: "context", cell: ({ context }) => `${context}` },
        { title: "their type", cell: ({ type }) => type },
      ],
    },
    time(`ONNX Runtime Web ${onnxruntime}`, ({ onnx }) => onnx),
    time("couplet, f16", ({ library }) => library),
    {
      title: "",
      columns: [{
        title: "times faster",
        cell: ({ onnx, library }) => speedup(onnx, library).median.toFixed(2),
      }, {
        title: "outputs differ by",
        cell: ({ difference }) => difference.toExponential(1),
      }],
    },
  ];
  const text = [
    `browser's adapter: ${adapter}`,
    "",
    formatTable(groups, compared, width),
    "",
    "one step, as a host runs it: one call, one submission, by the browser's clock",
  ].join("\n");
  return wrapLines(text, width);
}

function failure(why: string): CoupletError {
  return new CoupletError("device", {
    what: "Cannot compare with ONNX Runtime Web",
    why,
    remedy: "Install Chromium 121 or later (Debian: chromium-headless-shell), or run another suite",
  });
}
