/**
 * Counts numbers that binary16 could not hold, keys that codes could not, and tiles that were
 * skipped. Kernels count them on the device; a host reads them on demand.
 */
import { COPY_DST, MAP_READ, MODE_READ } from "../base/buffer_usage.ts";
import { CoupletError } from "../base/errors.ts";
import { messageOf, raise } from "../base/raise.ts";
import { COUNTER_BYTES } from "../plan/sizes.ts";

/** What the device counted, over all layers. */
export interface NumberCounts {
  /**
   * Numbers beyond binary16's range, infinities included. They became 65504 or -65504.
   */
  readonly clamped: number;
  /** NaNs. They became 0. */
  readonly notNumbers: number;
  /**
   * Blocks of keys as they are scored in which constants of the model, such as a bias, take more
   * than fifteen sixteenths of what `u8b8` or `u4b8` codes, for a KV head. These schemes remove
   * constants from a few channels only; little of such keys is left.
   */
  readonly drownedBlocks: number;
  /**
   * Tiles of codes whose values were not mixed (the option `skip`): for each KV head and four query
   * rows. A counter has 32 bits: enough for 65,000 decoded tokens of Llama-3.1-8B at 131,072 tokens.
   */
  readonly skippedTiles: number;
  /** Tiles of codes that were scored while some might be skipped; else 0. */
  readonly consideredTiles: number;
}

/** Nothing was found. */
const NO_COUNTS: NumberCounts = {
  clamped: 0,
  notNumbers: 0,
  drownedBlocks: 0,
  skippedTiles: 0,
  consideredTiles: 0,
};

/** The counters of one cache. */
export class NumberCounters {
  readonly #device: GPUDevice;
  readonly #buffer: GPUBuffer;
  readonly #onRise: ((fault: CoupletError) => void) | undefined;
  #counts = NO_COUNTS;

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
    this.#add([...words]);
    staging.destroy();
    return this.#counts;
  }

  #add(words: readonly number[]): void {
    const [clamped, notNumbers, drownedBlocks] = words as [number, number, number];
    this.#counts = Object.fromEntries(
      Object.entries(this.#counts).map(([name, count], i) => [name, count + words[i]!]),
    ) as unknown as NumberCounts;
    if (clamped + notNumbers > 0) {
      this.#onRise?.(
        new CoupletError("numbers", {
          what: "Keys or values were not kept as they were given",
          why:
            `${clamped} numbers beyond the range of f16 were clamped to it, and ${notNumbers} NaNs became 0`,
          remedy: "Look for an overflow in the model, most of all where it computes in f16",
        }),
      );
    }
    if (drownedBlocks > 0) {
      this.#onRise?.(
        new CoupletError("numbers", {
          what: "Codes hold little of the keys",
          why:
            `the model adds constants, such as a bias, to more channels than its scheme can remove from keys as they are scored: ${drownedBlocks} blocks of keys drown in them`,
          remedy:
            'Plan with keys before their rotary embedding (space: "pre-rope"), or with a learned scheme for keys',
        }),
      );
    }
  }
}
