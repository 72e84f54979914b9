/** What each kernel of a row takes. */
import { createProfile, type KernelTime } from "../../mod.ts";
import { Profile } from "../../src/cache/profile.ts";
import { median } from "../../examples/demo/metrics.ts";
import type { AttentionRow } from "./results.ts";
import { type Place, type PlannedRow, prepareRow } from "./rows.ts";

/** What each kernel takes of one layer's attention of one step, longest first. */
export type RowProfile = NonNullable<AttentionRow["profile"]>;

/** Submissions whose median counts. */
const ROUNDS = 5;

/**
 * Times every dispatch of a row, by timestamps around a pass of its own. Passes wait for each other as dispatches of one
 * pass need not, so the sum may exceed what the layer takes.
 *
 * @param repeats How often all layers are attended in, in one submission, as far as the profile has room.
 * @throws {CoupletError} `limits` where the device has no timestamp queries.
 */
export async function profileRow(
  device: GPUDevice,
  row: PlannedRow,
  place: Place,
  repeats: number,
): Promise<RowProfile> {
  const profile = createProfile(device);
  try {
    const ready = await prepareRow(device, row, place, profile);
    const run = async (times: number) => {
      const encoder = device.createCommandEncoder();
      for (let i = 0; i < times; i++) ready.work(encoder);
      device.queue.submit([encoder.finish()]);
      return (await profile.read()).kernels;
    };
    try {
      // Forgets what appending took; kernels that run for the first time are not like the others.
      await profile.read();
      const dispatches = (await run(1)).reduce((sum, kernel) => sum + kernel.dispatches, 0);
      const times = Math.max(1, Math.min(repeats, Math.floor(Profile.CAPACITY / dispatches)));
      const rounds = [];
      for (let round = 0; round < ROUNDS; round++) rounds.push(await run(times));
      return profileOf(rounds, times * row.plan.options.shape.layers);
    } finally {
      ready.destroy();
    }
  } finally {
    profile.destroy();
  }
}

/**
 * Medians by kernel, longest first.
 *
 * @param rounds What was measured, by round.
 * @param attentions Attentions of one layer in each round.
 */
export function profileOf(
  rounds: readonly (readonly KernelTime[])[],
  attentions: number,
): RowProfile {
  const samples = Map.groupBy(rounds.flat(), ({ kernel }) => kernel);
  return [...samples].map(([kernel, own]) => ({
    kernel,
    milliseconds: median(own.map(({ nanoseconds }) => nanoseconds / 1e6 / attentions)),
  })).sort((a, b) => b.milliseconds - a.milliseconds);
}
