/** Where the parameters of recorded commands lie. */
import { STEP_BYTES } from "../plan/sizes.ts";
import { uniformBuffer } from "./layer_buffers.ts";

/** Offsets of uniform bindings are multiples of this on every device. */
const OFFSET_ALIGNMENT = 256;

/** A place in a buffer of parameters. */
export interface ParameterPlace {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}

/**
 * Places for the parameters of commands. Commands read them when they run, which may be long after
 * they were recorded, so no place is used twice. A full buffer is followed by another, and lives as
 * long as commands refer to it.
 */
export class StepPlaces {
  readonly #device: GPUDevice;
  #buffer: GPUBuffer;
  #next = 0;

  /** @param buffer The first buffer; later ones are as large. */
  constructor(device: GPUDevice, buffer: GPUBuffer) {
    this.#device = device;
    this.#buffer = buffer;
  }

  /** The buffer in use. */
  get buffer(): GPUBuffer {
    return this.#buffer;
  }

  /** Writes parameters into a place of their own. */
  write(words: Uint32Array<ArrayBuffer>): ParameterPlace {
    // Kernels bind the whole struct, also where few entries are used.
    if (this.#next + STEP_BYTES > this.#buffer.size) {
      this.#buffer = uniformBuffer(this.#device, this.#buffer.label, this.#buffer.size);
      this.#next = 0;
    }
    const place = { buffer: this.#buffer, offset: this.#next };
    this.#device.queue.writeBuffer(place.buffer, place.offset, words);
    this.#next += Math.ceil(words.byteLength / OFFSET_ALIGNMENT) * OFFSET_ALIGNMENT;
    return place;
  }
}
