/** A kernel with the cache's own buffers. The host's are given with each dispatch. */
import type { BindingName } from "../kernels/bindings.ts";
import { STEP_BYTES } from "../plan/sizes.ts";
import type { CompiledKernel } from "./pipelines.ts";
import type { Recorder } from "./recorder.ts";
import type { ParameterPlace } from "./step_places.ts";

/** Bindings that are given with a dispatch, by their names in kernels. */
export type HostBindings = Readonly<Partial<Record<BindingName, GPUBufferBinding>>>;

/** No bindings of the host. */
export const NO_HOST: HostBindings = {};

/**
 * Bind groups that are kept for one kernel, for hosts that alternate between buffers.
 */
const KEPT_GROUPS = 4;

/** A bind group, and the bindings it was made from. */
interface KeptGroup {
  readonly parameters: GPUBuffer;
  readonly host: readonly GPUBufferBinding[];
  readonly group: GPUBindGroup;
}

/**
 * A kernel with the cache's own buffers. A bind group is made once, and again only where a dispatch
 * is given other buffers.
 */
export class BoundKernel {
  readonly #device: GPUDevice;
  readonly #kernel: CompiledKernel;
  readonly #own: readonly (GPUBuffer | undefined)[];
  /** The names of the bindings that are given with a dispatch, without parameters. */
  readonly #names: readonly BindingName[];
  readonly #kept: KeptGroup[] = [];
  readonly #most: number;
  #next = 0;

  /**
   * @param own The cache's buffer behind a binding, or undefined where it is given with the
   * dispatch.
   * @param most Bind groups to keep. A kept group keeps its buffers alive.
   */
  constructor(
    device: GPUDevice,
    kernel: CompiledKernel,
    own: (name: BindingName) => GPUBuffer | undefined,
    most: number = KEPT_GROUPS,
  ) {
    this.#device = device;
    this.#kernel = kernel;
    this.#own = kernel.kernel.bindings.map(own);
    this.#names = kernel.kernel.bindings
      .filter((name, i) => name !== "step" && this.#own[i] === undefined);
    this.#most = most;
  }

  dispatch(
    recorder: Recorder,
    { buffer, offset }: ParameterPlace,
    host: HostBindings,
    x: number,
    y: number,
    z: number,
  ): void {
    recorder.dispatch(this.#kernel, this.#group(buffer, host), offset, x, y, z);
  }

  #group(parameters: GPUBuffer, host: HostBindings): GPUBindGroup {
    const known = this.#kept.find((kept) =>
      kept.parameters === parameters &&
      this.#names.every((name, i) => isSame(kept.host[i]!, host[name]!))
    );
    if (known !== undefined) return known.group;
    const { kernel, layout } = this.#kernel;
    const resource = (name: BindingName, own: GPUBuffer | undefined): GPUBufferBinding =>
      name === "step"
        ? { buffer: parameters, size: STEP_BYTES }
        : own === undefined
        ? host[name]!
        : { buffer: own };
    const group = this.#device.createBindGroup({
      label: kernel.name,
      layout,
      entries: kernel.bindings.map((name, binding) => ({
        binding,
        resource: resource(name, this.#own[binding]),
      })),
    });
    if (this.#most > 0) {
      // Copies, because the host may change its objects.
      const copies = this.#names.map((name) => ({ ...host[name]! }));
      this.#kept[this.#next] = { parameters, host: copies, group };
      this.#next = (this.#next + 1) % this.#most;
    }
    return group;
  }
}

function isSame(a: GPUBufferBinding, b: GPUBufferBinding): boolean {
  return a.buffer === b.buffer && a.offset === b.offset && a.size === b.size;
}
