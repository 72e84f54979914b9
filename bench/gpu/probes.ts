/** What an adapter can do besides copying: multiply and add, and load from places that data names. */
import type { Clock, Work } from "../measure/clock.ts";
import { measureRounds } from "../measure/rounds.ts";

/** What one probe found. */
export interface ProbeResult {
  readonly what: ProbeName;
  /** Operations a second, all lanes together, by round. */
  readonly samples: readonly number[];
}

/** Bytes of a gathered entry: a centroid of `c4b8`, one of `c8b8`, an entry of a table of q.centroid in f32. */
const WIDTHS = [4, 8, 16] as const;
const PLACES = ["storage", "workgroup"] as const;

/** The probes: gathers by where from and how wide, and multiply-adds in f32. */
export const PROBES = [
  "multiply-adds",
  ...PLACES.flatMap((place) =>
    WIDTHS.map((width) => `gathers of ${width} bytes from ${place}` as const)
  ),
] as const;

/** The name of a probe. */
export type ProbeName = typeof PROBES[number];

const WORKGROUP = 64;
const WORKGROUPS = 1024;
/** Multiply-adds or gathers of a lane in a round, and rounds of a dispatch, at most. */
const OPERATIONS = 256;
const MOST_ROUNDS = 1024;

/** Milliseconds of a dispatch, beside which its start is nothing. */
const DISPATCH_MS = 1;

/** Bytes of what is gathered from: a head's centroids of one side of `c8b8`, and as much of workgroup memory as all have. */
const TABLE_BYTES = { storage: 32768, workgroup: 16384 } as const;

/** All probes': fast adapters get more rounds. */
const BINDINGS = `@group(0) @binding(0) var<storage, read_write> found: array<u32>;
@group(0) @binding(1) var<uniform> rounds: u32;`;

/** Eight sums, so that none waits for the one before. */
function multiplyAdds(): string {
  return `${BINDINGS}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let factor = 1.0 - f32(id.x) * 1.0e-9;
  var first = vec4<f32>(f32(id.x));
  var second = vec4<f32>(factor);
  for (var i = 0u; i < rounds * ${OPERATIONS / 8}u; i += 1u) {
    first = fma(first, vec4<f32>(factor), vec4<f32>(0.5));
    second = fma(second, vec4<f32>(factor), vec4<f32>(0.25));
  }
  found[id.x] = bitcast<u32>(dot(first, second));
}`;
}

/** Four loads at a time, whose places are known before; the next four depend on none of them. */
function gathers(place: typeof PLACES[number], bytes: typeof WIDTHS[number]): string {
  const type = { 4: "u32", 8: "vec2<u32>", 16: "vec4<u32>" }[bytes];
  const entries = TABLE_BYTES[place] / bytes;
  const source = "@group(0) @binding(2) var<storage, read> source: ";
  const from = place === "storage"
    ? `${source}array<${type}>;`
    : `${source}array<${type}>; var<workgroup> staged: array<${type}, ${entries}>;`;
  const fill = place === "storage"
    ? ""
    : `for (var i = lane; i < ${entries}u; i += ${WORKGROUP}u) { staged[i] = source[i]; } workgroupBarrier();`;
  const table = place === "storage" ? "source" : "staged";
  return `${BINDINGS}
${from}
@compute @workgroup_size(${WORKGROUP})
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  ${fill}
  var state = id.x * 2654435761u + 1u;
  var sum = ${type}();
  for (var i = 0u; i < rounds * ${OPERATIONS / 4}u; i += 1u) {
    state = state * 1664525u + 1013904223u;
    sum ^= ${table}[(state >> 8u) & ${entries - 1}u] ^ ${table}[(state >> 12u) & ${entries - 1}u];
    sum ^= ${table}[(state >> 16u) & ${entries - 1}u] ^ ${table}[(state >> 19u) & ${entries - 1}u];
  }
  found[id.x] = ${bytes === 4 ? "sum" : "sum.x ^ sum.y"};
}`;
}

function sourceOf(name: ProbeName): string {
  const [, width, place] = /^gathers of (\d+) bytes from (\w+)$/.exec(name) ?? [];
  return place === undefined
    ? multiplyAdds()
    : gathers(place as typeof PLACES[number], Number(width) as typeof WIDTHS[number]);
}

/** Measures all probes, which take turns. */
export async function measureProbes(
  device: GPUDevice,
  clock: Clock,
  seconds: number,
): Promise<readonly ProbeResult[]> {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
  const found = device.createBuffer({ size: 4 * WORKGROUP * WORKGROUPS, usage });
  const table = device.createBuffer({ size: TABLE_BYTES.storage, usage });
  const words = Uint32Array.from({ length: table.size / 4 }, (_, i) => Math.imul(i, 0x9e3779b1));
  device.queue.writeBuffer(table, 0, words);
  const probes = PROBES.map((name) => {
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code: sourceOf(name) }) },
    });
    const rounds = device.createBuffer({
      size: 4,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    const buffers = name === "multiply-adds" ? [found, rounds] : [found, rounds, table];
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: buffers.map((buffer, binding) => ({ binding, resource: { buffer } })),
    });
    const work: Work = (pass) => {
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(WORKGROUPS);
    };
    return { name, work, rounds };
  });
  const setRounds = (buffer: GPUBuffer, count: number) =>
    device.queue.writeBuffer(buffer, 0, new Uint32Array([count]));
  try {
    const counts: number[] = [];
    for (const { work, rounds } of probes) {
      setRounds(rounds, 1);
      // The first time may compile.
      await clock.time(work);
      const count = Math.min(MOST_ROUNDS, Math.ceil(DISPATCH_MS / await clock.time(work)));
      setRounds(rounds, count);
      counts.push(count);
    }
    const measured = await measureRounds(probes.map(({ work }) => work), { clock, seconds });
    return probes.map(({ name }, i) => {
      const operations = WORKGROUP * WORKGROUPS * OPERATIONS * counts[i]!;
      return {
        what: name,
        samples: measured[i]!.samples.map((time) => operations / (time / 1000)),
      };
    });
  } finally {
    for (const buffer of [found, table, ...probes.map(({ rounds }) => rounds)]) buffer.destroy();
  }
}
