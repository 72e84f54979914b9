import { type AttentionCache, type ModelConfig, onlyRope } from "../../examples/engine/mod.ts";

/** A sequence of a {@linkcode createDenseCache}. */
export interface DenseSequence {
  /** Which row of the cache it owns. */
  readonly slot: number;
  /** Tokens so far. */
  length: number;
}

/** A step of a {@linkcode createDenseCache}. */
export interface DenseStep {
  /** Tokens of all entries. */
  readonly tokens: number;
}

/** Options of {@linkcode createDenseCache}. */
export interface DenseCacheOptions {
  /** Where it lives. */
  readonly device: GPUDevice;
  /** The model. */
  readonly config: ModelConfig;
  /** Most sequences. */
  readonly sequences: number;
  /** Most tokens of one sequence. */
  readonly sequenceTokens: number;
  /** Whether keys and queries come unrotated. */
  readonly rotate?: boolean;
}

/**
 * Plain float32 attention without compression, one invocation per token and head: it lets the engine
 * be tested apart from the library's cache, at any head dimension.
 */
export function createDenseCache(
  { device, config, sequences, sequenceTokens, rotate = true }: DenseCacheOptions,
): AttentionCache<DenseSequence, DenseStep> {
  const { layers, queryHeads, keyValueHeads, headDim } = config;
  const { frequencies } = onlyRope(config);
  const code = `
const D = ${headDim}u;
const QUERY_HEADS = ${queryHeads}u;
const KEY_HEADS = ${keyValueHeads}u;
// Per token: row of the cache, position.
@group(0) @binding(0) var<storage, read> places: array<vec2<u32>>;
// Cosine and sine by position and pair: a kernel's own may be off by 2^-11.
@group(0) @binding(1) var<storage, read> turns: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> keys: array<f32>;
@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read> first: array<f32>;
@group(0) @binding(5) var<storage, read> second: array<f32>;
@group(0) @binding(6) var<storage, read_write> output: array<f32>;

fn turned(low: f32, high: f32, channel: u32, position: u32) -> f32 {
  ${
    rotate
      ? `let turn = turns[position * (D / 2u) + channel % (D / 2u)];
  if (channel < D / 2u) { return low * turn.x - high * turn.y; }
  return high * turn.x + low * turn.y;`
      : `return select(high, low, channel < D / 2u);`
  }
}

fn cell(place: vec2<u32>, position: u32, head: u32) -> u32 {
  return ((place.x * ${sequenceTokens}u + position) * KEY_HEADS + head) * D;
}

@compute @workgroup_size(1)
fn append(@builtin(workgroup_id) group: vec3<u32>) {
  let place = places[group.x];
  let start = (group.x * KEY_HEADS + group.y) * D;
  let to = cell(place, place.y, group.y);
  for (var d = 0u; d < D; d++) {
    let pair = d % (D / 2u);
    keys[to + d] = turned(first[start + pair], first[start + pair + D / 2u], d, place.y);
    values[to + d] = second[start + d];
  }
}

@compute @workgroup_size(1)
fn attend(@builtin(workgroup_id) group: vec3<u32>) {
  let place = places[group.x];
  let at = (group.x * QUERY_HEADS + group.y) * D;
  let head = group.y * KEY_HEADS / QUERY_HEADS;
  var query: array<f32, D>;
  var sum: array<f32, D>;
  for (var d = 0u; d < D; d++) {
    let pair = d % (D / 2u);
    query[d] = turned(first[at + pair], first[at + pair + D / 2u], d, place.y) / sqrt(f32(D));
  }
  var largest = -1e38;
  var total = 0.0;
  for (var j = 0u; j <= place.y; j++) {
    let start = cell(place, j, head);
    var score = 0.0;
    for (var d = 0u; d < D; d++) { score += query[d] * keys[start + d]; }
    let next = max(largest, score);
    let kept = exp(largest - next);
    let share = exp(score - next);
    largest = next;
    total = total * kept + share;
    for (var d = 0u; d < D; d++) { sum[d] = sum[d] * kept + share * values[start + d]; }
  }
  for (var d = 0u; d < D; d++) { output[at + d] = sum[d] / total; }
}
`;
  const module = device.createShaderModule({ code });
  const layout = device.createBindGroupLayout({
    entries: (["read-only-storage", "read-only-storage", "storage", "storage"] as const)
      .concat(["read-only-storage", "read-only-storage", "storage"] as never)
      .map((type, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type },
      })),
  });
  const pipelines = new Map(["append", "attend"].map((entryPoint) => [
    entryPoint,
    device.createComputePipeline({
      layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module, entryPoint },
    }),
  ]));

  function buffer(floats: number): GPUBuffer {
    return device.createBuffer({
      size: floats * 4,
      usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
    });
  }
  const places = buffer(2 * sequences * sequenceTokens);
  const turns = buffer(sequenceTokens * headDim);
  device.queue.writeBuffer(
    turns,
    0,
    Float32Array.from(
      Array.from(
        { length: sequenceTokens },
        (_, position) =>
          frequencies.flatMap((frequency) => [
            Math.cos(position * frequency),
            Math.sin(position * frequency),
          ]),
      ).flat(),
    ),
  );
  const unused = buffer(4);
  const side = () => buffer(sequences * sequenceTokens * keyValueHeads * headDim);
  const store = Array.from({ length: layers }, () => ({ keys: side(), values: side() }));
  const free = Array.from({ length: sequences }, (_, slot) => sequences - 1 - slot);

  function dispatch(
    pass: GPUComputePassEncoder,
    entryPoint: string,
    layer: number,
    bindings: readonly GPUBufferBinding[],
    workgroups: readonly [number, number],
  ): void {
    const { keys, values } = store[layer]!;
    const all: GPUBufferBinding[] = [
      { buffer: places },
      { buffer: turns },
      { buffer: keys },
      { buffer: values },
      ...bindings,
    ];
    pass.setPipeline(pipelines.get(entryPoint)!);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout,
        entries: all.map((resource, binding) => ({ binding, resource })),
      }),
    );
    pass.dispatchWorkgroups(...workgroups);
  }

  return {
    createSequence: () => ({ slot: free.pop()!, length: 0 }),
    freeSequence: ({ slot }) => {
      free.push(slot);
    },
    length: ({ length }) => length,
    beginStep(entries) {
      const words: number[] = [];
      for (const { sequence, tokens } of entries) {
        for (let i = 0; i < tokens; i++) words.push(sequence.slot, sequence.length++);
      }
      device.queue.writeBuffer(places, 0, Uint32Array.from(words));
      return { tokens: words.length / 2 };
    },
    encodeAppend(pass, step, layer, { keys, values }) {
      dispatch(pass, "append", layer, [keys, values, { buffer: unused }], [
        step.tokens,
        keyValueHeads,
      ]);
    },
    encodeAttend(pass, step, layer, { queries, output }) {
      dispatch(pass, "attend", layer, [queries, { buffer: unused }, output], [
        step.tokens,
        queryHeads,
      ]);
    },
  };
}
