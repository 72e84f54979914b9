/** One command encoder: passes are opened and closed as dispatches and copies alternate. */
export class Recorder {
  readonly #encoder: GPUCommandEncoder;
  #pass: GPUComputePassEncoder | undefined;

  constructor(device: GPUDevice, label: string) {
    this.#encoder = device.createCommandEncoder({ label });
  }

  /** The open pass, to record dispatches in. */
  get pass(): GPUComputePassEncoder {
    this.#pass ??= this.#encoder.beginComputePass();
    return this.#pass;
  }

  /** The encoder with no pass open, to record copies in. */
  get encoder(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    return this.#encoder;
  }

  /** The commands, ready to be submitted. */
  finish(): GPUCommandBuffer {
    return this.encoder.finish();
  }
}
