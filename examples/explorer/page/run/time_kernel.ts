/** Times a kernel's share of a cache's work, beside the same work on exact tokens. */
import {
  createCache,
  restoreSequence,
  type Sequence,
  snapshotSequence,
  type Step,
} from "../../../../mod.ts";
import { seededRandom } from "../../../../src/base/random.ts";
import { exactCodebooks, exactQueries, exactVectors } from "./exact_data.ts";
import { COPIES, planWorkload, type Workload } from "./workload.ts";

/** Milliseconds of one piece of work. */
export interface Times {
  readonly median: number;
  readonly least: number;
  readonly most: number;
}

/** Submissions that are timed of each workload. */
const SAMPLES = 7;

/** Milliseconds a submission is to take at least, so that what submitting costs is little of it. */
const SUBMISSION_MS = 40;

/** Pieces of work in a submission, at most. */
const MOST_REPEATS = 2048;

/** Tokens that one call reads, at the sequence's end, where some are exact. */
export const READ_TOKENS = 256;

/** A cache that is ready to do a workload's work. */
interface Timed {
  /** Milliseconds from submitting so many repeats until the device is through. */
  submit(repeats: number): Promise<number>;
  /** Repeats that one submission has room for. */
  readonly mostRepeats: number;
  destroy(): void;
}

/**
 * Times workloads in turn, so that what else the machine does hits them alike.
 *
 * @param tokens Tokens of the sequence.
 * @returns The time of one piece of work of each.
 */
export async function timeWorkloads(
  device: GPUDevice,
  workloads: readonly Workload[],
  tokens: number,
): Promise<readonly Times[]> {
  const timed: Timed[] = [];
  try {
    for (const workload of workloads) timed.push(await prepare(device, workload, tokens));
    const repeats: number[] = [];
    for (const work of timed) repeats.push(await findRepeats(work));
    const samples = timed.map((): number[] => []);
    for (let i = 0; i < SAMPLES; i++) {
      for (const [at, work] of timed.entries()) {
        samples[at]!.push(await work.submit(repeats[at]!) / repeats[at]!);
      }
    }
    return samples.map((own) => {
      const sorted = own.sort((a, b) => a - b);
      return { median: sorted[SAMPLES >> 1]!, least: sorted[0]!, most: sorted.at(-1)! };
    });
  } finally {
    for (const work of timed) work.destroy();
  }
}

/** Doubles the repeats until a submission is long enough; warms up on the way. */
async function findRepeats(work: Timed): Promise<number> {
  let repeats = 1;
  while (repeats < work.mostRepeats && await work.submit(repeats) < SUBMISSION_MS) {
    repeats = Math.min(2 * repeats, work.mostRepeats);
  }
  return repeats;
}

async function prepare(device: GPUDevice, workload: Workload, tokens: number): Promise<Timed> {
  const { stepTokens } = workload;
  const plan = planWorkload(workload, tokens, device.features);
  const { queryHeads, keyValueHeads, headDim } = plan.options.layers[0]!;
  const codebooks = exactCodebooks(workload.options(tokens), 1);
  const cache = await createCache({ device, plan, codebooks });
  const random = seededRandom("timing");
  const channels = keyValueHeads * headDim;
  const queryChannels = queryHeads * headDim;
  const buffers: GPUBuffer[] = [];
  const upload = (data: Float32Array<ArrayBuffer>): GPUBufferBinding => {
    const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST;
    const buffer = device.createBuffer({ size: data.byteLength, usage });
    device.queue.writeBuffer(buffer, 0, data);
    buffers.push(buffer);
    return { buffer };
  };
  const vectors = {
    keys: upload(exactVectors(random, stepTokens * channels)),
    values: upload(exactVectors(random, stepTokens * channels)),
  };
  const sequence = cache.createSequence();
  let last: Step | undefined;
  for (let length = 0; length < tokens;) {
    // The last step adds one token, as a step does that writes text.
    const chunk = length === tokens - 1 ? 1 : Math.min(stepTokens, tokens - 1 - length);
    last = cache.beginStep([{ sequence, tokens: chunk }]);
    const encoder = device.createCommandEncoder();
    cache.encodeAppend(encoder, last, 0, vectors);
    device.queue.submit([encoder.finish()]);
    length += chunk;
  }
  await device.queue.onSubmittedWorkDone();

  /** Submits what is recorded, and waits; recording is not timed. */
  async function time(record: (encoder: GPUCommandEncoder) => void): Promise<number> {
    const encoder = device.createCommandEncoder();
    record(encoder);
    const commands = encoder.finish();
    const start = performance.now();
    device.queue.submit([commands]);
    await device.queue.onSubmittedWorkDone();
    return performance.now() - start;
  }

  const tensors = {
    queries: upload(exactQueries(random, queryChannels)),
    output: upload(new Float32Array(queryChannels)),
  };
  const output = upload(new Float32Array(READ_TOKENS * channels));
  const work: Readonly<Record<Workload["work"], Pick<Timed, "submit" | "mostRepeats">>> = {
    attend: {
      mostRepeats: MOST_REPEATS,
      submit: (repeats) =>
        time((encoder) => {
          for (let i = 0; i < repeats; i++) cache.encodeAttend(encoder, last!, 0, tensors);
        }),
    },
    append: {
      mostRepeats: Math.min(MOST_REPEATS, Math.floor(tokens / stepTokens)),
      async submit(repeats) {
        cache.truncate(sequence, 0);
        return await time((encoder) => {
          for (let i = 0; i < repeats; i++) {
            const step = cache.beginStep([{ sequence, tokens: stepTokens }]);
            cache.encodeAppend(encoder, step, 0, vectors);
          }
        });
      },
    },
    read: {
      mostRepeats: MOST_REPEATS,
      submit: (repeats) =>
        time((encoder) => {
          for (let i = 0; i < repeats; i++) {
            cache.encodeRead(encoder, sequence, 0, {
              side: "keys",
              first: tokens - READ_TOKENS,
              count: READ_TOKENS,
              output,
            });
          }
        }),
    },
    fork: {
      mostRepeats: COPIES,
      async submit(repeats) {
        const forks: Sequence[] = [];
        const elapsed = await time((encoder) => {
          for (let i = 0; i < repeats; i++) forks.push(cache.encodeFork(encoder, sequence));
        });
        for (const forked of forks) cache.freeSequence(forked);
        return elapsed;
      },
    },
    restore: {
      mostRepeats: COPIES,
      async submit(repeats) {
        const bytes = await snapshotSequence(cache, sequence);
        const restored: Sequence[] = [];
        for (let i = 0; i < repeats; i++) restored.push(await restoreSequence(cache, bytes));
        const elapsed = await time((encoder) => {
          // The first read puts what was restored in place.
          const range = { side: "keys", first: 0, count: 1, output } as const;
          for (const own of restored) cache.encodeRead(encoder, own, 0, range);
        });
        for (const own of restored) cache.freeSequence(own);
        return elapsed;
      },
    },
  };
  return {
    ...work[workload.work],
    destroy() {
      cache.destroy();
      for (const buffer of buffers) buffer.destroy();
    },
  };
}
