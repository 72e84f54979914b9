import { CoupletError } from "@couplet/kv";

interface PendingRead {
  readonly staging: GPUBuffer;
  readonly deliver: (bytes: ArrayBuffer) => void;
}

/** Copies of device buffers that are read once the commands they were recorded with have run. */
export class ReadBack {
  readonly #device: GPUDevice;
  readonly #pending: PendingRead[] = [];

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  /** Records a copy of `bytes` bytes from the start of `buffer`; `deliver` gets them later. */
  copy(
    encoder: GPUCommandEncoder,
    buffer: GPUBuffer,
    bytes: number,
    deliver: (bytes: ArrayBuffer) => void,
  ): void {
    const staging = this.#device.createBuffer({
      label: "read back",
      size: bytes,
      usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
    });
    encoder.copyBufferToBuffer(buffer, 0, staging, 0, bytes);
    this.#pending.push({ staging, deliver });
  }

  /**
   * Delivers every copy, after the commands were submitted.
   *
   * @throws {CoupletError} `device` where the device was lost meanwhile.
   */
  async finish(): Promise<void> {
    try {
      await Promise.all(this.#pending.map(({ staging }) => staging.mapAsync(GPUMapMode.READ)));
    } catch (cause) {
      throw new CoupletError("device", {
        what: "Results could not be read from the device",
        why: cause instanceof Error ? cause.message : String(cause),
        remedy: "The device may be lost: create another, and the engine on it",
      }, { cause });
    }
    for (const { staging, deliver } of this.#pending.splice(0)) {
      deliver(staging.getMappedRange());
      staging.destroy();
    }
  }
}
