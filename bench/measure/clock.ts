/** How long a compute pass takes. */
import { CoupletError } from "../../mod.ts";
import { median } from "../../examples/demo/metrics.ts";

/** Records dispatches into a pass. */
export type Work = (pass: GPUComputePassEncoder) => void;

/** Measures compute passes. */
export interface Clock {
  /** Timestamps of the device around the pass, or the host's clock around its submission. */
  readonly method: "timestamps" | "wall clock";
  /** Why timestamps are not used, where they are not. */
  readonly reason?: string;
  /** Submits one pass and waits for it. Milliseconds. */
  time(work: Work): Promise<number>;
}

/** The host's clock: from submission to the device's having finished, whatever the runtime's own waiting takes included. */
export function wallClock(device: GPUDevice, reason: string): Clock {
  return {
    method: "wall clock",
    reason,
    async time(work) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass();
      work(pass);
      pass.end();
      const commands = encoder.finish();
      await device.queue.onSubmittedWorkDone();
      const started = performance.now();
      device.queue.submit([commands]);
      await device.queue.onSubmittedWorkDone();
      return performance.now() - started;
    },
  };
}

/** The device's timestamps where a pass begins and ends: nothing of the host or of waiting is in them. */
export function timestampClock(device: GPUDevice): Clock {
  const queries = device.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = device.createBuffer({
    size: 16,
    usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC,
  });
  const staging = device.createBuffer({
    size: 16,
    usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
  });
  return {
    method: "timestamps",
    async time(work) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({
        timestampWrites: {
          querySet: queries,
          beginningOfPassWriteIndex: 0,
          endOfPassWriteIndex: 1,
        },
      });
      work(pass);
      pass.end();
      encoder.resolveQuerySet(queries, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(GPUMapMode.READ);
      const [begun, ended] = new BigUint64Array(staging.getMappedRange());
      staging.unmap();
      return Number(ended! - begun!) / 1e6;
    },
  };
}

/** Milliseconds of work for which the two clocks are compared: beside them, recording and waiting are little. */
const COMPARED_MS = 300;

/** By what the clocks may differ. */
const CLOCK_TOLERANCE = 0.2;

/**
 * The device's clock where it has one that agrees with the host's, else the host's. Some runtimes give timestamps in
 * ticks of the device's own, and some drivers write them before the work is done.
 *
 * @param work Something that takes time, to compare the clocks by.
 */
export async function chooseClock(device: GPUDevice, work: Work): Promise<Clock> {
  if (!device.features.has("timestamp-query")) {
    return wallClock(device, "the adapter has no timestamp queries");
  }
  const wall = wallClock(device, "");
  const own = timestampClock(device);
  const repeats = await repeatsFor(wall, work, COMPARED_MS);
  const ratios: number[] = [];
  for (let round = 0; round < 3; round++) {
    // Of the very same run, because a busy machine does not take as long for another.
    const started = performance.now();
    const timed = await own.time(repeat(work, repeats));
    ratios.push(timed / (performance.now() - started));
  }
  const ratio = median(ratios);
  if (Math.abs(ratio - 1) <= CLOCK_TOLERANCE) return own;
  return wallClock(device, `timestamps run at ${ratio.toPrecision(2)} of the host's clock`);
}

/** The same work several times over. */
export function repeat(work: Work, times: number): Work {
  return (pass) => {
    for (let i = 0; i < times; i++) work(pass);
  };
}

/** Most repetitions of one sample. */
const MOST_REPEATS = 4096;

/** Repetitions that take about `milliseconds`: found by growing, because the first run of a kernel is slow. */
export async function repeatsFor(
  clock: Clock,
  work: Work,
  milliseconds: number,
): Promise<number> {
  let repeats = 1;
  await clock.time(work);
  for (;;) {
    const taken = await clock.time(repeat(work, repeats));
    if (taken >= milliseconds / 2 || repeats === MOST_REPEATS) {
      if (!(taken > 0)) throw stoppedClock(clock);
      return Math.max(1, Math.min(MOST_REPEATS, Math.round(repeats * milliseconds / taken)));
    }
    const wanted = Math.ceil(repeats * milliseconds / Math.max(taken, 1e-3));
    repeats = Math.min(MOST_REPEATS, 8 * repeats, wanted);
  }
}

function stoppedClock({ method }: Clock): CoupletError {
  return new CoupletError("device", {
    what: "Cannot measure on this device",
    why: `by its ${method}, ${MOST_REPEATS} repetitions take no time`,
    remedy: "Update its driver, or choose another adapter with --adapter",
  });
}
