import assert from "node:assert/strict";
import { CoupletError } from "@couplet/kv";
import {
  mobyDick,
  readText,
  spreadContexts,
  stateOfTheUnion,
} from "../../../examples/demo/texts.ts";

Deno.test("mobyDick and stateOfTheUnion find the texts in the installed packages", async () => {
  const { text: novel } = await mobyDick();
  assert.ok(novel.includes("Call me Ishmael") && novel.includes("five thousand years ago"));
  assert.ok(novel.length > 1_000_000);
  const { text: address } = await stateOfTheUnion();
  assert.ok(address.startsWith(" Fellow-Citizens of the Senate"));
  assert.ok(address.length > 40_000);
});

Deno.test("readText says which file is missing", async () => {
  await assert.rejects(
    readText("no/such/file.txt"),
    (error) =>
      error instanceof CoupletError && error.code === "file" && /no\/such/.test(error.message),
  );
});

const ids = Array.from({ length: 103 }, (_, i) => i);

Deno.test("spreadContexts spreads whole contexts over the text, without overlap", () => {
  const contexts = spreadContexts("test", ids, 10, 4);
  assert.deepEqual(contexts.map((context) => [context[0], context.length]), [
    [0, 10],
    [25, 10],
    [50, 10],
    [75, 10],
  ]);
});

Deno.test("spreadContexts gives as many contexts as there are", () => {
  const contexts = spreadContexts("test", ids, 10, 40);
  assert.deepEqual(contexts.flat(), ids.slice(0, 100));
  assert.deepEqual(spreadContexts("test", ids, 103, 1), [ids]);
});

Deno.test("spreadContexts refuses a text shorter than one context", () => {
  assert.throws(
    () => spreadContexts("evaluate on", ids, 104, 1),
    (error) =>
      error instanceof CoupletError && error.code === "samples" &&
      /103 tokens and one context takes 104/.test(error.message),
  );
});
