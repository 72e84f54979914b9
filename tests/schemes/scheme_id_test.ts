/** The types of schemes' ids beside the ids that parse. */
import assert from "node:assert/strict";
import { Project } from "ts-morph";
import { parseScheme, type Policy, type SchemeId } from "../../mod.ts";
import { ROOT } from "../../tools/project.ts";

/** Texts of the forms that ids have, with all small numbers. */
function* candidates(): Generator<string> {
  yield* ["f16", "f32", "zc3", "zc2"];
  for (const letters of ["c", "u", "t", "v", "n"]) {
    for (let channels = 0; channels <= 33; channels++) {
      for (let bits = 0; bits <= 17; bits++) {
        const id = `${letters}${channels}b${bits}`;
        yield* [id, ...[0, 1, 2, 3, 4, 8].map((stages) => `${id}x${stages}`)];
      }
    }
  }
  for (const letters of ["kc", "kt", "kh", "q", "sc", "k"]) {
    for (let bits = 0; bits <= 17; bits++) {
      const id = `${letters}${bits}`;
      yield* [id, ...[0, 1, 2, 4, 8, 16].map((part) => `${id}p${part}`)];
    }
  }
}

function parses(id: string): boolean {
  try {
    return parseScheme(id).id === id;
  } catch {
    return false;
  }
}

Deno.test("OwnSchemeId is the union of the ids that parse", () => {
  const project = new Project({ compilerOptions: { strict: true } });
  const file = project.addSourceFileAtPath(`${ROOT}src/schemes/scheme.ts`);
  const typed = file.getTypeAliasOrThrow("OwnSchemeId").getType().getUnionTypes()
    .map((type) => type.getLiteralValueOrThrow());
  const parsed = [...candidates()].filter(parses);
  assert.ok(parsed.length > 80, `${parsed.length}`);
  assert.deepEqual(typed.sort(), parsed.sort());
});

Deno.test("Policy takes ids of schemes, of registered ones and of texts that were parsed, and no others", () => {
  const text: string = "c8b8";
  const policies = [
    { keys: "c8b8", values: "n16b8x2" },
    { keys: parseScheme(text).id, values: "f16" },
    // @ts-expect-error: there are no groups of 9 channels.
    { keys: "c9b99", values: "f16" },
    // @ts-expect-error: a text may be anything.
    { keys: text, values: "f16" },
  ] satisfies Policy[];
  const ids: readonly SchemeId[] = policies.slice(0, 2).flatMap(({ keys, values }) => [
    keys as SchemeId,
    values as SchemeId,
  ]);
  assert.ok(ids.every(parses));
});
