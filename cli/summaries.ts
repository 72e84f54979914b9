/** The commands that have modules of their own, and the summary of each. */
export const SUMMARIES = {
  "kernels list": "Lists all kernels, or those that match every given filter.",
  "kernels show": "Shows what a kernel does, binds, needs of a device, and costs.",
  "kernels explain":
    "Explains which kernels a layer gets: the candidates, their costs, and why others are not chosen.",
  "kernels diff": "Compares the WGSL of two kernels, as a unified diff.",
  "generate":
    "Generates kernels that the package lacks, with a manifest for planCache()'s kernels.",
  "plan":
    "Plans a model's cache: bytes, the limits to request from an adapter, kernels, and the same in f16.",
  "calibrate samples": "Learns codebooks from samples of a model's keys and values.",
  "codebooks info": "Prints what a file of codebooks holds, after checking every byte of it.",
  "codebooks verify":
    "Checks a file of codebooks, and whether they are those of a model: its files' digest and its shapes.",
  "snapshot info": "Prints what a snapshot of a sequence holds, after checking every byte of it.",
  "doctor": "Lists the WebGPU adapters and the kernels they run, and computes attention on each.",
} as const satisfies Readonly<Record<string, string>>;

/** The words that call a command: its groups' names and its own. */
export type CommandName = keyof typeof SUMMARIES;
