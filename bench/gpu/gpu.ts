/** The gpu suite: everything worth knowing of an adapter, in a given time. */
import type { KeySpace } from "../../mod.ts";
import { Progress } from "../../cli/progress.ts";
import type { SchemePair } from "../../examples/demo/scheme_pairs.ts";
import { measureAttention } from "../attention/attention.ts";
import { measureRoofline } from "../measure/bandwidth.ts";
import type { BenchModel } from "../measure/models.ts";
import { compareKernels } from "./oracle.ts";
import { measureProbes } from "./probes.ts";
import type { GpuBench } from "./results.ts";

/** What to measure. */
export interface GpuChoice {
  readonly model: BenchModel;
  readonly contexts: readonly number[];
  readonly schemes: readonly SchemePair[];
  readonly spaces: readonly KeySpace[];
  /** Minutes that the whole suite may take. */
  readonly minutes: number;
  /** GiB that the caches which take turns may allocate together. */
  readonly memory: number;
}

/** Shares of the time: of the probes, of comparing kernels, of measuring at each context beside tuning and compiling. */
const PROBING = 0.03;
const COMPARING = 0.3;
const MEASURING = 0.25;

/** Measures an adapter: what it can do, then whether its kernels are right, then how fast they attend. */
export async function measureGpu(
  device: GPUDevice,
  { model, minutes, ...choice }: GpuChoice,
  command: string,
): Promise<GpuBench> {
  const begun = performance.now();
  const time = 60_000 * minutes;
  const progress = new Progress(4);
  const probing = progress.stage("gathers and multiply-adds");
  const { clock } = await measureRoofline(device, PROBING * time / 2000);
  const probes = await measureProbes(device, clock, PROBING * time / 2000);
  probing.done();
  const comparing = progress.stage("kernels beside float64");
  const until = performance.now() + COMPARING * time;
  const oracle = await compareKernels(
    device,
    model.headDim,
    choice.schemes.flatMap(({ keys, values }) => [keys, values]),
    until,
    (share) => comparing.update(share, Math.max(0, until - performance.now()) / 1000),
  );
  comparing.done();
  const left = time - (performance.now() - begun);
  const attention = await measureAttention(
    device,
    {
      ...choice,
      models: [model],
      batches: [1],
      seconds: MEASURING * left / 1000 / choice.contexts.length,
      tune: true,
      profile: device.features.has("timestamp-query"),
      until: begun + time,
    },
    command,
    progress,
  );
  return {
    format: "couplet-bench-gpu",
    version: 1,
    attention,
    probes: probes.map(({ what, samples }) => ({ what, samples: [...samples] })),
    oracle,
  };
}
