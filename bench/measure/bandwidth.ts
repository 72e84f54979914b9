/** The adapter's roofline: bytes a second that a kernel moves which does nothing but copy. */
import { chooseClock, type Clock, type Work } from "./clock.ts";
import { measureRounds } from "./rounds.ts";

const WORKGROUP_SIZE = 256;

/** Workgroups in one dimension, at WebGPU's default limit; each invocation copies every so many vectors. */
const WORKGROUPS = 16384;

/** Bytes read, and as many written, by one copy: more than caches hold. */
const COPY_BYTES = 128 * 1024 * 1024;

/** A copy of {@linkcode COPY_BYTES} in vectors of 16 bytes. */
export interface CopyProbe {
  readonly work: Work;
  /** Read and written by one repetition. */
  readonly bytes: number;
  destroy(): void;
}

/** A copy between two buffers, as large as the device binds and at most {@linkcode COPY_BYTES}. */
export function createCopyProbe(device: GPUDevice): CopyProbe {
  const size = Math.min(COPY_BYTES, device.limits.maxStorageBufferBindingSize);
  const pipeline = device.createComputePipeline({
    layout: "auto",
    compute: {
      module: device.createShaderModule({
        code: `
@group(0) @binding(0) var<storage, read> source: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> target_words: array<vec4<u32>>;

@compute @workgroup_size(${WORKGROUP_SIZE})
fn main(
  @builtin(global_invocation_id) id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let count = arrayLength(&source);
  for (var i = id.x; i < count; i += groups.x * ${WORKGROUP_SIZE}u) {
    target_words[i] = source[i];
  }
}`,
      }),
    },
  });
  const [from, to] = [0, 1].map(() =>
    device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST })
  );
  // Untouched pages may all be one page of zeros.
  const words = Uint32Array.from({ length: 2 ** 18 }, (_, i) => Math.imul(i, 0x9e3779b1));
  for (let at = 0; at < size; at += words.byteLength) {
    device.queue.writeBuffer(from!, at, words, 0, Math.min(words.length, (size - at) / 4));
  }
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: [from!, to!].map((buffer, binding) => ({ binding, resource: { buffer } })),
  });
  return {
    bytes: 2 * size,
    work(pass) {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(Math.min(WORKGROUPS, size / 16 / WORKGROUP_SIZE));
    },
    destroy() {
      from!.destroy();
      to!.destroy();
    },
  };
}

/** The clock to measure with, and what the copy kernel reaches by it. */
export interface Roofline {
  readonly clock: Clock;
  /** Bytes a second, read and written together, by round. */
  readonly samples: readonly number[];
}

/** Chooses the clock and measures the copy kernel. */
export async function measureRoofline(device: GPUDevice, seconds: number): Promise<Roofline> {
  const probe = createCopyProbe(device);
  try {
    const clock = await chooseClock(device, probe.work);
    const [copy] = await measureRounds([probe.work], { clock, seconds });
    return { clock, samples: copy!.samples.map((time) => probe.bytes / (time / 1000)) };
  } finally {
    probe.destroy();
  }
}
