/** Where a cache's commands go. */
import { checkOptions, type Kind, kind } from "../base/check_options.ts";

/** Where commands go: an encoder, in which a compute pass is opened, or a pass of the host. */
export type CommandTarget = GPUCommandEncoder | GPUComputePassEncoder;

/** Whether commands go into a pass of the host. */
export function isPass(target: CommandTarget): target is GPUComputePassEncoder {
  return "dispatchWorkgroups" in target;
}

const TARGET: Kind<CommandTarget> = kind(
  "a GPUCommandEncoder or a GPUComputePassEncoder",
  (value) => "beginComputePass" in Object(value) || "dispatchWorkgroups" in Object(value),
);

/**
 * Checks where commands are to be recorded.
 *
 * @throws {CoupletError} `usage` where it is neither an encoder nor a pass.
 */
export function checkTarget(target: CommandTarget): void {
  checkOptions("usage", "Cannot record commands", { target: TARGET }, { target });
}
