import type { Cache, KeySpace, Sequence } from "@couplet/kv";
import { CacheSwitch } from "../demo/cache_switch.ts";
import type { CacheRun } from "../demo/evaluate.ts";
import type { StepSizes } from "../demo/setups.ts";
import { type Checkpoint, createEngine, type Engine } from "../engine/mod.ts";
import { joinFloats } from "../../src/base/join_floats.ts";

/** A model for any number of caches: one copy of its weights for each space keys are coded in. */
export class Engines {
  readonly #device: GPUDevice;
  readonly #checkpoint: Checkpoint;
  readonly #sizes: StepSizes;
  readonly #bySpace = new Map<KeySpace, { engine: Engine<Sequence>; cacheSwitch: CacheSwitch }>();

  /** @param sizes Those that all caches are planned for. */
  constructor(device: GPUDevice, checkpoint: Checkpoint, sizes: StepSizes) {
    this.#device = device;
    this.#checkpoint = checkpoint;
    this.#sizes = sizes;
  }

  /** The way tokens run through the model with a cache. */
  async run(cache: Cache): Promise<CacheRun> {
    const keySpace = cache.plan.options.keys.space;
    let found = this.#bySpace.get(keySpace);
    if (found === undefined) {
      const cacheSwitch = new CacheSwitch(cache);
      const engine = await createEngine({
        device: this.#device,
        checkpoint: this.#checkpoint,
        cache: cacheSwitch,
        keySpace,
        maxTokens: this.#sizes.batch * this.#sizes.chunk,
        appendTokens: this.#sizes.chunk,
      });
      this.#bySpace.set(keySpace, found = { engine, cacheSwitch });
    }
    const { engine, cacheSwitch } = found;
    return {
      cache,
      forward(entries, read) {
        cacheSwitch.cache = cache;
        return engine.forward(entries, read);
      },
    };
  }

  /** Frees all weights. */
  destroy(): void {
    for (const { engine } of this.#bySpace.values()) engine.destroy();
  }
}

/** The same run in smaller steps: more splits, other rounding. Logits alone are read back. */
export function inSmallerSteps({ cache, forward }: CacheRun, chunk: number): CacheRun {
  return {
    cache,
    async forward(entries) {
      const length = Math.max(...entries.map(({ tokenIds }) => tokenIds.length));
      const parts: (readonly Float32Array<ArrayBuffer>[])[] = [];
      for (let at = 0; at < length; at += chunk) {
        const { logits } = await forward(
          entries.map(({ sequence, tokenIds }) => ({
            sequence,
            tokenIds: tokenIds.slice(at, at + chunk),
          })),
          { logits: "all" },
        );
        parts.push(logits!);
      }
      return { logits: entries.map((_, entry) => joinFloats(parts.map((part) => part[entry]!))) };
    },
  };
}
