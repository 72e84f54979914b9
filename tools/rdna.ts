/**
 * What a GPU's compiler makes of kernels, where there is no GPU: Tint's SPIR-V, as Chrome would hand it over, compiled by Mesa's
 * RADV for one of AMD's chips. Prints registers, waves that run at a time, and the instructions of each innermost loop.
 *
 *     deno run -A tools/rdna.ts attend_c8b8_c8b8_d128_table attend_f16_f16_d128_plain
 *
 * Needs the Debian packages mesa-vulkan-drivers and spirv-tools. Overrides are at their defaults: tiles of eight pages.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { manifest } from "../generated/manifest.ts";
import { findAdapter } from "./find_adapter.ts";
import { runProject } from "./project.ts";
import { innermostLoops } from "./rdna/isa.ts";

/** The chip compiled for, in RADV's word: of RDNA2. */
const CHIP = "navi21";

const DRIVER = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json";

/** Loops of fewer instructions of all lanes are left out: bookkeeping. */
const LEAST = 60;

/** Tint's name for every entry point. */
const ENTRY_POINT = "dawn_entry_point";

async function assemble(wgsl: string, environment: Record<string, string>): Promise<string> {
  const messages = await runProject("tint", "spirv.ts", [], { input: wgsl, environment });
  const assembly = messages.slice(messages.indexOf("Dumped SPIRV disassembly"))
    .split("\n").filter((line) => /^\s*(%|Op)/.test(line)).join("\n");
  const folder = await Deno.makeTempDir({ prefix: "couplet-rdna-" });
  await Deno.writeTextFile(`${folder}/kernel.spvasm`, assembly);
  const { success, stderr } = await new Deno.Command("spirv-as", {
    args: ["--target-env", "vulkan1.1", `${folder}/kernel.spvasm`, "-o", `${folder}/kernel.spv`],
  }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return `${folder}/kernel.spv`;
}

async function compile(path: string) {
  const file = new URL("rdna/compile.ts", import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", file, path, ENTRY_POINT],
    env: {
      VK_DRIVER_FILES: DRIVER,
      VK_ICD_FILENAMES: DRIVER,
      RADV_FORCE_FAMILY: CHIP,
      RADV_DEBUG: "shaders",
      MESA_SHADER_CACHE_DISABLE: "true",
    },
  }).output();
  // The driver disassembles to standard error.
  const disassembly = new TextDecoder().decode(stderr);
  if (!success) throw new Error(disassembly.trim().split("\n").at(-1));
  const statistics = new Map<string, number>(JSON.parse(new TextDecoder().decode(stdout)));
  return { statistics, disassembly };
}

if (!existsSync(DRIVER)) throw new Error(`${DRIVER} is missing: install mesa-vulkan-drivers`);
const swiftShader = await findAdapter("swiftshader");
for (const name of Deno.args) {
  const kernel = manifest.find((kernel) => kernel.name === name);
  if (kernel === undefined) throw new Error(`No kernel is called ${name}`);
  const { wgsl } = await kernel.load();
  const { statistics, disassembly } = await compile(await assemble(wgsl, swiftShader.environment));
  console.log(
    `${name}: ${statistics.get("VGPRs")} registers, ${statistics.get("Spilled VGPRs")} spilled, ${
      statistics.get("Subgroups per SIMD")
    } waves`,
  );
  for (const { vector, loads, workgroup, all } of innermostLoops(disassembly)) {
    if (vector < LEAST) continue;
    console.log(
      `  loop of ${all} instructions: ${vector} arithmetic, ${loads} loads, ${workgroup} of workgroup memory`,
    );
  }
}
