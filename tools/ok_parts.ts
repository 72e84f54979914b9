/**
 * The parts of `deno task ok`: Deno's arguments for each.
 *
 * @module
 */

import config from "../deno.json" with { type: "json" };

/** One thing a change must pass. */
export interface Part {
  /** Its name, for `--only` and `--skip`. */
  readonly name: string;
  /** Deno's arguments, one list per command; all must succeed. */
  readonly commands: readonly (readonly string[])[];
  /** Whether its output, or its first command's, shows as it comes, and not only where it fails. */
  readonly live?: boolean | "first";
}

/** The small projects with their own `deno.json`, which the checks of the main one do not reach. */
const PROJECTS: readonly string[] = [
  "examples/explorer/page",
  "examples/hosts/node_dawn",
  "examples/hosts/onnxruntime_web",
  "examples/hosts/transformers_js",
  "examples/playground/page",
  "tools/swiftshader",
  "tools/texts",
  "tools/tint",
];

/** The modules of the package's entries. */
const ENTRIES: readonly string[] = Object.values(config.exports);

/** The parts, cheap ones first. */
export const PARTS: readonly Part[] = [
  {
    name: "lock",
    commands: [["ci", "--quiet"], ["run", "-A", "tools/check_lock.ts"]],
  },
  {
    name: "fmt",
    commands: [["fmt", "--check"], ...inProjects(["fmt", "--check"])],
  },
  {
    name: "lint",
    commands: [["lint"], ...inProjects(["lint"])],
  },
  {
    name: "check",
    commands: [["check"], ...inProjects(["check", "--frozen"])],
  },
  {
    name: "doc-lint",
    commands: [["doc", "--lint", ...ENTRIES]],
  },
  {
    name: "generate",
    commands: [["run", "-A", "codegen/main.ts", "generate", "--check"]],
  },
  {
    name: "publish",
    commands: [
      ["run", "-A", "tools/jsr.ts"],
      // Uncommitted changes are no reason to fail: the parts run before a commit, too.
      ["publish", "--dry-run", "--allow-dirty", "--config", "dist/jsr/deno.json"],
    ],
    live: "first",
  },
  {
    name: "bundle",
    commands: [["run", "-A", "tools/bundle.ts"]],
    // It says what misses its goal without failing.
    live: true,
  },
  {
    name: "test",
    commands: [["run", "-A", "tools/launch.ts", "test"]],
    live: true,
  },
  {
    name: "doc-test",
    // Every entry has an example; others stand beside what they show.
    commands: [
      [
        "run",
        "-A",
        "tools/launch.ts",
        "test",
        "--doc",
        ...ENTRIES,
        "src/",
        "README.md",
        "docs/",
      ],
    ],
    live: true,
  },
  {
    name: "package",
    commands: [["test", "-A", "package_tests/"]],
    live: true,
  },
];

/**
 * The parts that `--only` and `--skip` leave, in their own order, or a message about a name that no
 * part has.
 */
export function selectParts(options: { only?: string; skip?: string }): Part[] | string {
  const only = options.only?.split(",") ?? PARTS.map((part) => part.name);
  const skip = options.skip?.split(",") ?? [];
  for (const name of [...only, ...skip]) {
    if (!PARTS.some((part) => part.name === name)) {
      return `No part is named "${name}": ${PARTS.map((part) => part.name).join(", ")} are`;
    }
  }
  return PARTS.filter((part) => only.includes(part.name) && !skip.includes(part.name));
}

function inProjects(args: readonly string[]): string[][] {
  return PROJECTS.map((folder) => [...args, "--config", `${folder}/deno.json`, folder]);
}
