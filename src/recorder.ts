/** Records dispatches where the host wants them. */
import { CoupletError } from "./errors.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Profile } from "./profile.ts";

/** Where commands go: an encoder, in which a compute pass is opened, or a pass of the host. */
export type CommandTarget = GPUCommandEncoder | GPUComputePassEncoder;

/** Records the dispatches of one call into the host's pass, or a pass of its own; with a profile, each into a pass of its own. */
export class Recorder {
  readonly #profile: Profile | undefined;
  readonly #offsets = new Uint32Array(1);
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;

  constructor(profile: Profile | undefined) {
    this.#profile = profile;
  }

  /** @throws {CoupletError} `usage` for a pass of the host, where there is a profile. */
  begin(target: CommandTarget): void {
    if ("dispatchWorkgroups" in target) {
      if (this.#profile !== undefined) {
        throw new CoupletError("usage", {
          what: "Cannot record into a compute pass",
          why: "the cache has a profile, and timestamps are taken where a pass begins and ends",
          remedy: "Pass the command encoder, or create the cache without a profile",
        });
      }
      this.#pass = target;
      return;
    }
    this.#encoder = target;
    if (this.#profile === undefined) this.#pass = target.beginComputePass({ label: "couplet" });
  }

  dispatch(
    { kernel, pipeline }: CompiledKernel,
    group: GPUBindGroup,
    offset: number,
    x: number,
    y: number,
    z: number,
  ): void {
    const pass = this.#pass ?? this.#profile!.beginPass(this.#encoder!, kernel.name);
    pass.setPipeline(pipeline);
    this.#offsets[0] = offset;
    pass.setBindGroup(0, group, this.#offsets, 0, 1);
    pass.dispatchWorkgroups(x, y, z);
    if (this.#pass === undefined) pass.end();
  }

  end(): void {
    if (this.#encoder !== undefined) this.#pass?.end();
    this.#pass = undefined;
    this.#encoder = undefined;
  }
}
