/** Runs a kernel beside the page, which stays responsive: one worker for each run. */
import { CoupletError } from "../../../mod.ts";
import { findKernel, kernels } from "./kernels.ts";
import { requestDevice } from "./run/request_device.ts";
import { runKernel } from "./run/run_kernel.ts";
import type { RunMessage, RunRequest } from "./run/run_messages.ts";

function tell(message: RunMessage): void {
  self.postMessage(message);
}

self.onmessage = async ({ data }: MessageEvent<RunRequest>) => {
  const { name, ...options } = data;
  try {
    const { device, adapter } = await requestDevice();
    const all = kernels.map(({ info }) => info);
    const result = await runKernel(device, findKernel(name)!.info, all, {
      ...options,
      onProgress: (text) => tell({ kind: "progress", text }),
    });
    tell({ kind: "result", adapter, result });
  } catch (error) {
    tell({
      kind: "error",
      error: error instanceof CoupletError ? { code: error.code, parts: error.parts } : {
        parts: {
          what: "The run failed",
          why: error instanceof Error ? error.message : String(error),
          remedy: "Reload the page and run again",
        },
      },
    });
  }
};
