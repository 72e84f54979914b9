/**
 * What the launcher changes in a program's environment, and how the program undoes it for others that it starts. A
 * browser must not get the drivers that were chosen for Deno: it brings its own, and finds no adapter among others.
 *
 * @module
 */

/** The variable that tells a program what the launcher replaced, as JSON; null stands for no value. */
const REPLACED_VARIABLE = "COUPLET_REPLACED";

/** Variables by name. */
export type Variables = Readonly<Record<string, string>>;

/**
 * What Mesa's llvmpipe is told where tests run. They compile many hundreds of kernels and run each for a moment, so
 * that LLVM's optimiser takes longer than it saves.
 */
export const TEST_ENVIRONMENT: Variables = { GALLIVM_PERF: "nopt" };

/**
 * The variables to start a program with, besides the launcher's own.
 *
 * @param own The launcher's own.
 * @param changes What the program is to have instead.
 */
export function launchEnvironment(own: Variables, changes: Variables): Variables {
  const replaced = Object.keys(changes).map((name) => [name, own[name] ?? null]);
  return {
    ...changes,
    // A launcher may have been started by another, whose changes are to be undone as well.
    [REPLACED_VARIABLE]: JSON.stringify({ ...Object.fromEntries(replaced), ...readReplaced(own) }),
  };
}

/**
 * The environment that the launcher was started in; a program's own where no launcher started it.
 *
 * @param own The program's own.
 */
export function outerEnvironment(own: Variables): Variables {
  const outer = { ...own };
  delete outer[REPLACED_VARIABLE];
  for (const [name, value] of Object.entries(readReplaced(own))) {
    if (value === null) delete outer[name];
    else outer[name] = value;
  }
  return outer;
}

function readReplaced(own: Variables): Readonly<Record<string, string | null>> {
  return JSON.parse(own[REPLACED_VARIABLE] ?? "{}");
}
