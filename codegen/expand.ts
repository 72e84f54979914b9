/** Turns rows of the table into kernels: which template, which names, which bindings. */
import { CoupletError } from "../src/errors.ts";
import {
  BLOCK_ROWS,
  ENCODE_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  TABLE_LANE_ENTRIES,
  TILE_TOKENS,
  WORKGROUP_SIZE,
} from "../src/kernel_constants.ts";
import { formatKernelName, type KernelNameParts, type KeyVariant } from "../src/kernel_name.ts";
import { headCodebookWords } from "../src/centroid_grid.ts";
import { hadamardFactor, hadamardInverseFactor } from "../src/hadamard.ts";
import type { BindingName } from "../src/kernel_bindings.ts";
import { parseScheme, type Scheme, type SchemeId, type UniformLevels } from "../src/scheme.ts";
import { GROUP } from "../src/schemes/levels.ts";
import type { KernelRow, TemplateValue } from "./kernel_row.ts";
import { kmeansRows } from "./kmeans_rows.ts";
import type { KmeansRow, PairRow, SizeRow } from "./variants.ts";

/** Rows a kernel that mixes values sums over its lanes at once: what workgroup memory has room for beside the queries. */
function summedRows(headDim: number): number {
  return headDim > 128 ? 2 : 4;
}

/** With a lookup table in workgroup memory, fewer rows fit. */
const LUT_ROWS = 4;
/** Entries per row up to which LUT_ROWS lookup tables take half of the base workgroup memory. */
const LUT_ENTRIES = 512;

type Context = Readonly<Record<string, TemplateValue>>;

function kernel(
  parts: KernelNameParts,
  template: string,
  reason: string,
  bindings: readonly BindingName[],
  context: Context,
  rows?: number,
): KernelRow {
  return {
    name: formatKernelName(parts),
    template,
    reason,
    bindings,
    context,
    ...(rows === undefined ? {} : { rows }),
  };
}

/** What a scheme's partials need to know, for the records named `side`. */
function recordContext(
  side: string,
  schemeId: SchemeId,
  headDim: number,
  variant?: KeyVariant,
): Context {
  const scheme = parseScheme(schemeId);
  const layout = scheme.layout(headDim);
  const common = {
    side,
    upper: side.toUpperCase(),
    recordTokens: layout.tokens,
    recordWords: layout.words,
    codebookWords: headCodebookWords(scheme, headDim),
  };
  if (scheme.levels !== undefined) {
    const { group, span, zero } = scheme.levels;
    const symmetric = span !== "range";
    return {
      ...common,
      codeBits: scheme.codeBits,
      metadataWords: layout.metadataWords,
      constantsPartial: symmetric ? "symmetric_constants" : "level_constants",
      ...(symmetric ? { zero } : {}),
      loadPartial: symmetric ? "load_symmetric" : `load_levels_${group}`,
    };
  }
  if (scheme.codebook === "none") {
    return {
      ...common,
      constantsPartial: "half_constants",
      loadPartial: "load_half",
    };
  }
  const kind = scheme.codebook === "universal"
    ? {
      constantsPartial: "universal_constants",
      loadPartial: !hasMean(scheme, headDim)
        ? "load_scale"
        : variant === "rope"
        ? "load_beside_mean"
        : "load_mean_scale",
      metadataWords: layout.metadataWords,
    }
    : {
      constantsPartial: "coded_constants",
      loadPartial: scheme.channels <= 2 ? `load_c${scheme.channels}` : "load_wide",
    };
  return {
    ...common,
    ...kind,
    codePartial: 32 % scheme.codeBits === 0 ? "code_aligned" : "code_straddling",
    channels: scheme.channels,
    codeBits: scheme.codeBits,
    mask: 2 ** scheme.codeBits - 1,
    centroids: scheme.centroids,
    codes: layout.codes,
  };
}

/** Whether records hold their tokens' mean. */
function hasMean({ layout }: Scheme, headDim: number): boolean {
  return layout(headDim).metadata.sharedBits > 0;
}

/** The keys' context: tables of q.centroid need only the codes, not the centroids behind them. */
function keyContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  const context = recordContext("key", scheme, headDim, variant);
  if (variant === "rope" || variant === "plain") return context;
  const { codePartial, ...rest } = context;
  return { ...rest, loadPartial: codePartial! };
}

function attentionContext(headDim: number, rows: number): Context {
  return {
    headDim,
    rows,
    workgroupSize: WORKGROUP_SIZE,
    span: TILE_TOKENS / PAGE_TOKENS,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
  };
}

/** Which partial scores coded keys, and the sources it takes its dot products over. */
function scoreContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  if (parseScheme(scheme).rotated) return rotatedScoreContext(variant, scheme, headDim);
  const queries = variant === "rope" ? {} : { queries: "query_tile" };
  return {
    // Overrides stand before every array sized by one: naga fails on another order.
    headerPartial: `header_${variant}`,
    scorePartial: `score_${variant}`,
    exactly: { source: "exact", ...queries },
    ...(variant === "rope" || variant === "plain"
      ? { coded: { source: "coded", ...queries } }
      : {}),
    ...(variant === "rope" ? { atTile: { origin: "tile.first" } } : {}),
  };
}

/** The same for keys coded in the space of a Hadamard rotation; exact ones meet the queries as they are. */
function rotatedScoreContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  const coded = { source: "coded", queries: "rotated_tile" };
  if (variant !== "rope") {
    return {
      headerPartial: "header_rotated_plain",
      scorePartial: "score_rotated_plain",
      exactly: { source: "exact", queries: "query_tile" },
      coded,
    };
  }
  const mean = hasMean(parseScheme(scheme), headDim);
  return {
    headerPartial: "header_rotated_rope",
    scorePartial: mean ? "score_mean_rope" : "score_rotated_rope",
    exactly: { source: "exact" },
    ...(mean ? { mean: { source: "mean" } } : {}),
    coded,
    atTile: { origin: "tile.first" },
    atStart: { origin: "0u" },
  };
}

/** The Hadamard rotation, where one of the schemes has it. */
function rotationContext(headDim: number, ...schemes: SchemeId[]): Context {
  return schemes.some((scheme) => parseScheme(scheme).rotated)
    ? { rotationPartial: "rotation_hadamard", unspread: hadamardInverseFactor(headDim) }
    : { rotationPartial: "rotation_none" };
}

/** What becomes of mixed values at the end of the coded tiles. */
function mixContext(scheme: SchemeId): Context {
  const way = parseScheme(scheme).rotated ? "rotated" : "plain";
  return { unrotatePartial: `unrotate_${way}`, finishPartial: `finish_${way}` };
}

/** Query rows a workgroup serves: with their rotated twins, fewer of large heads fit. */
function attentionRows(variant: KeyVariant, scheme: SchemeId, headDim: number): number {
  if (variant === "lut") return LUT_ROWS;
  return parseScheme(scheme).rotated && headDim > 64 ? BLOCK_ROWS / 2 : BLOCK_ROWS;
}

function codebookBinding(...schemes: SchemeId[]): BindingName[] {
  return schemes.some((scheme) => parseScheme(scheme).codebook !== "none") ? ["codebooks"] : [];
}

/** The ways a scheme's coded keys can be read. */
function keyVariants(scheme: SchemeId, headDim: number): KeyVariant[] {
  const { centroids, codebook, rotated } = parseScheme(scheme);
  if (rotated || codebook === "none") return ["rope", "plain"];
  const entries = parseScheme(scheme).layout(headDim).codes * centroids;
  return ["rope", "plain", entries <= LUT_ENTRIES ? "lut" : "table"];
}

function variantBinding(variant: KeyVariant): BindingName[] {
  return variant === "rope" ? ["rope"] : variant === "table" ? ["table"] : [];
}

/** What encoding and decoding rotated codes needs of the rotary embedding, where keys come before it. */
function angleContext(variant: "rope" | undefined): Context {
  return variant === undefined
    ? { anglePartial: "angle_none" }
    : { anglePartial: "angle_rope", tileTokens: TILE_TOKENS };
}

/** The parts of the name of a kernel that encodes or decodes. */
function codecParts(
  family: "encode" | "decode",
  scheme: SchemeId,
  headDim: number,
  variant: "rope" | undefined,
): KernelNameParts {
  return {
    family,
    schemes: [scheme],
    size: headDim,
    ...(variant === undefined ? {} : { variant }),
  };
}

/** What encoding evenly spaced levels takes. */
function levelsContext(
  { codeBits, layout }: Scheme,
  { group, span, steps, zero }: UniformLevels,
  headDim: number,
): Context {
  const { tokens, metadataWords } = layout(headDim);
  return {
    codeBits,
    steps,
    zero,
    groupNumbers: GROUP,
    groups: (tokens * headDim) / GROUP,
    metadataWords,
    membersPartial: `members_${group}`,
    fitPartial: `fit_${span}`,
    metadataPartial: span === "range" ? "metadata_words" : "metadata_halves",
  };
}

function encodeRow(
  schemeId: SchemeId,
  headDim: number,
  reason: string,
  variant: "rope" | undefined,
): KernelRow {
  const scheme = parseScheme(schemeId);
  const layout = scheme.layout(headDim);
  const parts = codecParts("encode", schemeId, headDim, variant);
  const common = {
    headDim,
    workgroupSize: WORKGROUP_SIZE,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
    recordTokens: layout.tokens,
    recordWords: layout.words,
  };
  if (scheme.codebook === "none") {
    const bindings: BindingName[] = ["step", "layer", "exact", "pages", "records"];
    return scheme.levels === undefined
      ? kernel(parts, "encode_half", reason, bindings, common)
      : kernel(parts, "encode_levels", reason, bindings, {
        ...common,
        ...levelsContext(scheme, scheme.levels, headDim),
      });
  }
  // As many lanes search for one code as leave none idle.
  const lanes = Math.min(
    scheme.centroids,
    2 ** Math.floor(Math.log2(Math.max(1, WORKGROUP_SIZE / layout.codes))),
  );
  const bindings: BindingName[] = ["step", "layer", "exact", "pages", "codebooks", "records"];
  const coded = {
    ...common,
    channels: scheme.channels,
    codeBits: scheme.codeBits,
    centroids: scheme.centroids,
    codes: layout.codes,
    lanes,
  };
  if (scheme.rotated) {
    const mean = hasMean(scheme, headDim);
    const rope: BindingName[] = variant === undefined ? [] : ["rope"];
    return kernel(parts, "encode_rotated", reason, [...bindings, ...rope], {
      ...coded,
      ...angleContext(variant),
      headerPartial: variant === undefined ? "header_no_angle" : "header_angle",
      channelPartial: variant === undefined ? "channel_plain" : "channel_rope",
      centrePartial: !mean
        ? "centre_none"
        : variant === undefined
        ? "centre_rotated"
        : "centre_plain",
      scalesPartial: mean ? "scales_byte" : "scales_half",
      ...(mean ? { side: "mean" } : {}),
      metadataWords: layout.metadataWords,
      tokens: Math.min(layout.tokens, headDim > 128 ? ENCODE_TOKENS / 2 : ENCODE_TOKENS),
      spread: hadamardFactor(headDim),
      centroidPartial: scheme.channels === 1 ? "centroid_single" : "centroid_pairs",
    });
  }
  return kernel(parts, "encode_coupled", reason, bindings, {
    ...coded,
    codebookWords: headCodebookWords(scheme, headDim),
    tokens: ENCODE_TOKENS,
    groupPartial: scheme.channels <= 2 ? `group_c${scheme.channels}` : "group_wide",
  });
}

function decodeRow(scheme: SchemeId, headDim: number, reason: string): KernelRow {
  return kernel(
    codecParts("decode", scheme, headDim, undefined),
    "decode",
    reason,
    ["step", "layer", "coded_records", ...codebookBinding(scheme), "pages", "vectors"],
    {
      headDim,
      workgroupSize: WORKGROUP_SIZE,
      pageTokens: PAGE_TOKENS,
      stepEntries: STEP_ENTRIES,
      record: recordContext("coded", scheme, headDim),
    },
  );
}

function decodeRotatedRow(
  scheme: SchemeId,
  headDim: number,
  reason: string,
  variant: "rope" | undefined,
): KernelRow {
  const mean = hasMean(parseScheme(scheme), headDim);
  const finish = variant === undefined ? "plain" : mean ? "mean_rope" : "rope";
  const rope: BindingName[] = variant === undefined ? [] : ["rope"];
  return kernel(
    codecParts("decode", scheme, headDim, variant),
    "decode_rotated",
    reason,
    ["step", "layer", "coded_records", "codebooks", "pages", ...rope, "vectors"],
    {
      headDim,
      workgroupSize: WORKGROUP_SIZE,
      pageTokens: PAGE_TOKENS,
      stepEntries: STEP_ENTRIES,
      unspread: hadamardInverseFactor(headDim),
      ...angleContext(variant),
      headerPartial: variant === undefined ? "header_no_angle" : "header_angle",
      finishPartial: `decoded_${finish}`,
      record: recordContext("coded", scheme, headDim, variant),
    },
  );
}

/** All kernels that one scheme at one head dimension needs, whatever it is paired with. */
function sizeRows(scheme: SchemeId, headDim: number, reason: string): KernelRow[] {
  const { rotated } = parseScheme(scheme);
  const rows = [encodeRow(scheme, headDim, reason, undefined)];
  rows.push(
    rotated
      ? decodeRotatedRow(scheme, headDim, reason, undefined)
      : decodeRow(scheme, headDim, reason),
  );
  if (rotated) {
    rows.push(
      encodeRow(scheme, headDim, reason, "rope"),
      decodeRotatedRow(scheme, headDim, reason, "rope"),
    );
  }
  rows.push(
    kernel(
      { family: "mix", schemes: [scheme], size: headDim },
      "mix",
      reason,
      [
        "step",
        "layer",
        "row_scores",
        "value_records",
        ...codebookBinding(scheme),
        "exact",
        "pages",
        "partials_written",
      ],
      {
        ...attentionContext(headDim, BLOCK_ROWS),
        ...rotationContext(headDim, scheme),
        ...mixContext(scheme),
        summedRows: summedRows(headDim),
        value: recordContext("value", scheme, headDim),
      },
      BLOCK_ROWS,
    ),
  );
  for (const variant of keyVariants(scheme, headDim)) {
    const maxRows = attentionRows(variant, scheme, headDim);
    rows.push(kernel(
      { family: "score", schemes: [scheme], size: headDim, variant },
      "score",
      reason,
      [
        "step",
        "layer",
        "queries",
        "key_records",
        ...(variant === "table" ? [] : codebookBinding(scheme)),
        "exact",
        "pages",
        ...variantBinding(variant),
        "row_scores_written",
      ],
      {
        ...attentionContext(headDim, maxRows),
        ...rotationContext(headDim, scheme),
        key: keyContext(variant, scheme, headDim),
        ...scoreContext(variant, scheme, headDim),
      },
      maxRows,
    ));
    if (variant === "table") {
      const known = parseScheme(scheme);
      rows.push(kernel(
        { family: "table", schemes: [scheme], size: headDim },
        "table",
        reason,
        ["step", "layer", "queries", "codebooks", "table_written"],
        {
          headDim,
          workgroupSize: WORKGROUP_SIZE,
          stepEntries: STEP_ENTRIES,
          channels: known.channels,
          centroids: known.centroids,
          codes: known.layout(headDim).codes,
          codebookWords: headCodebookWords(known, headDim),
          laneEntries: TABLE_LANE_ENTRIES,
        },
      ));
    }
  }
  return rows;
}

function pairRow(row: PairRow, headDim: number, variant: KeyVariant): KernelRow {
  const maxRows = attentionRows(variant, row.keys, headDim);
  return kernel(
    { family: "attend", schemes: [row.keys, row.values], size: headDim, variant },
    "attend",
    row.reason,
    [
      "step",
      "layer",
      "queries",
      "key_records",
      "value_records",
      ...codebookBinding(row.keys, row.values),
      "exact",
      "pages",
      ...variantBinding(variant),
      "partials_written",
    ],
    {
      ...attentionContext(headDim, maxRows),
      ...rotationContext(headDim, row.keys, row.values),
      ...mixContext(row.values),
      key: keyContext(variant, row.keys, headDim),
      summedRows: summedRows(headDim),
      value: recordContext("value", row.values, headDim),
      ...scoreContext(variant, row.keys, headDim),
    },
    maxRows,
  );
}

/** The kernels a head dimension needs whatever its schemes. */
function headRows(headDim: number): KernelRow[] {
  const reason = "every cache of this head dimension";
  const size = { headDim, workgroupSize: WORKGROUP_SIZE, stepEntries: STEP_ENTRIES };
  return [
    kernel({ family: "store", schemes: [], size: headDim }, "store", reason, [
      "step",
      "layer",
      "keys",
      "values",
      "exact_written",
    ], size),
    kernel({ family: "load", schemes: [], size: headDim }, "load", reason, [
      "step",
      "layer",
      "exact",
      "vectors",
    ], size),
    kernel({ family: "combine", schemes: [], size: headDim }, "combine", reason, [
      "step",
      "layer",
      "partials",
      "sink_logits",
      "output",
    ], size),
  ];
}

/** The kernel every cache needs, whatever its head dimension. */
function commonRow(): KernelRow {
  return kernel(
    { family: "copy", schemes: [] },
    "copy",
    "every cache: forks and copy-on-write pages",
    ["step", "records"],
    { workgroupSize: WORKGROUP_SIZE, stepEntries: STEP_ENTRIES },
  );
}

function checkHeadDim(headDim: number): void {
  if (!Number.isInteger(headDim) || headDim < 8 || headDim > 256 || headDim % 8 !== 0) {
    throw new CoupletError("shape", {
      what: `Cannot generate kernels for head dimension ${headDim}`,
      why: "kernels read channels in fours, rotate them in pairs and give each four a lane of 64",
      remedy: "Use a multiple of 8 from 8 to 256",
    });
  }
}

/** The table, as its three parts. */
export interface Table {
  /** Schemes and head dimensions. */
  readonly sizes: readonly SizeRow[];
  /** Fused pairs. */
  readonly pairs: readonly PairRow[];
  /** Calibration. */
  readonly kmeans: readonly KmeansRow[];
}

/** Every kernel the table asks for, sorted by name. */
export function expandTable(table: Table): KernelRow[] {
  const headDims = new Set([...table.sizes, ...table.pairs].flatMap((row) => row.headDims));
  headDims.forEach(checkHeadDim);
  const rows = [
    commonRow(),
    ...[...headDims].flatMap(headRows),
    ...table.sizes.flatMap((row) =>
      row.schemes.flatMap((scheme) =>
        row.headDims.flatMap((headDim) => sizeRows(scheme, headDim, row.reason))
      )
    ),
    ...table.pairs.flatMap((row) =>
      row.headDims.flatMap((headDim) =>
        keyVariants(row.keys, headDim)
          .filter((variant) => variant === "rope" || variant === "plain")
          .map((variant) => pairRow(row, headDim, variant))
      )
    ),
    ...table.kmeans.flatMap(kmeansRows),
  ];
  rows.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  rows.forEach((row, i) => {
    if (i > 0 && rows[i - 1]!.name === row.name) {
      throw new CoupletError("usage", {
        what: "Cannot expand the table",
        why: `two rows give the kernel "${row.name}"`,
        remedy: "Remove one of them",
      });
    }
  });
  return rows;
}
