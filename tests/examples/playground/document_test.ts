import assert from "node:assert/strict";
import {
  codedTokens,
  decodeDocument,
  DEFAULT_SETTINGS,
  emptyDocument,
  encodeDocument,
  halfTokens,
  type PlaygroundDocument,
  sameBefore,
} from "../../../examples/playground/page/session/document.ts";

const document: PlaygroundDocument = {
  ...emptyDocument("sha256:0", DEFAULT_SETTINGS),
  promptText: "Call me",
  prompt: [1, 2],
  text: [10, 11, 12, 13],
  seeds: [5, null, -7, 8],
  chosen: [10, 21, 12, 23],
  divergences: [0, 0.1, 0.2, null],
};

Deno.test("decodeDocument gives back what encodeDocument has written", () => {
  assert.deepEqual(decodeDocument(encodeDocument(document)), document);
  const empty = emptyDocument("sha256:0", DEFAULT_SETTINGS);
  assert.deepEqual(decodeDocument(encodeDocument(empty)), empty);
});

const damaged: readonly (readonly [what: string, change: Record<string, unknown>])[] = [
  ["lacks a field", { text: undefined }],
  ["has a token that is no number", { text: [10, "x", 12, 13] }],
  ["has fewer choices than tokens", { chosen: [10] }],
  ["begins its own text behind the end", { ownFrom: 5 }],
  ["has a text without a prompt", { prompt: [] }],
];
for (const [what, change] of damaged) {
  Deno.test(`decodeDocument refuses a document that ${what}`, () => {
    const json = JSON.stringify({ ...document, ...change });
    assert.equal(decodeDocument(new TextEncoder().encode(json)), undefined);
  });
}

Deno.test("decodeDocument refuses what is no JSON", () => {
  assert.equal(decodeDocument(new Uint8Array([1, 2])), undefined);
});

Deno.test("codedTokens are those of f16 up to where the coded cache reads its own", () => {
  assert.deepEqual(codedTokens(document), halfTokens(document));
  assert.deepEqual(codedTokens({ ...document, ownFrom: 2 }), [1, 2, 10, 11, 12, 23]);
});

Deno.test("sameBefore is true until the first token of its own that differs is read", () => {
  const places = [0, 1, 2, 3, 4];
  assert.deepEqual(places.map((place) => sameBefore(document, place)), places.map(() => true));
  const own = { ...document, ownFrom: 1 };
  assert.deepEqual(places.map((place) => sameBefore(own, place)), [
    true,
    true,
    false,
    false,
    false,
  ]);
});
