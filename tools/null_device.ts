/**
 * Compiles kernels for chips that are not there: Dawn, Chrome's WebGPU, on Mesa's RADV, which needs no GPU to compile for one of
 * AMD's. What comes out is what that GPU would run in Chrome.
 *
 * Needs Linux, the Debian package mesa-vulkan-drivers and a C compiler, for the layer in `null_device/`.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { CoupletError } from "../mod.ts";
import { findDriverManifests } from "./find_adapter.ts";
import { projectOutput, ROOT } from "./project.ts";

/** A kernel to compile. */
export interface KernelSource {
  readonly name: string;
  readonly wgsl: string;
  /** Values of overrides. */
  readonly constants?: Readonly<Record<string, number>>;
}

/** What the driver made of a kernel. */
export interface CompiledKernel {
  readonly name: string;
  readonly disassembly: string;
  /** The driver's own statistics, by name. */
  readonly statistics: ReadonlyMap<string, number>;
}

/** Compiled kernels, and what compiled them. */
export interface CompiledKernels {
  /** As Mesa writes it: `Mesa 22.3.6`. */
  readonly mesa: string;
  /** Version of the package that holds Dawn. */
  readonly dawn: string;
  readonly kernels: readonly CompiledKernel[];
}

const LAYER = "VK_LAYER_COUPLET_null_device";
const SOURCE = `${ROOT}tools/null_device/layer.c`;

/** Kernels that one process compiles: the driver's output of all is held at once. */
const BATCH = 16;

/**
 * Compiles kernels; without any it tells what would.
 *
 * @param family The chip, in RADV's word: `navi21` is of RDNA2, `gfx1100` of RDNA3.
 * @throws {CoupletError} `device` where something that is needed is missing, or the driver refuses a kernel.
 */
export async function compileForChip(
  sources: readonly KernelSource[],
  family: string,
): Promise<CompiledKernels> {
  const driver = findDriver();
  const folder = await buildLayer();
  const environment = {
    VK_DRIVER_FILES: driver,
    // The same, for loaders before 1.3.207.
    VK_ICD_FILENAMES: driver,
    VK_LAYER_PATH: folder,
    VK_INSTANCE_LAYERS: LAYER,
    RADV_FORCE_FAMILY: family,
    RADV_DEBUG: "shaders,shaderstats",
    MESA_SHADER_CACHE_DISABLE: "true",
  };
  const kernels: CompiledKernel[] = [];
  let [mesa, dawn] = ["", ""];
  // Without kernels one process tells the driver.
  for (let first = 0; first === 0 || first < sources.length; first += BATCH) {
    const batch = sources.slice(first, first + BATCH);
    const input = JSON.stringify(
      batch.map(({ name, wgsl, constants }) => [name, wgsl, constants ?? {}]),
    );
    const { stdout, stderr } = await projectOutput("tint", "disassemble.ts", [], {
      input,
      environment,
    }).catch((error: Error) => fail(`for the chip "${family}" Dawn says: ${error.message}`, CHIPS));
    const [description, version]: [string, string] = JSON.parse(stdout);
    [mesa, dawn] = [/Mesa [\w.]+/.exec(description)?.[0] ?? description, version];
    const parts = stderr.split(/^== (.*)\n/m);
    for (let i = 1; i < parts.length; i += 2) kernels.push(readOutput(parts[i]!, parts[i + 1]!));
  }
  return { mesa, dawn, kernels };
}

const CHIPS = 'Name a chip that this Mesa knows, such as "navi21"';

/** The last kernel of the driver's output, which may compile some of its own before. */
function readOutput(name: string, output: string): CompiledKernel {
  const disassembly = output.split(/^disasm:$/m).at(-1)!;
  const statistics = new Map(
    [...disassembly.matchAll(/^([A-Z][\w -]*): (\d+)$/gm)].map(([, key, value]) =>
      [key!, Number(value)] as const
    ),
  );
  return { name, disassembly: disassembly.split(/^\*\*\* SHADER STATS/m)[0]!, statistics };
}

/** RADV's manifest. */
function findDriver(): string {
  const [driver] = Deno.build.os === "linux" ? findDriverManifests("radeon") : [];
  return driver ??
    fail(
      Deno.build.os === "linux" ? "Mesa's RADV is not installed" : "Mesa's RADV runs on Linux only",
      Deno.build.os === "linux"
        ? "Install Mesa's Vulkan drivers, on Debian the package mesa-vulkan-drivers"
        : "Count on a Linux machine; no GPU is needed",
    );
}

/** Compiles the layer, once for each version of its source, and gives the folder it is in. */
async function buildLayer(): Promise<string> {
  const source = await Deno.readFile(SOURCE);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", source)).toHex().slice(0, 12);
  const folder = `${ROOT}.cache/null_device-${digest}`;
  if (existsSync(folder)) return folder;
  await Deno.mkdir(`${ROOT}.cache`, { recursive: true });
  const temporary = await Deno.makeTempDir({ dir: `${ROOT}.cache`, prefix: "null_device-" });
  try {
    await runCompiler(["-shared", "-fPIC", "-O1", "-o", `${temporary}/liblayer.so`, SOURCE]);
    await Deno.writeTextFile(`${temporary}/layer.json`, JSON.stringify(LAYER_MANIFEST));
    await Deno.rename(temporary, folder);
  } catch (error) {
    await Deno.remove(temporary, { recursive: true });
    // Whoever built it at the same time built the same.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

/** What the loader reads beside the library. */
const LAYER_MANIFEST = {
  file_format_version: "1.1.2",
  layer: {
    name: LAYER,
    type: "GLOBAL",
    library_path: "./liblayer.so",
    api_version: "1.3.0",
    implementation_version: "1",
    description: "Answers what RADV lacks without a GPU",
    functions: {
      vkGetInstanceProcAddr: "layer_instance_get",
      vkGetDeviceProcAddr: "layer_device_get",
    },
  },
};

async function runCompiler(args: readonly string[]): Promise<void> {
  const compiler = Deno.env.get("CC") ?? "cc";
  try {
    const { success, stderr } = await new Deno.Command(compiler, { args: [...args] }).output();
    if (success) return;
    const [reason] = new TextDecoder().decode(stderr).trim().split("\n");
    fail(`${compiler} does not compile the Vulkan layer: ${reason}`, COMPILER);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    fail(`there is no C compiler called ${compiler}`, COMPILER);
  }
}

const COMPILER =
  "Install one, on Debian the packages gcc and libc6-dev, or name it by the variable CC";

function fail(why: string, remedy: string): never {
  throw new CoupletError("device", {
    what: "Cannot compile kernels for a chip that is not there",
    why,
    remedy,
  });
}
