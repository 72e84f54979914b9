/**
 * `deno task mutate`: makes one mistake after the other in a copy of the checkout, and says which of them the tests notice.
 *
 * Usage: `deno task mutate [--only GLOB] [--list] [--adapter KIND]`
 *
 * @module
 */
import { Command } from "commander";
import picomatch from "picomatch";
import { adapterLine, takeAdapterChoice } from "./adapters.ts";
import { ADAPTER_VARIABLE } from "./adapter.ts";
import { findAdapter } from "./find_adapter.ts";
import { launchEnvironment, TEST_ENVIRONMENT } from "./launch_environment.ts";
import { MutationTree } from "./mutation_tree.ts";
import { type Mutation, type TestRun, testRuns } from "./mutations/mutation.ts";
import { MUTATIONS } from "./mutations/mutations.ts";

/** Milliseconds after which a test file that has not ended counts as one that failed. */
const TIME_LIMIT = 900_000;

/** What became of a mutation. */
interface Outcome {
  readonly mutation: Mutation;
  /** The test that failed; absent where none did. */
  readonly killer?: string;
  readonly seconds: number;
}

const { choice, rest } = takeAdapterChoice(Deno.args);
const program: Command = new Command("deno task mutate")
  .description(
    "Makes mistakes in a copy of the checkout, one at a time, and runs the tests that should notice.",
  )
  .option("--only <glob>", "mutations whose name matches, such as 'sizes/*'")
  .option("--list", "print the mutations, and run nothing")
  .parse(rest, { from: "user" });
const { only = "**", list = false } = program.opts<{ only?: string; list?: boolean }>();

const chosen = MUTATIONS.filter(({ name }) => picomatch.isMatch(name, only));
if (chosen.length === 0) program.error(`No mutation's name matches "${only}"`);
if (list) {
  for (const { name, file } of chosen) console.log(`${name}  ${file}`);
  Deno.exit(0);
}

const { report, environment } = await findAdapter(choice);
console.error(adapterLine(report));
const tree = await MutationTree.create();
/** Runs of tests that are known to pass without a mutation. */
const sound = new Set<string>();
let failed = false;
try {
  const outcomes: Outcome[] = [];
  for (const mutation of chosen) {
    const outcome = await judge(mutation);
    outcomes.push(outcome);
    console.log(describe(outcome));
  }
  failed = summarise(outcomes);
} finally {
  await tree.remove();
}
Deno.exit(failed ? 1 : 0);

async function judge(mutation: Mutation): Promise<Outcome> {
  const start = performance.now();
  const killer = await tree.with(mutation, async () => {
    for (const run of testRuns(mutation)) {
      const { failure, passed } = await runTests(run);
      if (failure !== undefined) return { run, failure };
      if (passed === 0) throw new Error(`${describeRun(run)} has no test`);
    }
    return undefined;
  });
  const seconds = Math.round((performance.now() - start) / 1000);
  if (killer === undefined) return { mutation, seconds };
  await checkUnmutated(killer.run);
  return { mutation, killer: `${killer.run.file}: ${killer.failure}`, seconds };
}

/** A test that fails without any mutation tells nothing of one. */
async function checkUnmutated(run: TestRun): Promise<void> {
  const what = describeRun(run);
  if (sound.has(what)) return;
  const { failure } = await runTests(run);
  if (failure !== undefined) throw new Error(`Without a mutation ${what} fails: ${failure}`);
  sound.add(what);
}

function describeRun({ file, filter = "" }: TestRun): string {
  return `${file} ${filter}`.trim();
}

async function runTests(
  { file, filter }: TestRun,
): Promise<{ readonly failure?: string; readonly passed: number }> {
  // Unchecked: a mistake that types tell of needs no test.
  const args = ["test", "-A", "--no-check", "--fail-fast", `tests/${file}`];
  args.push("--preload", "./tools/no_shrinking.ts");
  if (filter !== undefined) args.push("--filter", filter);
  const signal = AbortSignal.timeout(TIME_LIMIT);
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: tree.folder,
    env: launchEnvironment(Deno.env.toObject(), {
      ...environment,
      ...TEST_ENVIRONMENT,
      [ADAPTER_VARIABLE]: report.name,
      NO_COLOR: "1",
    }),
    stdin: "null",
    signal,
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  const passed = Number(/^\w+ \| (\d+) passed/m.exec(decode(stdout))?.[1] ?? 0);
  if (success) return { passed };
  if (signal.aborted) return { failure: "it did not end", passed };
  const failure = /^(.*) => \.\/tests\//m.exec(decode(stdout))?.[1] ??
    /^error: .*$/m.exec(decode(stderr))?.[0] ?? "it ended with an error";
  return { failure, passed };
}

function describe({ mutation: { name, unnoticed }, killer, seconds }: Outcome): string {
  if (killer !== undefined) return `killed    ${name}  (${seconds} s)  ${killer}`;
  return `survived  ${name}  (${seconds} s)${unnoticed === undefined ? "" : `  ${unnoticed}`}`;
}

/** Prints the rate; gives whether an outcome is not as the table says. */
function summarise(outcomes: readonly Outcome[]): boolean {
  const counted = outcomes.filter(({ mutation }) => mutation.unnoticed === undefined);
  const killed = counted.filter(({ killer }) => killer !== undefined);
  const survivors = counted.filter(({ killer }) => killer === undefined);
  const noticed = outcomes.filter(({ mutation, killer }) =>
    mutation.unnoticed !== undefined && killer !== undefined
  );
  const rate = counted.length === 0 ? 100 : (100 * killed.length) / counted.length;
  console.log(`\n${killed.length} of ${counted.length} killed, ${rate.toFixed(0)} %`);
  for (const { mutation } of survivors) {
    console.log(
      `SURVIVED: ${mutation.name}\n  ${mutation.file}\n- ${mutation.find}\n+ ${mutation.replace}`,
    );
  }
  for (const { mutation } of noticed) {
    console.log(`NOTICED, though said not to be: ${mutation.name}`);
  }
  return survivors.length + noticed.length > 0;
}
