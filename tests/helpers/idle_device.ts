/** A device that runs nothing: what a cache does on the host's side can be tried on it hundreds of times a second. */
import { BASE_LIMITS } from "../../mod.ts";

/** A buffer of zeros. */
function idleBuffer({ label = "", size, usage }: GPUBufferDescriptor): GPUBuffer {
  const buffer = {
    label,
    size,
    usage,
    mapState: "unmapped",
    mapAsync: () => Promise.resolve(),
    getMappedRange: () => new ArrayBuffer(size),
    unmap() {},
    destroy() {},
  };
  return buffer as unknown as GPUBuffer;
}

const PASS = {
  setPipeline() {},
  setBindGroup() {},
  dispatchWorkgroups() {},
  end() {},
};

const ENCODER = {
  beginComputePass: () => PASS,
  copyBufferToBuffer() {},
  clearBuffer() {},
  finish: () => ({}),
};

/** A device whose kernels compile, whose buffers hold zeros, and which never fails. */
export function idleDevice(): GPUDevice {
  const device = {
    limits: { ...BASE_LIMITS },
    features: new Set<string>(),
    adapterInfo: { vendor: "", architecture: "", device: "", description: "idle" },
    lost: new Promise(() => {}),
    queue: { writeBuffer() {}, submit() {}, onSubmittedWorkDone: () => Promise.resolve() },
    createBuffer: idleBuffer,
    createShaderModule: () => ({}),
    createBindGroupLayout: () => ({}),
    createPipelineLayout: () => ({}),
    createBindGroup: () => ({}),
    createComputePipelineAsync: () => Promise.resolve({}),
    createCommandEncoder: () => ENCODER,
    pushErrorScope() {},
    popErrorScope: () => Promise.resolve(null),
    addEventListener() {},
    removeEventListener() {},
    destroy() {},
  };
  return device as unknown as GPUDevice;
}
