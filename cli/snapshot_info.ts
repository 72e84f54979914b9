import type { Command } from "commander";
import { z } from "zod";
import { inspectSnapshot, type SnapshotInfo } from "../src/snapshots/file.ts";
import { type Answer, type Answering, createCommand } from "./command.ts";
import { readFile } from "./files.ts";
import { parseJson } from "./json.ts";
import { formatBytes } from "./format_bytes.ts";
import { formatTable } from "./table.ts";

/** `couplet snapshot info`. */
export function command(answering: Answering): Command {
  return createCommand("snapshot info", {
    examples: ["snapshot info prompt.couplet", "snapshot info prompt.couplet --json"],
  })
    .argument("<file>", "a snapshot, as snapshotSequence() gives it")
    .action(answering(describeSnapshot));
}

async function describeSnapshot(path: string): Promise<Answer> {
  const source = {
    what: `the snapshot ${path}`,
    remedy: "Give the path of a file that holds a snapshot",
  };
  const { info, bytes } = await readFile(path, source, async (bytes) => ({
    info: await inspectSnapshot(bytes),
    bytes: bytes.length,
  }));
  const plan = parseJson(source, z.record(z.string(), z.unknown()), info.plan);
  return {
    data: { ...info, plan, bytes },
    text: (width) =>
      formatTable([
        [
          "model",
          info.model === undefined ? "not told" : `${info.model.name} (${info.model.digest})`,
        ],
        ["tokens", `${info.length}, exact from ${info.exactFrom}${codedFrom(info)}`],
        ["file", formatBytes(bytes)],
        ["prompt", info.prompt ?? "not told"],
        ["plan", info.planFingerprint],
        ["codebooks", info.codebookFingerprint],
        ...Object.entries(plan).map((
          [name, value],
        ) => [`  ${name}`, JSON.stringify(value)]),
      ], { width }),
  };
}

/** Where coded tokens begin, if not with the first: in layers with a sliding window. */
function codedFrom({ codedFrom }: SnapshotInfo): string {
  return codedFrom.every((first) => first === 0)
    ? ""
    : `, coded from ${codedFrom.join(" and ")} behind the sinks, by sliding window`;
}
