/** Turns rows of the table into kernels: which template, which names, which bindings. */
import { CoupletError } from "../src/errors.ts";
import {
  BLOCK_ROWS,
  ENCODE_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  TILE_TOKENS,
  WORKGROUP_SIZE,
} from "../src/kernel_constants.ts";
import { formatKernelName, type KernelNameParts, type KeyVariant } from "../src/kernel_name.ts";
import { hadamardFactor, hadamardInverseFactor } from "../src/hadamard.ts";
import type { BindingName } from "../src/kernel_bindings.ts";
import { parseScheme, type SchemeId } from "../src/scheme.ts";
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
function recordContext(side: string, schemeId: SchemeId, headDim: number): Context {
  const scheme = parseScheme(schemeId);
  const layout = scheme.layout(headDim);
  const common = {
    side,
    upper: side.toUpperCase(),
    recordTokens: layout.tokens,
    recordWords: layout.words,
  };
  if (scheme.codebook === "none") {
    return {
      ...common,
      codebookWords: 0,
      constantsPartial: "half_constants",
      loadPartial: "load_half",
    };
  }
  const kind = scheme.codebook === "universal"
    ? {
      constantsPartial: "universal_constants",
      loadPartial: layout.metadata.sharedBits > 0 ? "load_mean_scale" : "load_scale",
      metadataWords: layout.metadataWords,
      codebookWords: 0,
    }
    : {
      codebookWords: (headDim * scheme.centroids) / 2,
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

/** The keys' context: tables of q.centroid need only the codes, not the centroids behind them. */
function keyContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  const context = recordContext("key", scheme, headDim);
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
function scoreContext(variant: KeyVariant, scheme: SchemeId): Context {
  const { rotated } = parseScheme(scheme);
  const way = rotated ? `rotated_${variant}` : variant;
  const queries = variant === "rope" ? {} : { queries: "query_tile" };
  return {
    // Overrides stand before every array sized by one: naga fails on another order.
    headerPartial: `header_${way}`,
    scorePartial: `score_${way}`,
    exactly: { source: "exact", ...queries },
    ...(variant === "rope" || variant === "plain"
      ? { coded: { source: "coded", ...queries, ...(rotated ? { queries: "rotated_tile" } : {}) } }
      : {}),
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
  if (rotated) return ["plain"];
  if (codebook === "none") return ["rope", "plain"];
  const entries = parseScheme(scheme).layout(headDim).codes * centroids;
  return ["rope", "plain", entries <= LUT_ENTRIES ? "lut" : "table"];
}

function variantBinding(variant: KeyVariant): BindingName[] {
  return variant === "rope" ? ["rope"] : variant === "table" ? ["table"] : [];
}

function encodeRow(schemeId: SchemeId, headDim: number, reason: string): KernelRow {
  const scheme = parseScheme(schemeId);
  const layout = scheme.layout(headDim);
  const parts: KernelNameParts = { family: "encode", schemes: [schemeId], size: headDim };
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
    return kernel(parts, "encode_half", reason, bindings, common);
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
    return kernel(parts, "encode_rotated", reason, bindings, {
      ...coded,
      metadataWords: layout.metadataWords,
      tokens: Math.min(layout.tokens, ENCODE_TOKENS),
      spread: hadamardFactor(headDim),
      centroidPartial: scheme.channels === 1 ? "centroid_single" : "centroid_pairs",
      ...(layout.metadata.sharedBits > 0
        ? { recordPartial: "record_mean_scale", side: "mean" }
        : { recordPartial: "record_scale" }),
    });
  }
  return kernel(parts, "encode_coupled", reason, bindings, {
    ...coded,
    codebookWords: (headDim * scheme.centroids) / 2,
    tokens: ENCODE_TOKENS,
    groupPartial: scheme.channels === 1 ? "group_single" : "group_pairs",
  });
}

/** All kernels that one scheme at one head dimension needs, whatever it is paired with. */
function sizeRows(scheme: SchemeId, headDim: number, reason: string): KernelRow[] {
  const rows = [encodeRow(scheme, headDim, reason)];
  const { rotated } = parseScheme(scheme);
  rows.push(
    kernel(
      { family: "decode", schemes: [scheme], size: headDim },
      rotated ? "decode_rotated" : "decode",
      reason,
      ["step", "layer", "coded_records", ...codebookBinding(scheme), "pages", "decoded"],
      {
        ...(rotated ? { unspread: hadamardInverseFactor(headDim) } : {}),
        headDim,
        workgroupSize: WORKGROUP_SIZE,
        pageTokens: PAGE_TOKENS,
        stepEntries: STEP_ENTRIES,
        record: recordContext("coded", scheme, headDim),
      },
    ),
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
        ...scoreContext(variant, scheme),
      },
      maxRows,
    ));
    if (variant === "table") {
      const { centroids, channels, layout } = parseScheme(scheme);
      rows.push(kernel(
        { family: "table", schemes: [scheme], size: headDim },
        "table",
        reason,
        ["step", "layer", "queries", "codebooks", "table_written"],
        {
          headDim,
          workgroupSize: WORKGROUP_SIZE,
          stepEntries: STEP_ENTRIES,
          channels,
          centroids,
          codes: layout(headDim).codes,
          codebookWords: (headDim * centroids) / 2,
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
      ...scoreContext(variant, row.keys),
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
