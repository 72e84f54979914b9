import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import { parseSchemePairs } from "../../../examples/demo/scheme_pairs.ts";
import { codebookNeeds } from "../../../examples/eval/codebook_store.ts";
import {
  expandMethods,
  type Method,
  methodId,
  type MethodLists,
  uniformPolicy,
} from "../../../examples/eval/methods.ts";

const policies = (list: string) =>
  parseSchemePairs(list).filter(({ id }) => list.split(",").includes(id)).map((pair) =>
    uniformPolicy(pair, false)
  );

const LISTS: MethodLists = {
  policies: policies("c4b8,c8b8"),
  windows: [0, 64],
  sinks: [0, 4],
  weights: ["fisher"],
  spaces: undefined,
  allCoded: false,
};

function accept(): void {}

/** A planner that takes no method of which `refuses` is true. */
function planner(refuses: (method: Method) => boolean): (method: Method) => void {
  return (method) => {
    if (!refuses(method)) return;
    throw new CoupletError("scheme", {
      what: "Cannot plan",
      why: `not in ${method.keySpace}`,
      remedy: "Plan another",
    });
  };
}

function ids(lists: MethodLists, sweep: boolean, check = accept as (method: Method) => void) {
  const { methods, refused } = expandMethods(lists, sweep, check);
  return { methods: methods.map(methodId), refused: refused.map(({ method }) => methodId(method)) };
}

Deno.test("expandMethods pairs windows with sinks", () => {
  assert.deepEqual(ids(LISTS, false).methods, [
    "c4b8 fisher pre-rope window 0 sinks 0",
    "c4b8 fisher pre-rope window 64 sinks 4",
    "c8b8 fisher pre-rope window 0 sinks 0",
    "c8b8 fisher pre-rope window 64 sinks 4",
  ]);
  assert.deepEqual(
    ids({ ...LISTS, policies: policies("c8b8"), windows: [64], sinks: [0, 4, 4] }, false).methods,
    ["c8b8 fisher pre-rope window 64 sinks 0", "c8b8 fisher pre-rope window 64 sinks 4"],
  );
});

Deno.test("expandMethods: a sweep is the product of all lists", () => {
  const lists: MethodLists = {
    ...LISTS,
    weights: ["none", "query", "fisher"],
    spaces: ["pre-rope", "as-scored"],
  };
  const { methods } = ids(lists, true);
  assert.equal(methods.length, 2 * 2 * 2 * 3 * 2);
  assert.equal(new Set(methods).size, methods.length);
  assert.ok(methods.includes("c8b8 query as-scored window 0 sinks 4"));
});

Deno.test("expandMethods: every token coded is one more way of each policy, or the only one", () => {
  const lists = { ...LISTS, policies: policies("c8b8"), allCoded: true };
  assert.deepEqual(ids(lists, false).methods, [
    "c8b8 fisher pre-rope window 0 sinks 0",
    "c8b8 fisher pre-rope window 64 sinks 4",
    "c8b8 fisher pre-rope every token coded",
  ]);
  for (const sweep of [false, true]) {
    assert.deepEqual(ids({ ...lists, windows: [], sinks: [] }, sweep).methods, [
      "c8b8 fisher pre-rope every token coded",
    ]);
  }
});

Deno.test("expandMethods: what learns nothing comes once, whatever the weights", () => {
  const lists: MethodLists = {
    ...LISTS,
    policies: policies("f16,c8b8"),
    windows: [0],
    sinks: [0],
    weights: ["none", "fisher"],
  };
  assert.deepEqual(ids(lists, true).methods, [
    "f16 none pre-rope window 0 sinks 0",
    "c8b8 none pre-rope window 0 sinks 0",
    "c8b8 fisher pre-rope window 0 sinks 0",
  ]);
});

Deno.test("expandMethods takes the first space that can be planned, where none is asked for", () => {
  const check = planner(({ name, keySpace }) => name === "c8b8" && keySpace === "pre-rope");
  const one = { ...LISTS, windows: [0], sinks: [0] };
  assert.deepEqual(ids(one, false, check), {
    methods: ["c4b8 fisher pre-rope window 0 sinks 0", "c8b8 fisher as-scored window 0 sinks 0"],
    refused: [],
  });
});

Deno.test("expandMethods: a sweep leaves out what is refused, and says so", () => {
  const check = planner(({ name, keySpace }) => name === "c8b8" && keySpace === "pre-rope");
  const lists: MethodLists = {
    ...LISTS,
    windows: [0],
    sinks: [0],
    spaces: ["pre-rope", "as-scored"],
  };
  const { methods, refused } = ids(lists, true, check);
  assert.equal(methods.length, 3);
  assert.deepEqual(refused, ["c8b8 fisher pre-rope window 0 sinks 0"]);
});

for (
  const [name, lists, sweep, check, code, words] of [
    [
      "lists that do not pair up",
      { windows: [0, 64, 128] },
      false,
      accept,
      "usage",
      /--sinks has 2/,
    ],
    ["two weights", { weights: ["none", "fisher"] }, false, accept, "usage", /--weights has 2/],
    [
      "two spaces",
      { spaces: ["pre-rope", "as-scored"] },
      false,
      accept,
      "usage",
      /--spaces has 2/,
    ],
    [
      "a method that is refused",
      {},
      false,
      planner(({ name }) => name === "c8b8"),
      "scheme",
      /not in pre-rope/,
    ],
    [
      "a sweep of which nothing is left",
      {},
      true,
      planner(() => true),
      "scheme",
      /not in pre-rope/,
    ],
  ] as const
) {
  Deno.test(`expandMethods refuses ${name}`, () => {
    assert.throws(
      () => expandMethods({ ...LISTS, ...lists }, sweep, check),
      (error) => error instanceof CoupletError && error.code === code && words.test(error.message),
    );
  });
}

Deno.test("uniformPolicy: KV heads share what is added, and other schemes have nothing to share", () => {
  const [added, alone] = parseSchemePairs("n8b8x2/c8b8,c8b8").slice(1)
    .map((pair) => uniformPolicy(pair, true));
  assert.deepEqual(added, {
    name: "n8b8x2/c8b8 shared",
    policy: { keys: "n8b8x2", values: "c8b8", shareHeads: true },
  });
  assert.deepEqual(alone, { name: "c8b8", policy: { keys: "c8b8", values: "c8b8" } });
});

Deno.test("codebookNeeds: schemes by weights, space and sharing, those of layers included, each once", () => {
  const { methods } = expandMethods(
    {
      ...LISTS,
      policies: [
        ...policies("c4b8,c4b8/c8b8"),
        {
          name: "mixed",
          policy: { keys: "f16", values: "c8b8", layers: { 1: { keys: "c2b4", values: "f16" } } },
        },
        { name: "shared", policy: { keys: "n8b8x2", values: "f16", shareHeads: true } },
      ],
    },
    false,
    planner(({ name, keySpace }) => name === "mixed" && keySpace === "pre-rope"),
  );
  assert.deepEqual(codebookNeeds(methods), [
    {
      weights: "fisher",
      keySpace: "pre-rope",
      shareHeads: false,
      schemes: { keys: ["c4b8"], values: ["c4b8", "c8b8"] },
    },
    {
      weights: "fisher",
      keySpace: "as-scored",
      shareHeads: false,
      schemes: { keys: ["c2b4"], values: ["c8b8"] },
    },
    {
      weights: "fisher",
      keySpace: "pre-rope",
      shareHeads: true,
      schemes: { keys: ["n8b8x2"], values: [] },
    },
  ]);
});
