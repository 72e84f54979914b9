/** Buffers of a calibration: allocation with its failures reported, and reading back. */
import { CoupletError } from "../base/errors.ts";

/**
 * Storage buffers of the given sizes in bytes.
 *
 * @throws {CoupletError} `limits` where one exceeds the device's limits or its memory.
 */
export async function allocateBuffers<Name extends string>(
  device: GPUDevice,
  sizes: Readonly<Record<Name, number>>,
): Promise<Record<Name, GPUBuffer>> {
  const most = largestBuffer(device);
  for (const [name, size] of Object.entries<number>(sizes)) {
    if (size > most) {
      throw tooLarge(`its ${name} take ${size} bytes and the device binds ${most} at once`);
    }
  }
  device.pushErrorScope("out-of-memory");
  const buffers = Object.entries<number>(sizes).map(([label, size]) =>
    [
      label,
      device.createBuffer({
        label,
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST |
          GPUBufferUsage.COPY_SRC,
      }),
    ] as const
  );
  const error = await device.popErrorScope().catch((cause: unknown) => {
    throw deviceFailure(cause);
  });
  if (error !== null) {
    for (const [, buffer] of buffers) buffer.destroy();
    throw tooLarge(`the device has no memory for it (${error.message})`);
  }
  return Object.fromEntries(buffers) as Record<Name, GPUBuffer>;
}

/** Bytes of the largest storage buffer that can be bound. */
export function largestBuffer({ limits }: GPUDevice): number {
  return Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

/**
 * The first `size` bytes of a buffer.
 *
 * @throws {CoupletError} `device` where they cannot be read, such as after the device was lost.
 */
export async function readBuffer(
  device: GPUDevice,
  source: GPUBuffer,
  size: number,
  offset = 0,
): Promise<ArrayBuffer> {
  const target = device.createBuffer({
    size,
    usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ,
  });
  try {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(source, offset, target, 0, size);
    device.queue.submit([encoder.finish()]);
    await target.mapAsync(GPUMapMode.READ);
    return target.getMappedRange().slice(0);
  } catch (cause) {
    throw deviceFailure(cause);
  } finally {
    target.destroy();
  }
}

function tooLarge(why: string): CoupletError {
  return new CoupletError("limits", {
    what: "Cannot calibrate on the device",
    why,
    remedy: "Give fewer samples, ask the device for higher limits, or calibrate without one",
  });
}

/** The error of a call that the device did not answer. */
export function deviceFailure(cause: unknown): CoupletError {
  return new CoupletError("device", {
    what: "Cannot calibrate on the device",
    why: `it failed: ${cause}`,
    remedy: "Ask for a new device, or calibrate without one",
  }, { cause });
}
