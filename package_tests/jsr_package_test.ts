/** The package that JSR gets: what it holds, and what programs fetch of it. */
import assert from "node:assert/strict";
import { kernels as c8b8 } from "../generated/c8b8/c8b8_d128.ts";
import { manifest } from "../generated/manifest.ts";
import { publishedFiles } from "../tools/jsr_package.ts";
import { publishedPage } from "../tools/publication.ts";
import { ROOT } from "../tools/project.ts";
import { FOLDER, type Outcome, PACKAGE, serveRegistry } from "./registry.ts";

/** What each of these programs stays below. */
const MOST = { requests: 195, bytes: 1_500_000 };

/** The kernels that a program fetched, by name. */
function fetchedKernels({ requests }: Outcome): string[] {
  return requests.flatMap(({ path }) => /([^/]+)\.wgsl\.ts$/.exec(path)?.[1] ?? []).sort();
}

const PROGRAMS: readonly {
  readonly name: string;
  readonly args: readonly string[];
  readonly prints: RegExp;
  readonly kernels: readonly string[];
}[] = [
  {
    name: "a program that imports the library",
    args: [
      "eval",
      `import { parseScheme } from "${PACKAGE}"; console.log(parseScheme("c8b8").id);`,
    ],
    prints: /^c8b8$/,
    kernels: [],
  },
  {
    name: "a program that imports a kernel set",
    args: [
      "eval",
      `import { kernels } from "${PACKAGE}/kernels/c8b8_d128"; console.log(kernels.length);`,
    ],
    prints: new RegExp(`^${c8b8.length}$`),
    kernels: c8b8.map(({ name }) => name).sort(),
  },
  {
    name: "couplet --help",
    args: ["run", "-A", `${PACKAGE}/cli`, "--help"],
    prints: /^Usage: couplet/,
    kernels: [],
  },
];

/** Runs `act` with a registry, and an empty folder to run programs in. */
async function withRegistry(
  act: (run: (args: readonly string[]) => Promise<Outcome>) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "couplet_requests_" });
  try {
    await using registry = await serveRegistry();
    await act((args) => registry.run(folder, args));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the published package is fetched by what a program uses: no kernels but its set's", async (test) => {
  await withRegistry(async (run) => {
    for (const { name, args, prints, kernels } of PROGRAMS) {
      await test.step(name, async () => {
        const outcome = await run(args);
        assert.match(outcome.output, prints);
        assert.deepEqual(fetchedKernels(outcome), kernels);
        const { length } = outcome.requests;
        const bytes = outcome.requests.reduce((sum, request) => sum + request.bytes, 0);
        assert.ok(length < MOST.requests, `${length} requests`);
        assert.ok(bytes < MOST.bytes, `${bytes} bytes`);
      });
    }
  });
});

Deno.test("couplet kernels show --wgsl prints whole kernels of the published package, which has them minified", async () => {
  await withRegistry(async (run) => {
    const [kernel] = manifest;
    const show = await run([
      "run",
      "-A",
      `${PACKAGE}/cli`,
      "kernels",
      "show",
      kernel!.name,
      "--wgsl",
    ]);
    assert.equal(show.output, (await kernel!.load()).wgsl.trim());
    const load =
      `import { manifest } from "${PACKAGE}/kernels"; console.log((await manifest[0].load()).wgsl);`;
    assert.doesNotMatch((await run(["eval", load])).output, /\n|\/\//);
  });
});

Deno.test("the published package has the repository's files, but for kernels, which say where they can be read, and pages' links", async () => {
  await using _registry = await serveRegistry();
  for (const path of publishedFiles()) {
    const published = await Deno.readFile(`${ROOT}${FOLDER}/${path}`);
    const own = await Deno.readFile(ROOT + path);
    if (path === "deno.json") continue;
    const [, name] = /([^/]+)\.wgsl\.ts$/.exec(path) ?? [];
    const text = new TextDecoder().decode(published);
    if (path.endsWith(".md")) {
      const page = publishedPage(path, new TextDecoder().decode(own), publishedFiles());
      assert.equal(text, page, path);
      continue;
    }
    if (name === undefined) {
      assert.deepEqual(published, own, path);
      continue;
    }
    assert.ok(text.includes(`couplet kernels show ${name} --wgsl`) && text.includes(path), path);
    assert.ok(published.length < own.length, path);
  }
});
