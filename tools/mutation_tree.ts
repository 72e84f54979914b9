/**
 * A copy of the checkout in which mutations are made, so that the checkout itself stays as it is.
 *
 * @module
 */
import picomatch from "picomatch";
import { dirname } from "node:path";
import type { Mutation } from "./mutations/mutation.ts";
import { ROOT } from "./project.ts";

/** How often a text is found in another. */
export function occurrences(text: string, find: string): number {
  return text.split(find).length - 1;
}

/** What a mutation makes of its file. */
export function mutate(text: string, { name, file, find, replace }: Mutation): string {
  const count = occurrences(text, find);
  if (count !== 1) throw new Error(`${name}: its text is found ${count} times in ${file}`);
  return text.replace(find, () => replace);
}

/** A folder with the checkout's files, those that are not committed included. */
export class MutationTree {
  /** The folder, with a slash at its end. */
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async create(): Promise<MutationTree> {
    const folder = `${await Deno.makeTempDir({ prefix: "couplet-mutate-" })}/`;
    const made = new Set<string>();
    for (const path of await checkoutFiles()) {
      const to = `${folder}${path}`;
      const parent = dirname(to);
      if (!made.has(parent)) await Deno.mkdir(parent, { recursive: true });
      made.add(parent);
      await Deno.copyFile(`${ROOT}${path}`, to);
    }
    return new MutationTree(folder);
  }

  /** Runs `act` with a mutation in place, and takes it back. */
  async with<T>(mutation: Mutation, act: () => Promise<T>): Promise<T> {
    const { file, generate } = mutation;
    const originals = new Map<string, string>();
    for (const path of [file, ...await this.#kernelFiles(generate)]) {
      originals.set(path, await Deno.readTextFile(`${this.folder}${path}`));
    }
    await Deno.writeTextFile(`${this.folder}${file}`, mutate(originals.get(file)!, mutation));
    try {
      if (generate !== undefined) await this.#generate(generate);
      return await act();
    } finally {
      for (const [path, text] of originals) await Deno.writeTextFile(`${this.folder}${path}`, text);
    }
  }

  async remove(): Promise<void> {
    await Deno.remove(this.folder, { recursive: true });
  }

  async #generate(only: string): Promise<void> {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "codegen/main.ts", "generate", "--only", only],
      cwd: this.folder,
      stdin: "null",
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
  }

  /** The files of kernels whose names match. */
  async #kernelFiles(only: string | undefined): Promise<readonly string[]> {
    if (only === undefined) return [];
    const matches = picomatch(only);
    const paths: string[] = [];
    for await (const folder of Deno.readDir(`${this.folder}generated`)) {
      if (!folder.isDirectory) continue;
      for await (const { name } of Deno.readDir(`${this.folder}generated/${folder.name}`)) {
        const kernel = /^(.+)\.wgsl\.ts$/.exec(name)?.[1];
        if (kernel !== undefined && matches(kernel)) paths.push(`generated/${folder.name}/${name}`);
      }
    }
    return paths;
  }
}

/** The paths of all files that git does not ignore. */
async function checkoutFiles(): Promise<readonly string[]> {
  const { success, stdout } = await new Deno.Command("git", {
    args: ["ls-files", "-z", "--cached", "--others", "--exclude-standard"],
    cwd: ROOT,
  }).output();
  if (!success) throw new Error("git cannot list the checkout's files");
  const paths = new TextDecoder().decode(stdout).split("\0").filter((path) => path !== "");
  const found = await Promise.all(
    paths.map((path) => Deno.stat(`${ROOT}${path}`).then(({ isFile }) => isFile, () => false)),
  );
  return paths.filter((_, i) => found[i]);
}
