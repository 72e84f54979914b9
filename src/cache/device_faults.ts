/**
 * Faults of a cache's device: its loss, which makes every later call throw, and lack of memory.
 */
import type { CacheInit } from "./cache.ts";
import { CoupletError } from "../base/errors.ts";

/** Listens for what goes wrong on the device of one cache. */
export class DeviceFaults {
  readonly #device: GPUDevice;
  readonly #onFault: CacheInit["onFault"];
  #lost: CoupletError | undefined;
  #isIgnored = false;

  constructor(device: GPUDevice, onFault: CacheInit["onFault"]) {
    this.#device = device;
    this.#onFault = onFault;
    device.lost.then(({ message, reason }) => {
      this.#lost = new CoupletError("lost", {
        what: "Cannot use the cache",
        why: `its device was lost: ${message || reason}`,
        remedy: "Create another on a new device, and restore its sequences from snapshots",
      });
      if (!this.#isIgnored) onFault?.(this.#lost);
    });
    if (onFault !== undefined) device.addEventListener("uncapturederror", this.#onUncaptured);
  }

  /** @throws {CoupletError} `lost` where the device is lost. */
  check(): void {
    if (this.#lost !== undefined) throw this.#lost;
  }

  /** Stops reporting. */
  ignore(): void {
    this.#isIgnored = true;
    this.#device.removeEventListener("uncapturederror", this.#onUncaptured);
  }

  readonly #onUncaptured = (event: unknown): void => {
    const { error } = event as GPUUncapturedErrorEvent;
    // By name, because not every runtime has the class as a global.
    if (error.constructor.name !== "GPUOutOfMemoryError") return;
    this.#onFault?.(
      new CoupletError("memory", {
        what: "The device ran out of memory",
        why: error.message || "an allocation failed",
        remedy: "Free what is not needed; what was recorded since may be missing",
      }),
    );
  };
}
