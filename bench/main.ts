/**
 * The benchmarks. `deno task bench --help` lists the suites; bench/README.md says what each figure means.
 *
 * @module
 */
import { describeDevice, requestAdapter } from "../tools/adapter.ts";
import picomatch from "picomatch";
import { manifest } from "../generated/manifest.ts";
import { writeWhole } from "../cli/files.ts";
import { checkWritable, runProgram } from "../examples/command_line.ts";
import { type BenchCommand, type OutputFiles, parseArguments } from "./arguments.ts";
import { formatOnnx, measureOnnx, type OnnxBench, type OnnxChoice } from "./onnx/onnx.ts";
import { chooseKernels, countKernels } from "./count/count.ts";
import { type CountBench, PUBLISHED, readCounts } from "./count/results.ts";
import { formatCounts } from "./count/table.ts";
import { type GpuChoice, measureGpu } from "./gpu/gpu.ts";
import { formatGpu, formatGpuSummary } from "./gpu/page.ts";
import { adapterFolder, type GpuBench, readReported } from "./gpu/results.ts";
import { measureAttention } from "./attention/attention.ts";
import { type AttentionBench, formatAttentionBench } from "./attention/results.ts";
import { formatAttentionTables } from "./attention/table.ts";
import { formatBandwidth } from "./measure/figures.ts";
import { measureRoofline } from "./measure/bandwidth.ts";
import { requestBenchDevice } from "./measure/device.ts";
import { type EncodeBench, formatEncode, measureEncode } from "./encode.ts";
import { formatHost, measureHost } from "./host.ts";
import { formatKmeans, measureKmeans } from "./kmeans.ts";
import { formatPrefill, measurePrefill } from "./prefill.ts";
import { formatSkip, measureSkip } from "./skip.ts";
import { formatSpans, measureSpans } from "./spans.ts";
import { formatTrellis, measureTrellis } from "./trellis.ts";
import { formatReport } from "./report/report.ts";
import { spread } from "./measure/statistics.ts";

async function main(argv: readonly string[]): Promise<void> {
  const parsed = parseArguments(argv);
  if ("help" in parsed) return console.log(parsed.help);
  const { command } = parsed;
  if ("files" in command) {
    for (const file of Object.values(command.files)) await checkWritable(file);
  }
  await runSuite(command, argv.join(" "));
}

async function runSuite(command: BenchCommand, line: string): Promise<void> {
  if (command.suite === "report") {
    const bench = await readReported(command.from);
    return bench.format === "couplet-bench-gpu"
      ? await showGpu(bench, command.files)
      : await showAttention(bench, command.files);
  }
  if (command.suite === "onnx") return await showOnnx(command.choice, command.files);
  if (command.suite === "count") {
    const { kernels, family, overrides } = command.choice;
    const chosen = chooseKernels(manifest, kernels, picomatch);
    return await showCounts(await countKernels(chosen, family, overrides), command.files);
  }
  if (command.suite === "trellis") {
    for (const row of measureTrellis()) console.log(formatTrellis(row));
    return;
  }
  const device = await requestBenchDevice();
  switch (command.suite) {
    case "attention":
      await showAttention(await measureAttention(device, command.choice, line), command.files);
      break;
    case "gpu":
      await runGpu(device, command.choice, command.folder, line);
      break;
    case "bandwidth": {
      const { clock, samples } = await measureRoofline(device, command.seconds);
      console.log(`${formatBandwidth(spread(samples))}, by ${clock.method}`);
      break;
    }
    case "encode":
      await showEncode(await measureEncode(device, command.choice), command.files);
      break;
    case "prefill":
      for (const pair of command.schemes) {
        console.log(formatPrefill(pair.id, await measurePrefill(device, pair)));
      }
      break;
    case "skip":
      for await (const row of measureSkip(device, command.choice)) console.log(formatSkip(row));
      break;
    case "spans":
      for (const row of await measureSpans(device, command.choice)) console.log(formatSpans(row));
      break;
    case "kmeans":
      for (const { keys } of command.schemes) {
        console.log(formatKmeans(keys, await measureKmeans(device, keys, command.tokens)));
      }
      break;
    case "host":
      console.log(formatHost(await measureHost(device)));
  }
  device.destroy();
}

async function showAttention(bench: AttentionBench, { json, html }: OutputFiles): Promise<void> {
  if (json !== undefined) await writeWhole(json, formatAttentionBench(bench));
  if (html !== undefined) await writeWhole(html, await formatReport(bench));
  console.log(`\n${formatAttentionTables(bench)}`);
}

async function showEncode(bench: EncodeBench, { json }: OutputFiles): Promise<void> {
  if (json !== undefined) await writeJson(json, bench);
  console.log(`\n${formatEncode(bench)}`);
}

async function showCounts(bench: CountBench, { json }: OutputFiles): Promise<void> {
  if (json !== undefined) await writeJson(json, bench);
  console.log(formatCounts(bench));
}

/** Measures, and writes into the adapter's folder, which is there before. */
async function runGpu(
  device: GPUDevice,
  choice: GpuChoice,
  results: string,
  line: string,
): Promise<void> {
  const folder = `${results}/${adapterFolder(describeDevice(device))}`;
  await Deno.mkdir(folder, { recursive: true });
  const files = { json: `${folder}/gpu.json`, html: `${folder}/gpu.html` };
  for (const file of Object.values(files)) await checkWritable(file);
  await showGpu(await measureGpu(device, choice, line), files);
  console.log(`written: ${files.json}, ${files.html}`);
}

async function showGpu(bench: GpuBench, { json, html }: OutputFiles): Promise<void> {
  if (json !== undefined) await writeJson(json, bench);
  if (html !== undefined) {
    await writeWhole(html, await formatGpu(bench, await readCounts(PUBLISHED)));
  }
  console.log(`\n${formatAttentionTables(bench.attention)}\n\n${formatGpuSummary(bench)}`);
}

async function writeJson(
  path: string,
  figures: EncodeBench | OnnxBench | CountBench | GpuBench,
): Promise<void> {
  await writeWhole(path, `${JSON.stringify(figures, null, 1)}\n`);
}

/** Runs where the launcher's adapter is: on the browser's GPU, or on the software driver it brings. */
async function showOnnx(choice: OnnxChoice, { json }: OutputFiles): Promise<void> {
  const { report } = await requestAdapter();
  const bench = await measureOnnx(choice, report.kind !== "hardware");
  if (json !== undefined) await writeJson(json, bench);
  console.log(formatOnnx(bench));
}

if (import.meta.main) await runProgram(main);
