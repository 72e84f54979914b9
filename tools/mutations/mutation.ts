/**
 * What a mutation is: a mistake that the tests must notice.
 *
 * @module
 */

/** One mistake. */
export interface Mutation {
  /** What is wrong, behind the area's name and a slash. */
  readonly name: string;
  /** The file it is made in. */
  readonly file: string;
  /** What is replaced: found exactly once. */
  readonly find: string;
  /** What stands there instead. */
  readonly replace: string;
  /**
   * The tests that should notice, in the order in which they are run: names of files in `tests/` without `_test.ts`, behind
   * a space the filter of `deno test` where not all of the file is needed.
   */
  readonly tests: readonly string[];
  /** For a template, the kernels to generate anew: a glob as `deno task generate --only` takes. */
  readonly generate?: string;
  /** Why no test can notice: it then counts for nothing, and is here so that nobody looks for the test again. */
  readonly unnoticed?: string;
}

/** Some tests of one file. */
export interface TestRun {
  /** The file, in `tests/`. */
  readonly file: string;
  /** As `deno test --filter` takes it; all tests where absent. */
  readonly filter?: string;
}

/** The runs that may notice a mutation. */
export function testRuns({ tests }: Mutation): readonly TestRun[] {
  return tests.map((text) => {
    const [name, ...filter] = text.split(" ");
    const file = `${name}_test.ts`;
    return filter.length === 0 ? { file } : { file, filter: filter.join(" ") };
  });
}

/** What differs from the other rows of a table. */
type Exception = Partial<Pick<Mutation, "tests" | "generate" | "unnoticed">>;

/** Mutations of one file, noticed by the same tests: name, text, replacement. */
export function inFile(
  area: string,
  file: string,
  tests: readonly string[],
  rows: readonly (readonly [name: string, find: string, replace: string, more?: Exception])[],
): readonly Mutation[] {
  return rows.map(([name, find, replace, more]) => ({
    name: `${area}/${name}`,
    file,
    find,
    replace,
    tests,
    ...more,
  }));
}
