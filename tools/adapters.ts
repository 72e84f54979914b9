/**
 * What the launcher knows about WebGPU adapters: their kinds, the order in which they are tried,
 * and what to tell a person whose machine has none. Pure functions and tables.
 *
 * @module
 */

/**
 * What stands behind an adapter:
 *
 * - `hardware`: a GPU
 * - `llvmpipe`: Mesa's driver for the CPU, installed on the system
 * - `swiftshader`: SwiftShader, another driver for the CPU, which npm can bring
 * - `software`: any other driver for the CPU, such as WARP on Windows
 */
export const ADAPTER_KINDS = ["hardware", "llvmpipe", "swiftshader", "software"] as const;

/** One of {@linkcode ADAPTER_KINDS}. */
export type AdapterKind = typeof ADAPTER_KINDS[number];

/** The kinds that `--adapter` takes. */
export const ADAPTER_CHOICES = ["hardware", "llvmpipe", "swiftshader"] as const;

/** A kind that a person can ask for by name. */
export type AdapterChoice = typeof ADAPTER_CHOICES[number];

/** What a probe found out about the adapter it was given. */
export interface AdapterReport {
  /** The driver's own name for it. */
  readonly name: string;
  /** What stands behind it. */
  readonly kind: AdapterKind;
  /** Whether shaders may compute in f16. */
  readonly f16: boolean;
}

/** One way to get an adapter. */
export interface Candidate {
  /** The kind this way is meant to give. */
  readonly choice: AdapterChoice;
  /** The kinds that count as success. */
  readonly accepts: readonly AdapterKind[];
  /** Environment variables that make the Vulkan loader offer it. */
  readonly environment: Readonly<Record<string, string>>;
}

/** The facts about a machine that decide what can be tried on it. */
export interface Machine {
  /** As in `Deno.build.os`. */
  readonly os: string;
  /** As in `Deno.build.arch`. */
  readonly arch: string;
  /** The fields ID and ID_LIKE of /etc/os-release, in that order; empty where there is none. */
  readonly families: readonly string[];
  /** Manifests of Mesa's llvmpipe driver found on the machine. */
  readonly llvmpipeManifests: readonly string[];
  /** Where SwiftShader is, or will be once it is needed. */
  readonly swiftShaderFolder: string;
}

/** Tells the kind of an adapter from what it says about itself. */
export function classifyAdapter(name: string, isFallback: boolean): AdapterKind {
  if (/llvmpipe/i.test(name)) return "llvmpipe";
  if (/swiftshader/i.test(name)) return "swiftshader";
  // WARP calls itself this, and not every version of wgpu reports it as a fallback.
  if (isFallback || /microsoft basic render/i.test(name)) return "software";
  return "hardware";
}

/** Whether npm's SwiftShader runs on a machine: the package holds libraries for x86-64 Linux. */
export function swiftShaderRunsOn(machine: Machine): boolean {
  return machine.os === "linux" && machine.arch === "x86_64";
}

/**
 * The ways to try, in order: a real GPU, an installed software driver, SwiftShader.
 *
 * @param machine The machine to try them on.
 * @param choice The one kind wanted; any kind when absent.
 */
export function adapterCandidates(machine: Machine, choice?: AdapterChoice): Candidate[] {
  // Without this, wgpu falls back to OpenGL ES where Vulkan has no driver, with fewer features.
  const vulkan: Record<string, string> = machine.os === "linux"
    ? { DENO_WEBGPU_BACKEND: "vulkan" }
    : {};
  const candidates: Candidate[] = [
    { choice: "hardware", accepts: ["hardware"], environment: vulkan },
    {
      choice: "llvmpipe",
      // Asked for by name, it must be that driver; otherwise any installed software driver will do.
      accepts: choice === undefined ? ["llvmpipe", "software", "swiftshader"] : ["llvmpipe"],
      environment: { ...vulkan, ...driverFiles(machine.llvmpipeManifests) },
    },
  ];
  if (swiftShaderRunsOn(machine)) {
    const folder = machine.swiftShaderFolder;
    candidates.push({
      choice: "swiftshader",
      accepts: ["swiftshader"],
      environment: {
        ...vulkan,
        ...driverFiles([`${folder}/vk_swiftshader_icd.json`]),
        // It brings the Vulkan loader too, which a machine without any driver may lack.
        LD_LIBRARY_PATH: folder,
      },
    });
  }
  return candidates.filter((candidate) => choice === undefined || candidate.choice === choice);
}

function driverFiles(manifests: readonly string[]): Record<string, string> {
  if (manifests.length === 0) return {};
  const list = manifests.join(":");
  // Loaders before 1.3.207 know only the second name.
  return { VK_DRIVER_FILES: list, VK_ICD_FILENAMES: list };
}

/** The one line that says which adapter is in use. */
export function adapterLine(report: AdapterReport): string {
  const backing = report.kind === "hardware" ? "hardware" : "software";
  const kind = report.kind === "hardware" || report.kind === "software" ? "" : `${report.kind}, `;
  return `Adapter: ${report.name} (${kind}${backing}, ${report.f16 ? "f16" : "no f16"})`;
}

/** Commands that install Mesa's software driver, by the family names of os-release. */
const LLVMPIPE_INSTALLS: Readonly<Record<string, string>> = {
  debian: "sudo apt-get install mesa-vulkan-drivers",
  ubuntu: "sudo apt-get install mesa-vulkan-drivers",
  fedora: "sudo dnf install mesa-vulkan-drivers",
  rhel: "sudo dnf install mesa-vulkan-drivers",
  arch: "sudo pacman -S vulkan-swrast",
  suse: "sudo zypper install libvulkan_lvp",
  opensuse: "sudo zypper install libvulkan_lvp",
  alpine: "sudo apk add vulkan-loader mesa-vulkan-swrast",
};

/** What a person can do on a machine where no adapter, or not the wanted one, works. */
export function adapterRemedy(machine: Machine, choice?: AdapterChoice): string {
  if (choice === "hardware") return hardwareRemedy(machine);
  if (machine.os === "linux") {
    if (choice === "swiftshader") return swiftShaderRemedy(machine);
    const install = machine.families.map((family) => LLVMPIPE_INSTALLS[family])
      .find((command) => command !== undefined);
    return install === undefined
      ? "Install Mesa's Vulkan drivers (llvmpipe, also called lavapipe) with the system's package manager"
      : `Install a software driver: ${install}`;
  }
  return choice === undefined
    ? hardwareRemedy(machine)
    : `Leave out --adapter ${choice}: this project starts it on Linux only`;
}

function swiftShaderRemedy(machine: Machine): string {
  return swiftShaderRunsOn(machine)
    ? "Check that the npm registry can be reached and that the checkout can be written to"
    : "Leave out --adapter swiftshader: npm's package is for Linux on x86-64 only";
}

function hardwareRemedy(machine: Machine): string {
  if (machine.os === "darwin") {
    return "Run on a Mac with Metal, outside a virtual machine that has no GPU";
  }
  if (machine.os === "windows") {
    return "Update the graphics driver, or install the current Windows updates for DirectX 12";
  }
  return "Install the GPU's Vulkan driver (Mesa, or the vendor's own) and check it with vulkaninfo, " +
    "or leave out --adapter hardware";
}

/** Takes `--adapter KIND` out of a command's arguments, up to `--`; everything else is passed on. */
export function takeAdapterChoice(
  args: readonly string[],
): { choice: AdapterChoice | undefined; rest: string[] } {
  const rest: string[] = [];
  let choice: AdapterChoice | undefined;
  for (let index = 0; index < args.length; index++) {
    const arg = args[index]!;
    if (arg === "--") {
      rest.push(...args.slice(index));
      break;
    }
    if (arg === "--adapter") choice = adapterChoice(args[++index]);
    else if (arg.startsWith("--adapter=")) choice = adapterChoice(arg.slice("--adapter=".length));
    else rest.push(arg);
  }
  return { choice, rest };
}

function adapterChoice(value: string | undefined): AdapterChoice {
  const choice = ADAPTER_CHOICES.find((known) => known === value);
  if (choice === undefined) {
    throw new RangeError(
      `--adapter must be one of ${ADAPTER_CHOICES.join(", ")}: current value is ${value ?? "none"}`,
    );
  }
  return choice;
}
