/** As much of Vulkan as compiling a compute pipeline takes, through the loader's C interface. */

/** Structure types, from the registry. */
const TYPES = {
  application: 0,
  instance: 1,
  queue: 2,
  device: 3,
  shaderModule: 16,
  shaderStage: 18,
  computePipeline: 29,
  pipelineLayout: 30,
  descriptorSetLayout: 32,
  features11: 49,
  features12: 51,
  features13: 53,
  features: 1000059000,
  executableFeatures: 1000269000,
  executable: 1000269003,
  statistic: 1000269004,
} as const;

const API_VERSION = (1 << 22) | (3 << 12);
const UNIFORM_BUFFER = 6;
const STORAGE_BUFFER = 7;
const COMPUTE = 0x20;
const CAPTURE_STATISTICS = 0x40;

const library = Deno.dlopen("libvulkan.so.1", {
  vkCreateInstance: { parameters: ["buffer", "pointer", "buffer"], result: "i32" },
  vkEnumeratePhysicalDevices: { parameters: ["u64", "buffer", "buffer"], result: "i32" },
  vkGetPhysicalDeviceFeatures2: { parameters: ["u64", "buffer"], result: "void" },
  vkCreateDevice: { parameters: ["u64", "buffer", "pointer", "buffer"], result: "i32" },
  vkGetDeviceProcAddr: { parameters: ["u64", "buffer"], result: "pointer" },
  vkCreateShaderModule: { parameters: ["u64", "buffer", "pointer", "buffer"], result: "i32" },
  vkCreateDescriptorSetLayout: {
    parameters: ["u64", "buffer", "pointer", "buffer"],
    result: "i32",
  },
  vkCreatePipelineLayout: { parameters: ["u64", "buffer", "pointer", "buffer"], result: "i32" },
  vkCreateComputePipelines: {
    parameters: ["u64", "u64", "u32", "buffer", "pointer", "buffer"],
    result: "i32",
  },
}).symbols;

/** What structures point to is held here, so that it stays where it is. */
const held: unknown[] = [];

function addressOf(bytes: Uint8Array<ArrayBuffer>): bigint {
  held.push(bytes);
  return Deno.UnsafePointer.value(Deno.UnsafePointer.of(bytes));
}

function text(value: string): bigint {
  return addressOf(new TextEncoder().encode(`${value}\0`));
}

/** A structure: numbers at byte offsets, 32 bits wide where they are numbers and 64 where they are bigints. */
function structure(
  size: number,
  type: number,
  fields: Readonly<Record<number, number | bigint>>,
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  for (const [offset, value] of Object.entries(fields)) {
    if (typeof value === "bigint") view.setBigUint64(Number(offset), value, true);
    else view.setUint32(Number(offset), value, true);
  }
  return bytes;
}

/** What a call wrote into a place for one handle. */
function handle(what: string, call: (place: Uint8Array<ArrayBuffer>) => number): bigint {
  const place = new BigUint64Array(1);
  const result = call(new Uint8Array(place.buffer));
  if (result !== 0) throw new Error(`Vulkan cannot create ${what}: result ${result}`);
  return place[0]!;
}

/** A device of the first driver the environment names. */
export class Device {
  readonly #device: bigint;
  readonly #layout: bigint;

  constructor() {
    const instance = handle("an instance", (place) =>
      library.vkCreateInstance(
        structure(64, TYPES.instance, {
          24: addressOf(structure(48, TYPES.application, { 44: API_VERSION })),
        }),
        null,
        place,
      ));
    const physical = handle("a list of devices", (place) => {
      // VK_INCOMPLETE says that there are more than the one asked for.
      const result = library.vkEnumeratePhysicalDevices(instance, new Uint32Array([1]), place);
      return result === 5 ? 0 : result;
    });
    // Every feature the driver has.
    const next = (size: number, type: number, rest: bigint) =>
      addressOf(structure(size, type, { 8: rest }));
    const versions = next(
      64,
      TYPES.features11,
      next(208, TYPES.features12, next(80, TYPES.features13, 0n)),
    );
    const features = structure(240, TYPES.features, { 8: versions });
    const all = addressOf(features);
    library.vkGetPhysicalDeviceFeatures2(physical, features);
    const extension = new BigUint64Array([text("VK_KHR_pipeline_executable_properties")]);
    this.#device = handle("a device", (place) =>
      library.vkCreateDevice(
        physical,
        structure(72, TYPES.device, {
          8: addressOf(structure(24, TYPES.executableFeatures, { 8: all, 16: 1 })),
          20: 1,
          24: addressOf(structure(40, TYPES.queue, {
            24: 1,
            32: addressOf(new Uint8Array(new Float32Array([1]).buffer)),
          })),
          48: 1,
          56: addressOf(new Uint8Array(extension.buffer)),
        }),
        null,
        place,
      ));
    // Bindings as kernels have them: two uniform buffers, then storage buffers.
    const bindings = new Uint8Array(16 * 24);
    for (let i = 0; i < 16; i++) {
      const type = i < 2 ? UNIFORM_BUFFER : STORAGE_BUFFER;
      bindings.set(structure(24, i, { 4: type, 8: 1, 12: COMPUTE }), i * 24);
    }
    const set = handle("a layout of bindings", (place) =>
      library.vkCreateDescriptorSetLayout(
        this.#device,
        structure(32, TYPES.descriptorSetLayout, { 20: 16, 24: addressOf(bindings) }),
        null,
        place,
      ));
    // Tint passes lengths of buffers as push constants.
    const constants = structure(12, COMPUTE, { 8: 128 });
    this.#layout = handle("a layout of a pipeline", (place) =>
      library.vkCreatePipelineLayout(
        this.#device,
        structure(48, TYPES.pipelineLayout, {
          20: 1,
          24: addressOf(new Uint8Array(new BigUint64Array([set]).buffer)),
          32: 1,
          40: addressOf(constants),
        }),
        null,
        place,
      ));
  }

  /** Compiles a module's entry point and gives the driver's statistics of it, by name. */
  compile(spirv: Uint8Array<ArrayBuffer>, entryPoint: string): Map<string, number> {
    const module = handle("a shader module", (place) =>
      library.vkCreateShaderModule(
        this.#device,
        structure(40, TYPES.shaderModule, { 24: BigInt(spirv.length), 32: addressOf(spirv) }),
        null,
        place,
      ));
    const create = structure(96, TYPES.computePipeline, {
      16: CAPTURE_STATISTICS,
      72: this.#layout,
    });
    create.set(
      structure(48, TYPES.shaderStage, { 20: COMPUTE, 24: module, 32: text(entryPoint) }),
      24,
    );
    const pipeline = handle(
      "a pipeline",
      (place) => library.vkCreateComputePipelines(this.#device, 0n, 1, create, null, place),
    );
    return this.#statistics(pipeline);
  }

  #statistics(pipeline: bigint): Map<string, number> {
    const name = new TextEncoder().encode("vkGetPipelineExecutableStatisticsKHR\0");
    const type = { parameters: ["u64", "buffer", "buffer", "buffer"], result: "i32" } as const;
    const address = library.vkGetDeviceProcAddr(this.#device, name);
    const call = new Deno.UnsafeFnPointer(address as Deno.PointerObject<typeof type>, type);
    const SIZE = 544;
    const most = 64;
    const statistics = new Uint8Array(most * SIZE);
    for (let i = 0; i < most; i++) statistics.set(structure(16, TYPES.statistic, {}), i * SIZE);
    const count = new Uint32Array([most]);
    call.call(
      this.#device,
      structure(32, TYPES.executable, { 16: pipeline }),
      count,
      statistics,
    );
    const view = new DataView(statistics.buffer);
    return new Map(Array.from({ length: count[0]! }, (_, i) => {
      const bytes = statistics.subarray(i * SIZE + 16, i * SIZE + 272);
      const name = new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
      return [name, Number(view.getBigUint64(i * SIZE + 536, true))] as const;
    }));
  }
}
