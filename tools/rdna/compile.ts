/**
 * Compiles one SPIR-V module with the Vulkan driver of the environment and prints its statistics as JSON.
 * Run by `../rdna.ts` in a process of its own.
 *
 * @module
 */
import { Device } from "./vulkan.ts";

const [path, entryPoint] = Deno.args;
const statistics = new Device().compile(await Deno.readFile(path!), entryPoint!);
console.log(JSON.stringify([...statistics]));
