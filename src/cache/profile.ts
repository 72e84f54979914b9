/** Time on the GPU by kernel, from timestamp queries. */
import { COPY_DST, COPY_SRC, MAP_READ, MODE_READ, QUERY_RESOLVE } from "../base/buffer_usage.ts";
import { checkOptions, DEVICE } from "../base/check_options.ts";
import { CoupletError } from "../base/errors.ts";
import { messageOf } from "../base/raise.ts";
import { type KernelFamily, parseKernelName } from "../kernels/name.ts";

/** Time one kernel took. */
export interface KernelTime {
  /** The kernel. */
  readonly kernel: string;
  /** Its family. */
  readonly family: KernelFamily;
  /** How often it was dispatched. */
  readonly dispatches: number;
  /** Nanoseconds on the GPU, all dispatches together. */
  readonly nanoseconds: number;
}

/** What a profile has measured since it was created or last read. */
export interface ProfileReport {
  /** Kernels by time, longest first. */
  readonly kernels: readonly KernelTime[];
  /** Dispatches that were not measured because the queries were full. */
  readonly missed: number;
}

/**
 * Measures a cache's dispatches. Give it to `createCache()`. Every dispatch then gets its own pass,
 * so the sum exceeds the time without a profile.
 *
 * @example Which kernels take the time
 * ```ts ignore
 * const profile = createProfile(device);
 * const cache = await createCache({ device, plan, codebooks, profile });
 * // ... record steps, submit ...
 * for (const { kernel, nanoseconds } of (await profile.read()).kernels) console.log(kernel, nanoseconds);
 * ```
 *
 * @throws {CoupletError} `limits` where the device was requested without the feature
 * `timestamp-query` ({@linkcode requiredFeatures}).
 */
export function createProfile(device: GPUDevice): Profile {
  checkOptions("usage", "Cannot create a profile", { device: DEVICE }, { device });
  if (!device.features.has("timestamp-query")) {
    throw new CoupletError("limits", {
      what: "Cannot create a profile",
      why: "the device has no timestamp queries",
      remedy: 'Request it with requiredFeatures({ profile: true }), that is "timestamp-query"',
    });
  }
  return new Profile(device);
}

/** Timestamps of a cache's dispatches; see {@linkcode createProfile}. */
export class Profile {
  /** Most dispatches measured between two reads: WebGPU allows 4096 queries, two for each. */
  static readonly CAPACITY = 2048;
  readonly #device: GPUDevice;
  readonly #queries: GPUQuerySet;
  #kernels: string[] = [];
  #missed = 0;

  /** Use {@linkcode createProfile}. */
  constructor(device: GPUDevice) {
    this.#device = device;
    this.#queries = device.createQuerySet({ type: "timestamp", count: 2 * Profile.CAPACITY });
  }

  /** A pass for one dispatch of a kernel; called by the cache. */
  beginPass(encoder: GPUCommandEncoder, kernel: string): GPUComputePassEncoder {
    const index = this.#kernels.length;
    if (index === Profile.CAPACITY) {
      this.#missed++;
      return encoder.beginComputePass({ label: kernel });
    }
    this.#kernels.push(kernel);
    return encoder.beginComputePass({
      label: kernel,
      timestampWrites: {
        querySet: this.#queries,
        beginningOfPassWriteIndex: 2 * index,
        endOfPassWriteIndex: 2 * index + 1,
      },
    });
  }

  /**
   * Returns the measurements and resets them. It submits to the device and waits for it. Submit the
   * steps to be measured first.
   *
   * @throws {CoupletError} `lost` where the device is lost.
   */
  async read(): Promise<ProfileReport> {
    const kernels = this.#kernels;
    const missed = this.#missed;
    this.#kernels = [];
    this.#missed = 0;
    if (kernels.length === 0) return { kernels: [], missed };
    const size = kernels.length * 16;
    const resolved = this.#device.createBuffer({ size, usage: QUERY_RESOLVE | COPY_SRC });
    const staging = this.#device.createBuffer({ size, usage: MAP_READ | COPY_DST });
    const encoder = this.#device.createCommandEncoder({ label: "couplet profile" });
    encoder.resolveQuerySet(this.#queries, 0, 2 * kernels.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(MODE_READ);
      return { kernels: sumUp(kernels, new BigUint64Array(staging.getMappedRange())), missed };
    } catch (cause) {
      throw new CoupletError("lost", {
        what: "Cannot read the profile",
        why: messageOf(cause),
        remedy: "Create the cache and its profile anew, on a new device",
      }, { cause });
    } finally {
      resolved.destroy();
      staging.destroy();
    }
  }

  /** Destroys the queries. */
  destroy(): void {
    this.#queries.destroy();
  }
}

/** Adds up pairs of timestamps by kernel. */
export function sumUp(
  kernels: readonly string[],
  timestamps: ArrayLike<bigint>,
): readonly KernelTime[] {
  const sums = new Map<string, { dispatches: number; nanoseconds: number }>();
  kernels.forEach((kernel, i) => {
    const sum = sums.get(kernel) ?? { dispatches: 0, nanoseconds: 0 };
    sum.dispatches++;
    // A device may reset its clock. Such a pair is skipped.
    sum.nanoseconds += Math.max(0, Number(timestamps[2 * i + 1]! - timestamps[2 * i]!));
    sums.set(kernel, sum);
  });
  return [...sums]
    .map(([kernel, sum]) => ({ kernel, family: parseKernelName(kernel).family, ...sum }))
    .sort((a, b) => b.nanoseconds - a.nanoseconds);
}
