/**
 * Finds the adapter to run on: tries the candidates of `adapters.ts` one after the other, each in a
 * child process with the environment it needs.
 *
 * @module
 */
import { existsSync } from "node:fs";
import {
  adapterCandidates,
  type AdapterChoice,
  adapterRemedy,
  type AdapterReport,
  type Candidate,
  type Machine,
} from "./adapters.ts";
import { ROOT, runDeno, runProject } from "./project.ts";
import swiftShaderProject from "./swiftshader/deno.json" with { type: "json" };

/** An adapter that works, and the environment in which a program gets it. */
export interface FoundAdapter {
  readonly report: AdapterReport;
  readonly environment: Readonly<Record<string, string>>;
}

/** No adapter works; the message says what was tried and what to do. */
export class NoAdapterError extends Error {
  override readonly name = "NoAdapterError";
}

/** The package's version names the folder, so that an update unpacks anew. */
const SWIFT_SHADER_VERSION: string = swiftShaderProject.imports["@sparticuz/chromium"]
  .replace(/^.*@/, "");

/**
 * Finds the first adapter that works.
 *
 * @param choice The one kind wanted; the first of any kind when absent.
 * @throws {NoAdapterError} where none works, or not the wanted one.
 */
export async function findAdapter(choice?: AdapterChoice): Promise<FoundAdapter> {
  const machine = readMachine();
  const failures: string[] = [];
  for (const candidate of adapterCandidates(machine, choice)) {
    try {
      if (candidate.choice === "swiftshader") await fetchSwiftShader(machine.swiftShaderFolder);
      const environment = { ...withLibraries(candidate.environment), ...runtimeFolder(machine) };
      const report = await probe(candidate, environment);
      return { report, environment };
    } catch (error) {
      failures.push(
        `  ${candidate.choice}: ${error instanceof Error ? error.message : String(error)}`,
      );
    }
  }
  const wanted = choice === undefined ? "No WebGPU adapter works" : `No ${choice} adapter works`;
  throw new NoAdapterError(
    [`${wanted} on this machine:`, ...failures, adapterRemedy(machine, choice)].join("\n"),
  );
}

async function probe(
  candidate: Candidate,
  environment: Record<string, string>,
): Promise<AdapterReport> {
  const output = await runDeno(["run", "-A", "--no-lock", `${ROOT}tools/probe_adapter.ts`], {
    environment,
    // A driver that hangs must not keep the others from being tried.
    signal: AbortSignal.timeout(60_000),
  });
  const report: AdapterReport = JSON.parse(output);
  if (!candidate.accepts.includes(report.kind)) {
    throw new Error(`found only "${report.name}" (${report.kind})`);
  }
  return report;
}

/** Brings SwiftShader into its folder, once. */
async function fetchSwiftShader(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  console.error("Fetching SwiftShader from npm, 67 MB, once ...");
  await runProject("swiftshader", "extract.ts", [folder]);
}

function readMachine(): Machine {
  return {
    os: Deno.build.os,
    arch: Deno.build.arch,
    families: readFamilies(),
    llvmpipeManifests: Deno.build.os === "linux" ? findDriverManifests("lvp|lavapipe") : [],
    swiftShaderFolder: `${ROOT}.cache/swiftshader-${SWIFT_SHADER_VERSION}`,
  };
}

function readFamilies(): string[] {
  try {
    const text = Deno.readTextFileSync("/etc/os-release");
    const field = (name: string): string =>
      text.match(new RegExp(`^${name}="?([^"\n]*)"?$`, "m"))?.[1] ?? "";
    return `${field("ID")} ${field("ID_LIKE")}`.split(" ").filter((family) => family !== "");
  } catch {
    return [];
  }
}

/**
 * Looks for drivers where the Vulkan loader does.
 *
 * @param names What their manifests' names begin with, as alternatives of a regular expression.
 */
export function findDriverManifests(names: string): string[] {
  const manifest = new RegExp(`^(${names})_icd.*\\.json$`);
  const folders = ["/usr/share", "/usr/local/share", "/etc", `${Deno.env.get("HOME")}/.local/share`]
    .map((folder) => `${folder}/vulkan/icd.d`).filter(existsSync);
  return folders.flatMap((folder) =>
    [...Deno.readDirSync(folder)]
      // On a machine with several architectures the loader skips the manifests that are not its own.
      .filter((entry) => manifest.test(entry.name))
      .map((entry) => `${folder}/${entry.name}`)
  );
}

/** Library folders that the person's own environment names stay, behind the candidate's. */
function withLibraries(environment: Readonly<Record<string, string>>): Record<string, string> {
  const { LD_LIBRARY_PATH: added, ...rest } = environment;
  if (added === undefined) return rest;
  const own = Deno.env.get("LD_LIBRARY_PATH");
  return { ...rest, LD_LIBRARY_PATH: own ? `${added}:${own}` : added };
}

/** Mesa complains on every start where this folder is not set, as in most containers. */
function runtimeFolder(machine: Machine): Record<string, string> {
  if (machine.os !== "linux" || Deno.env.get("XDG_RUNTIME_DIR")) return {};
  const folder = `${ROOT}.cache/runtime`;
  try {
    Deno.mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch {
    // In a checkout that cannot be written to, its complaint is the smaller evil.
    return {};
  }
  return { XDG_RUNTIME_DIR: folder };
}
