import { CoupletError } from "@couplet/kv";

/** Buffers that live and die together. */
export class Allocation {
  /** The device they are on. */
  readonly device: GPUDevice;
  readonly #buffers: GPUBuffer[] = [];

  constructor(device: GPUDevice) {
    this.device = device;
  }

  /**
   * A new buffer.
   *
   * @throws {CoupletError} `limits` where it is to be mapped and there is no memory for that.
   */
  create(descriptor: GPUBufferDescriptor): GPUBuffer {
    try {
      const buffer = this.device.createBuffer(descriptor);
      this.#buffers.push(buffer);
      return buffer;
    } catch (cause) {
      throw outOfMemory(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  /** Frees all of them. */
  destroy(): void {
    for (const buffer of this.#buffers.splice(0)) buffer.destroy();
  }
}

/** The error of a device that is full. */
export function outOfMemory(why: string, cause?: unknown): CoupletError {
  return new CoupletError("limits", {
    what: "The model does not fit the device",
    why,
    remedy: "Use a smaller model, fewer maxTokens, or storage f16",
  }, { cause });
}
