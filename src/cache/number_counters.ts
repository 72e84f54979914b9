/**
 * Counts numbers that binary16 could not hold. The `store` kernel counts them on the device; a host
 * reads them on demand.
 */
import { COPY_DST, MAP_READ, MODE_READ } from "../base/buffer_usage.ts";
import { CoupletError } from "../base/errors.ts";
import { messageOf, raise } from "../base/raise.ts";
import { COUNTER_BYTES } from "../plan/sizes.ts";

/** How many numbers of keys and values were changed when they were stored, over all layers. */
export interface NumberCounts {
  /**
   * Numbers beyond binary16's range, infinities included. They became 65504 or -65504.
   */
  readonly clamped: number;
  /** NaNs. They became 0. */
  readonly notNumbers: number;
}

/** The counters of one cache. */
export class NumberCounters {
  readonly #device: GPUDevice;
  readonly #buffer: GPUBuffer;
  readonly #onRise: ((fault: CoupletError) => void) | undefined;
  #counts: NumberCounts = { clamped: 0, notNumbers: 0 };

  /**
   * @param buffer Where kernels count. Each reading resets it to 0.
   * @param onRise Called after each reading that found something.
   */
  constructor(
    device: GPUDevice,
    buffer: GPUBuffer,
    onRise: ((fault: CoupletError) => void) | undefined,
  ) {
    this.#device = device;
    this.#buffer = buffer;
    this.#onRise = onRise;
  }

  /** The totals of the last reading. */
  get counts(): NumberCounts {
    return this.#counts;
  }

  /**
   * Reads the counts of everything submitted so far. It submits a copy before it returns its
   * promise.
   *
   * @throws {CoupletError} `lost` where the device is lost.
   */
  async read(): Promise<NumberCounts> {
    const label = "couplet counters";
    const usage = MAP_READ | COPY_DST;
    const staging = this.#device.createBuffer({ label, size: COUNTER_BYTES, usage });
    const encoder = this.#device.createCommandEncoder({ label });
    encoder.copyBufferToBuffer(this.#buffer, 0, staging, 0, COUNTER_BYTES);
    // Reset, so that 32 bits suffice between two readings.
    encoder.clearBuffer(this.#buffer);
    this.#device.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(MODE_READ);
    } catch (cause) {
      raise(
        "lost",
        "Cannot read the cache's counters",
        messageOf(cause),
        "Create the cache anew on a device that is alive",
        { cause },
      );
    }
    const words = new Uint32Array(staging.getMappedRange());
    this.#add({ clamped: words[0]!, notNumbers: words[1]! });
    staging.destroy();
    return this.#counts;
  }

  #add({ clamped, notNumbers }: NumberCounts): void {
    if (clamped + notNumbers === 0) return;
    this.#counts = {
      clamped: this.#counts.clamped + clamped,
      notNumbers: this.#counts.notNumbers + notNumbers,
    };
    this.#onRise?.(
      new CoupletError("numbers", {
        what: "Keys or values were not kept as they were given",
        why:
          `${clamped} numbers beyond the range of f16 were clamped to it, and ${notNumbers} NaNs became 0`,
        remedy: "Look for an overflow in the model, most of all where it computes in f16",
      }),
    );
  }
}
