/** Checks of the bindings a host hands over. */
import type { TensorStrides } from "./cache_options.ts";
import { CoupletError } from "./errors.ts";

/** A tensor of the host, and what it must hold. */
export interface HostTensor {
  /** Its name, for people. */
  readonly name: string;
  /** Where it lies. */
  readonly binding: GPUBufferBinding;
  /** Bytes that a kernel may touch, from the binding's start. */
  readonly bytes: number;
}

/** Offsets of storage bindings are multiples of this on every device. */
const OFFSET_ALIGNMENT = 256;

const STORAGE = 0x80;

/** Bytes from a tensor's first element to behind its last. */
export function tensorBytes(
  tokens: number,
  heads: number,
  headDim: number,
  strides: TensorStrides,
  dtype: "f32" | "f16",
): number {
  const elements = (tokens - 1) * strides.token + (heads - 1) * strides.head + headDim;
  return elements * (dtype === "f16" ? 2 : 4);
}

/**
 * Checks that a binding can be bound and covers its tensor.
 *
 * @param own Buffers of the cache, which no tensor may lie in.
 * @throws {CoupletError} `usage` for a buffer that cannot be bound so, `shape` for one that is too small.
 */
export function checkBinding(
  { name, binding, bytes }: HostTensor,
  own: ReadonlySet<GPUBuffer>,
): void {
  const buffer = binding.buffer as GPUBuffer;
  const offset = binding.offset ?? 0;
  const size = binding.size ?? buffer.size - offset;
  if ((buffer.usage & STORAGE) === 0) {
    throw refusal(name, "its buffer was not created for storage", "Create it with usage STORAGE");
  }
  if (own.has(buffer)) {
    throw refusal(name, "its buffer is the cache's own", "Use a buffer of the host");
  }
  if (offset % OFFSET_ALIGNMENT !== 0) {
    throw refusal(
      name,
      `its offset is ${offset} bytes`,
      `Use an offset that is a multiple of ${OFFSET_ALIGNMENT}`,
    );
  }
  if (size < bytes || offset + size > buffer.size) {
    throw new CoupletError("shape", {
      what: `Cannot use the binding of the ${name}`,
      why: `it covers ${
        Math.min(size, buffer.size - offset)
      } bytes of its buffer and the step needs ${bytes}`,
      remedy: "Bind the whole tensor, in the plan's element type and strides",
    });
  }
}

/**
 * Checks that what is written does not lie on what is read.
 *
 * @throws {CoupletError} `usage` where the two overlap.
 */
export function checkApart(written: HostTensor, read: HostTensor): void {
  if (written.binding.buffer !== read.binding.buffer) return;
  const from = written.binding.offset ?? 0;
  const start = read.binding.offset ?? 0;
  if (from >= start + read.bytes || start >= from + written.bytes) return;
  throw refusal(
    written.name,
    `it overlaps the ${read.name}, which a later pass of the same step may read again`,
    "Use separate ranges",
  );
}

function refusal(name: string, why: string, remedy: string): CoupletError {
  return new CoupletError("usage", { what: `Cannot use the binding of the ${name}`, why, remedy });
}
