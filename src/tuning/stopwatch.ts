/** Times work on a device: by timestamps if it has them, else by the host's clock. */
import { COPY_DST, COPY_SRC, MAP_READ, MODE_READ, QUERY_RESOLVE } from "../base/buffer_usage.ts";
import { CoupletError } from "../base/errors.ts";
import { messageOf } from "../base/raise.ts";

/** A clock for submissions of one compute pass each. */
export interface Stopwatch {
  /** The clock it reads. */
  readonly clock: "timestamps" | "wall clock";
  /**
   * Least milliseconds of a timed submission: browsers round timestamps to 0.1 ms, and a runtime
   * may notice the end of a submission only every 10 ms or so.
   */
  readonly least: number;
  /**
   * Submits one compute pass and waits for it.
   *
   * @returns Milliseconds it took.
   * @throws {CoupletError} `lost` where the device is lost.
   */
  time(record: (pass: GPUComputePassEncoder) => void): Promise<number>;
  /** Destroys what the stopwatch allocated. */
  destroy(): void;
}

/** Bytes of the two timestamps of a pass. */
const STAMP_BYTES = 16;

/** Creates the most precise stopwatch that a device has. */
export function createStopwatch(device: GPUDevice): Stopwatch {
  return device.features.has("timestamp-query") ? timestamps(device) : wallClock(device);
}

function timestamps(device: GPUDevice): Stopwatch {
  const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = device.createBuffer({ size: STAMP_BYTES, usage: QUERY_RESOLVE | COPY_SRC });
  const staging = device.createBuffer({ size: STAMP_BYTES, usage: MAP_READ | COPY_DST });
  return {
    clock: "timestamps",
    least: 5,
    async time(record) {
      const encoder = device.createCommandEncoder({ label: "couplet tune" });
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
      });
      record(pass);
      pass.end();
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, STAMP_BYTES);
      device.queue.submit([encoder.finish()]);
      await staging.mapAsync(MODE_READ).catch(lost);
      const [begin, end] = new BigUint64Array(staging.getMappedRange());
      const nanoseconds = Number(end! - begin!);
      staging.unmap();
      return nanoseconds / 1e6;
    },
    destroy() {
      querySet.destroy();
      resolved.destroy();
      staging.destroy();
    },
  };
}

function wallClock(device: GPUDevice): Stopwatch {
  return {
    clock: "wall clock",
    least: 100,
    async time(record) {
      const encoder = device.createCommandEncoder({ label: "couplet tune" });
      const pass = encoder.beginComputePass();
      record(pass);
      pass.end();
      const commands = encoder.finish();
      const begin = performance.now();
      device.queue.submit([commands]);
      await device.queue.onSubmittedWorkDone().catch(lost);
      return performance.now() - begin;
    },
    destroy() {},
  };
}

function lost(cause: unknown): never {
  throw new CoupletError("lost", {
    what: "Cannot measure on the device",
    why: messageOf(cause),
    remedy: "Tune again on a new device",
  }, { cause });
}
