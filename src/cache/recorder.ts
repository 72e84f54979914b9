/** Records dispatches into the host's encoder or pass. */
import { raise } from "../base/raise.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Profile } from "./profile.ts";
import { checkTarget, type CommandTarget, isPass } from "./command_target.ts";

/**
 * Records the dispatches of one call into the host's pass, or into a new one. With a profile, each
 * dispatch gets a pass of its own.
 */
export class Recorder {
  readonly #profile: Profile | undefined;
  readonly #offsets = new Uint32Array(1);
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;

  constructor(profile: Profile | undefined) {
    this.#profile = profile;
  }

  /**
   * Checks the target of a call's commands, before anything changes.
   *
   * @throws {CoupletError} `usage` where it takes no commands, or is a pass of the host and there
   * is a profile.
   */
  check(target: CommandTarget): void {
    checkTarget(target);
    if (this.#profile === undefined || !isPass(target)) return;
    raise(
      "usage",
      "Cannot record into a compute pass",
      "the cache has a profile, which takes timestamps of passes",
      "Pass the command encoder, or create the cache without a profile",
    );
  }

  /**
   * Records the dispatches of `dispatches`. The pass is ended even if that throws, so that the
   * host's encoder stays usable.
   */
  record(target: CommandTarget, dispatches: () => void): void {
    if (isPass(target)) this.#pass = target;
    else {
      this.#encoder = target;
      if (this.#profile === undefined) this.#pass = target.beginComputePass({ label: "couplet" });
    }
    try {
      dispatches();
    } finally {
      if (this.#encoder !== undefined) this.#pass?.end();
      this.#pass = undefined;
      this.#encoder = undefined;
    }
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
}
