import assert from "node:assert/strict";
import { CoupletError, parseScheme } from "@couplet/kv";
import { formatReport } from "../../../examples/eval/report/report.ts";
import {
  type Evaluation,
  formatEvaluation,
  type MethodFigures,
  parseEvaluation,
  type QualityFigures,
} from "../../../examples/eval/figures/results.ts";
import { assertNarrow, NARROW } from "../../helpers/width.ts";
import { formatSummary } from "../../../examples/eval/figures/summary.ts";

const LENGTHS = [512, 4096, 32768];

function quality(ratio: number): QualityFigures {
  return {
    tokens: 100,
    perplexity: 30 * ratio,
    ratio,
    ratioError: 0.01,
    divergence: (ratio - 1) / 2,
    agreement: 1 / ratio,
  };
}

function method(name: string, bits: number, ratio: number, window: number): MethodFigures {
  const [keys, values = keys] = name.split("/").map((id) => parseScheme(id).id);
  return {
    name,
    policy: { keys: keys!, values: values! },
    weights: "fisher",
    keySpace: "pre-rope",
    window,
    sinks: 0,
    allCoded: false,
    nominalBits: bits,
    effectiveBits: LENGTHS.map((tokens) => ({
      tokens,
      sequences: 1,
      bits: bits + 4096 / tokens,
    })),
    quality: { different: quality(ratio), inDomain: quality(1 + (ratio - 1) / 2) },
    retrieval: [32, 128].map((distance) => ({
      distance,
      loss: 3,
      accuracy: 1 / ratio,
      excess: ratio - 1,
      excessError: null,
    })),
    firstDifferences: [3, 9, 48],
    codingError: (["keys", "values"] as const).map((side) => ({
      layer: 0,
      side,
      head: 1,
      error: (ratio - 1) / 10,
    })),
    logitError: [{ layer: 0, head: 1, error: ratio - 1 }],
    codeUsage: [{
      layer: 0,
      side: "keys",
      scheme: keys!,
      tokens: 512,
      dead: 0.25,
      entropyBits: 6.5,
      codeBits: 8,
      uses: [3, 1, 0.5, 0],
    }],
  };
}

const FIGURES: Evaluation = {
  format: "couplet-eval",
  version: 3,
  adapter: { name: "an <adapter>", kind: "llvmpipe" },
  model: { name: "tiny & small", digest: "sha256:0" },
  settings: {
    seed: 1,
    context: 64,
    chunk: 32,
    calibration: { name: "a text", tokens: 128 },
    texts: {
      different: { name: "one text", contexts: 2 },
      inDomain: { name: "another", contexts: 2 },
    },
    retrieval: { trials: 1, distances: [32, 128] },
    generation: { prompts: 3, promptTokens: 16, tokens: 48 },
  },
  baseline: {
    quality: { different: quality(1), inDomain: quality(1) },
    effectiveBits: LENGTHS.map((tokens) => ({ tokens, sequences: 1, bits: 16 })),
    retrieval: [32, 128].map((distance) => ({
      distance,
      planted: 2,
      notPlanted: 9,
      accuracy: 0.75,
      gapError: null,
    })),
  },
  noiseFloor: {
    chunk: 8,
    window: 64,
    sinks: 4,
    allCoded: false,
    quality: { different: quality(1 + 1e-9), inDomain: quality(1 + 1e-9) },
  },
  methods: [
    method("c4b4", 1, 1.4, 0),
    method("c4b8", 2, 1.1, 0),
    method("c8b8/c4b8", 1.5, 1.2, 0),
    method("c4b8", 2, 1.01, 64),
  ],
  refused: [{ method: "c9 <odd>", why: "no kernel" }],
  seconds: 12.5,
};

Deno.test("parseEvaluation is the inverse of formatEvaluation", () => {
  assert.deepEqual(parseEvaluation(formatEvaluation(FIGURES)), FIGURES);
});

for (
  const [name, text, words] of [
    ["no JSON", "{", /JSON/],
    ["another format", '{"format": "couplet-demo"}', /format/],
    [
      "a figure that is missing",
      formatEvaluation(FIGURES).replace('"divergence"', '"divergences"'),
      /divergence/,
    ],
  ] as const
) {
  Deno.test(`parseEvaluation refuses ${name}`, () => {
    assert.throws(
      () => parseEvaluation(text),
      (error) =>
        error instanceof CoupletError && error.code === "file" && words.test(error.message),
    );
  });
}

Deno.test("formatReport: one page with plots and all figures, and nothing from elsewhere", async () => {
  const html = await formatReport(FIGURES);
  // Two tiers with three lengths, perplexity, retrieval 1 + 2, errors of two sides and of logits, three codebooks.
  assert.equal(html.match(/<figure>\s*<svg/g)?.length, 6 + 1 + 3 + 3 + 3);
  assert.doesNotMatch(html, /<script|<link|@import|url\((?!#)|src=/);
  assert.doesNotMatch(html.replaceAll("http://www.w3.org/", ""), /https?:\/\//);
  assert.match(html, /prefers-color-scheme: dark/);
  assert.match(html, /width=device-width/);
  assert.match(html, /tiny &amp; small/);
  assert.match(html, /an &lt;adapter&gt;/);
  assert.match(html, /c9 &lt;odd&gt;/);
  assert.doesNotMatch(html, /NaN|undefined|Infinity|\[object/);
  const rows = html.slice(html.indexOf("<tbody>")).match(/<tr>/g);
  assert.equal(rows?.length, 1 + FIGURES.methods.length);
});

Deno.test("formatReport: schemes that couple alike share a curve, and others do not", async () => {
  const html = await formatReport(FIGURES);
  const panel = html.slice(html.indexOf("<figure>"), html.indexOf("</figure>"));
  const curves = panel.slice(panel.indexOf('aria-label="line"'));
  const lines = curves.slice(0, curves.indexOf("</g>")).match(/<path d="M[^"]*L[^"]*"/g);
  assert.equal(lines?.length, 1, "c4b4 and c4b8");
  assert.equal(panel.match(/<path[^>]*aria-label="the front"/g)?.length, 1);
  for (const label of ["c4", "c8/c4"]) assert.match(html, new RegExp(`</svg>${label}</li>`));
});

Deno.test("formatReport and formatSummary mark the front at each length, among the same exact tiers", async () => {
  const html = await formatReport(FIGURES);
  const table = html.slice(html.indexOf("<tbody>"));
  const bold = table.split("</tr>").map((row) => row.match(/<b>[^<]*<\/b>/g) ?? []);
  // f16; c4b4; c4b8; c8b8/c4b8; and c4b8 alone in its tiers.
  assert.deepEqual(bold.slice(0, 5).map(({ length }) => length), [0, 3, 3, 3, 3]);
  const worse = FIGURES.methods.map((one, i) => i === 2 ? method("c8b8/c4b8", 2.5, 1.2, 0) : one);
  const summary = formatSummary({ ...FIGURES, methods: worse }, 1000);
  const lines = summary.slice(summary.indexOf("1x512")).split("\n");
  const marks = (label: string) => lines.find((line) => line.startsWith(label))!.match(/\*/g);
  assert.equal(marks("c4b8, codes alone")?.length, 3);
  assert.equal(marks("c8b8/c4b8, codes alone"), null);
});

Deno.test("formatReport and formatSummary show methods whose every token is coded", async () => {
  const coded = { ...method("c8b8", 1, 1.3, 0), allCoded: true, firstDifferences: [] };
  const figures = {
    ...FIGURES,
    methods: [...FIGURES.methods, coded],
    noiseFloor: { ...FIGURES.noiseFloor, allCoded: true },
  };
  const html = await formatReport(figures);
  assert.match(html, /Quality against effective bits, every token coded/);
  assert.match(html, /noise floor<\/dt><dd>keys and values rounded to f16/);
  assert.doesNotMatch(html, /NaN|undefined/);
  const lines = formatSummary(figures, 1000).split("\n");
  assert.equal(lines.filter((line) => line.startsWith("c8b8, every token coded")).length, 2);
  assert.doesNotMatch(lines.join(), /NaN/);
});

Deno.test("formatReport does without methods, retrieval and generation", async () => {
  const html = await formatReport({
    ...FIGURES,
    settings: {
      ...FIGURES.settings,
      generation: { prompts: 0, promptTokens: 0, tokens: 0 },
    },
    baseline: { ...FIGURES.baseline, retrieval: [] },
    methods: [],
    refused: [],
  });
  assert.doesNotMatch(html, /<figure>|NaN|Refused/);
});

Deno.test("formatSummary fits 80 columns", () => {
  assertNarrow(formatSummary(FIGURES, NARROW));
});

Deno.test("formatSummary has a line for f16 and one for each method", () => {
  const lines = formatSummary(FIGURES, 1000).split("\n");
  const [quality, bits] = ["c4b4, codes alone", "c4b8, "].map((label) =>
    lines.filter((line) => line.startsWith(label))
  ) as [string[], string[]];
  assert.equal(bits.length, 4);
  assert.match(lines.find((line) => line.startsWith("f16 "))!, /1\.0000/);
  assert.match(quality[0]!, /1\.4000 {2}0\.0100/);
  assert.match(
    quality[1]!,
    /9\.00\*.*\| 1\.4000 {2}0\.2000 \| \+0\.40 {2}71\.4%/,
  );
  assert.ok(lines.some((line) => line.includes("refused: c9 <odd>: no kernel")));
});
