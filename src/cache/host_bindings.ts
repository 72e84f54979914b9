/** Checks of the bindings a host hands over. */
import { STORAGE } from "../base/buffer_usage.ts";
import { type HostStrides, type ResolvedLayer, tensorHeads } from "../plan/options.ts";
import { describeValue } from "../base/describe_value.ts";
import { raise } from "../base/raise.ts";

/** A tensor of the host, and what it must hold. */
export interface HostTensor {
  /** Its name, for people. */
  readonly name: string;
  /** Where it lies. */
  readonly binding: GPUBufferBinding;
  /** Bytes that a kernel may touch, from the binding's start. */
  readonly bytes: number;
}

/** A binding as it is bound. */
export type BoundTensor = HostTensor & { readonly binding: Required<GPUBufferBinding> };

/** Offsets of storage bindings are multiples of this on every device. */
const OFFSET_ALIGNMENT = 256;

/** Bytes from the first element of one of a layer's tensors to behind its last. */
export function tensorBytes(
  layer: ResolvedLayer,
  name: keyof HostStrides,
  tokens: number,
  dtype: "f32" | "f16",
): number {
  const [heads, channels] = tensorHeads(layer, name);
  const { token, head } = layer.strides[name];
  const elements = (tokens - 1) * token + (heads - 1) * head + channels;
  return elements * (dtype === "f16" ? 2 : 4);
}

/**
 * A tensor with the binding for WebGPU: what the host binds, cut to the largest binding. It does
 * not depend on the step's tokens, so that a bind group serves many steps.
 *
 * @param own Buffers of the cache. No tensor may lie in them.
 * @param most Largest binding of the device in bytes. Defaults to no limit.
 * @throws {CoupletError} `usage` for a buffer that cannot be bound like this, `shape` for one that
 * is too small, `limits` where the device cannot bind the tensor.
 */
export function checkBinding(
  { name, binding, bytes }: HostTensor,
  own: ReadonlySet<GPUBuffer>,
  most = Infinity,
): BoundTensor {
  const { buffer, offset = 0, size: given } = Object(binding) as GPUBufferBinding;
  const { usage, size: all } = Object(buffer) as GPUBuffer;
  if (typeof usage !== "number") {
    refusal(
      name,
      `its buffer is ${describeValue(buffer)}`,
      "Pass { buffer } with a GPUBuffer",
    );
  }
  if ((usage & STORAGE) === 0) {
    refusal(name, "its buffer was not created for storage", "Create it with usage STORAGE");
  }
  if (own.has(buffer as GPUBuffer)) {
    refusal(name, "its buffer is the cache's own", "Use a buffer of the host");
  }
  if (!(Number.isInteger(offset) && offset >= 0 && offset % OFFSET_ALIGNMENT === 0)) {
    refusal(
      name,
      `its offset is ${describeValue(offset)} bytes`,
      `Use an offset that is a multiple of ${OFFSET_ALIGNMENT}`,
    );
  }
  const size = given ?? all - offset;
  if (!(Number.isFinite(size) && size >= bytes && offset + size <= all)) {
    raise(
      "shape",
      what(name),
      `it has ${
        describeValue(size)
      } bytes from byte ${offset} on, of a buffer of ${all}, and the step needs ${bytes}`,
      "Bind the whole tensor, in the plan's dtype and strides",
    );
  }
  if (bytes > most) {
    raise(
      "limits",
      what(name),
      `the step needs ${bytes} bytes and the device binds at most ${most}`,
      "Use smaller steps (capacity.stepTokens)",
    );
  }
  // Bindings are whole words, as tensors are.
  const bound = Math.min(size, most);
  return { name, bytes, binding: { buffer: buffer as GPUBuffer, offset, size: bound - bound % 4 } };
}

/**
 * Checks that a tensor that is written does not overlap one that is read.
 *
 * @throws {CoupletError} `usage` where the two overlap.
 */
export function checkApart(written: HostTensor, read: HostTensor): void {
  if (written.binding.buffer !== read.binding.buffer) return;
  const from = written.binding.offset ?? 0;
  const start = read.binding.offset ?? 0;
  if (from >= start + read.bytes || start >= from + written.bytes) return;
  refusal(
    written.name,
    `it overlaps the ${read.name}`,
    "Use separate ranges",
  );
}

function what(name: string): string {
  return `Cannot use the binding of the ${name}`;
}

function refusal(name: string, why: string, remedy: string): never {
  raise("usage", what(name), why, remedy);
}
