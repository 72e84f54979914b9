/** docs/choosing.md against the README's measurements and the planner. */
import assert from "node:assert/strict";
import { parseScheme, planCache, recordBits } from "../../mod.ts";
import { benchKernels } from "../../bench/measure/kernels.ts";
import { PUBLISHED_LOSSES } from "../../cli/published_losses.ts";

const [CHOOSING, README] = await Promise.all(
  ["docs/choosing.md", "README.md"].map((path) =>
    Deno.readTextFile(new URL(`../../${path}`, import.meta.url))
  ),
) as [string, string];

/** Rows of a table, without its head, as cells without marks of code and separators of thousands. */
function rowsBehind(heading: string): string[][] {
  const [, text] = CHOOSING.split(`\n## ${heading}\n`);
  const rows = text!.split("\n## ")[0]!.split("\n").filter((line) => line.startsWith("| "));
  return rows.slice(2).map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.replaceAll("`", "").replaceAll(",", "").trim())
  );
}

Deno.test("docs/choosing.md: bits and sizes are the planner's", () => {
  const rows = rowsBehind("Memory: nominal and effective bits");
  assert.ok(rows.length > 8);
  for (const [id, nominal, ...figures] of rows) {
    const scheme = parseScheme(id!).id;
    const plans = [4096, 32768, 131072].map((tokens) =>
      planCache({
        shape: { layers: 32, queryHeads: 32, keyValueHeads: 8, headDim: 128 },
        policy: { keys: scheme, values: scheme },
        keys: { space: "as-scored" },
        tiers: { sinks: 0, window: 0 },
        capacity: {
          sequences: 1,
          tokens,
          sequenceTokens: tokens,
          stepTokens: 1,
          appendTokens: 1,
        },
        kernels: benchKernels([scheme], 128),
      })
    );
    const { bytes } = plans[2]!;
    assert.deepEqual(figures, [
      ...plans.map(({ effectiveBits }) => effectiveBits.toFixed(2)),
      `${Math.floor((bytes.total - bytes.scratch) / 2 ** 20)}`,
    ], scheme!);
    assert.equal(Number(nominal), recordBits(parseScheme(scheme!).layout(128), 128));
  }
});

Deno.test("docs/choosing.md: quality is what the README's run measured", () => {
  const measured = new Map(
    README.split("\n").map((line) => line.split("|").map((part) => part.trim()))
      .filter((parts) => parts.length === 3)
      .map(([schemes, alone, window]) => {
        const figures = (text: string) => /([+-][\d.]+)%\s+([\d.]+)/.exec(text)?.slice(1) ?? [];
        return [schemes!, [...figures(alone!), ...figures(window!)]];
      }),
  );
  const rows = rowsBehind("Quality");
  assert.ok(rows.length > 8);
  for (const [schemes, _bits, ...figures] of rows) {
    const stated = figures.map((figure) => figure.replace(" %", ""));
    assert.deepEqual(stated, measured.get(schemes!.replace(" ", "/")), schemes!);
  }
});

/** Schemes, change of the perplexity in percent, and KL divergence of the page's tables of losses. */
function statedLosses(): { readonly everyToken: readonly string[]; readonly alone: string[] } {
  const figure = (schemes: string, perplexity: string, divergence: string) =>
    `${schemes.replace(" ", "/")} ${Number(perplexity)} ${Number(divergence)}`;
  const percent = (cell: string) => /^[+-][\d.]+/.exec(cell)![0];
  const everyToken = rowsBehind("Every token coded").filter((row) => /^\+.* %$/.test(row[1]!))
    .filter((row) => row.length === 10)
    .map(([scheme, perplexity, divergence]) => figure(scheme!, percent(perplexity!), divergence!));
  const measured = rowsBehind("Quality").map(([schemes, _bits, perplexity, divergence]) =>
    figure(schemes!, percent(perplexity!), divergence!)
  );
  const [, text] = CHOOSING.split("\n## Without calibration\n");
  const dataFree = [...text!.matchAll(
    /^(\S+) +[\d.]+ \|[^|]+\| +[\d.]+ +([+-][\d.]+)% +([\d.]+)/gm,
  )].map(([, schemes, perplexity, divergence]) => figure(schemes!, perplexity!, divergence!));
  return { everyToken, alone: [...measured, ...dataFree] };
}

Deno.test("docs/choosing.md: losses are those that couplet plan compares", () => {
  const { everyToken, alone } = statedLosses();
  assert.ok(everyToken.length > 8 && alone.length > 15);
  const named = (coded: boolean) =>
    PUBLISHED_LOSSES.filter((loss) => loss.everyToken === coded)
      .map(({ keys, values, perplexity, divergence }) =>
        `${keys === values ? keys : `${keys}/${values}`} ${
          Number((perplexity * 100).toFixed(1))
        } ${divergence}`
      );
  assert.deepEqual(named(true).sort(), everyToken.toSorted());
  const first = (line: string) => line.split(" ")[0]!;
  const covered = everyToken.map(first);
  assert.deepEqual(
    named(false).sort(),
    alone.filter((line) => !covered.includes(first(line))).sort(),
  );
});
