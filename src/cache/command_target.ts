/** Where a cache's commands go. */

/** Where commands go: an encoder, in which a compute pass is opened, or a pass of the host. */
export type CommandTarget = GPUCommandEncoder | GPUComputePassEncoder;

/** Whether commands go into a pass of the host. */
export function isPass(target: CommandTarget): target is GPUComputePassEncoder {
  return "dispatchWorkgroups" in target;
}
