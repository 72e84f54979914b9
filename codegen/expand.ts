/** Turns rows of the table into kernels: which template, which names, which bindings. */
import { CoupletError } from "../src/errors.ts";
import {
  BASE_WORKGROUP_BYTES,
  BLOCK_ROWS,
  ENCODE_TOKENS,
  EXACT_SPAN,
  MAX_SPAN,
  MIN_SPAN,
  NEAR_TOKENS,
  PAGE_TOKENS,
  STEP_ENTRIES,
  TABLE_LANE_ENTRIES,
  WORKGROUP_SIZE,
} from "../src/kernel_constants.ts";
import {
  formatKernelName,
  type KernelFeature,
  type KernelNameParts,
  type KeyVariant,
} from "../src/kernel_name.ts";
import { headCodebookWords } from "../src/centroid_grid.ts";
import { hadamardFactor, hadamardInverseFactor } from "../src/hadamard.ts";
import type { BindingName } from "../src/kernel_bindings.ts";
import { parseScheme, type Scheme, type SchemeId, type UniformLevels } from "../src/scheme.ts";
import { GROUP } from "../src/schemes/levels.ts";
import { waveCount } from "../src/schemes/waves.ts";
import type { KernelRow, TemplateValue } from "./kernel_row.ts";
import { kmeansRows } from "./kmeans_rows.ts";
import type { KmeansRow, LadderRow, PairRow, SizeRow } from "./variants.ts";

/** Entries up to which a lookup table of q.centroid takes half of the base workgroup memory. */
const LUT_ENTRIES = BASE_WORKGROUP_BYTES / 2 / (4 * BLOCK_ROWS);

/** Channels of a key that a lane scores at once: two chunks, and the words of a c8 centroid. */
const KEY_CHANNELS = 8;

/** Most channels of a key whose codes are looked up together: every head has a multiple of so many. */
const LOOKED_UP_CHANNELS = 16;

/** Codes of a key that are looked up together in a table in a buffer; compilers do not unroll a loop over more. */
const TABLE_CODES = 2;

/** Channels of a value that a lane mixes at once: four chunks. */
const VALUE_CHANNELS = 16;

/** Codes in a row, as many as `numbers` channels have: which partial reads them, and where each lies. */
function codesContext(scheme: Scheme, numbers: number): Context {
  const { channels, codeBits } = scheme;
  const codes = Math.max(1, numbers / channels);
  const bits = codes * codeBits;
  const aligned = 32 % codeBits === 0;
  const words = aligned && bits > 32;
  return {
    ...(aligned ? {} : { codePartial: codePartial(scheme) }),
    codesPartial: words ? "codes_words" : aligned ? "codes_word" : "codes_apart",
    laneCodes: Array.from({ length: codes }, (_, index) => ({
      index,
      ...(words
        ? { word: Math.floor((index * codeBits) / 32), shift: (index * codeBits) % 32 }
        : {}),
    })),
    ...(words ? { laneWords: Array.from({ length: bits / 32 }, (_, index) => ({ index })) } : {}),
  };
}

/** How so many channels of one vector are read at once, as chunks of four. */
function chunksContext(
  id: SchemeId,
  numbers: number,
  headDim: number,
  variant?: KeyVariant,
): Context {
  const scheme = parseScheme(id);
  const { channels, codebook } = scheme;
  const chunkCount = numbers / 4;
  const common = { chunkCount, lastChannel: numbers - 1 };
  const chunks = <T>(of: (index: number) => T) =>
    Array.from({ length: chunkCount }, (_, index) => of(index));
  if (isHalf(scheme)) {
    return {
      ...common,
      chunksPartial: "chunks_half",
      chunks: chunks((index) => ({ quad: index >> 1, column: index & 1 })),
      quads: Array.from({ length: numbers / 8 }, (_, index) => ({ index })),
    };
  }
  if (codebook !== "learned") {
    return {
      ...common,
      ...loadContext(scheme, headDim, variant),
      chunksPartial: "chunks_loaded",
      chunks: chunks((index) => ({ index })),
    };
  }
  const codes = { ...common, ...codesContext(scheme, numbers) };
  if (channels === 2) {
    return {
      ...codes,
      chunksPartial: "chunks_c2",
      chunks: chunks((index) => ({ code: 2 * index, next: 2 * index + 1 })),
    };
  }
  if (channels < 8) return { ...codes, chunksPartial: `chunks_c${channels}` };
  return {
    ...codes,
    chunksPartial: "chunks_wide",
    pairs: Array.from({ length: numbers / 8 }, (_, index) => ({
      index,
      code: Math.floor((index * 8) / channels),
      word: ((index * 8) % channels) / 4,
    })),
  };
}

/** Whether a scheme's records are the numbers themselves, in f16. */
function isHalf({ codebook, levels }: Scheme): boolean {
  return codebook === "none" && levels === undefined;
}

/** Records whose reader takes four words at once. */
function recordsBinding(side: "key" | "value", scheme: SchemeId): BindingName {
  return isHalf(parseScheme(scheme)) ? `${side}_quads` : `${side}_records`;
}

type Context = Readonly<Record<string, TemplateValue>>;

function kernel(
  parts: KernelNameParts,
  template: string,
  reason: string,
  bindings: readonly BindingName[],
  context: Context,
  span?: number,
): KernelRow {
  return {
    name: formatKernelName(parts),
    template,
    reason,
    bindings,
    context,
    ...(span === undefined ? {} : { span }),
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
    codebookWords: headCodebookWords(scheme, headDim),
  };
  if (scheme.levels !== undefined) {
    const { span, zero } = scheme.levels;
    const symmetric = span !== "range";
    return {
      ...common,
      codeBits: scheme.codeBits,
      metadataWords: layout.metadataWords,
      constantsPartial: symmetric ? "symmetric_constants" : "level_constants",
      ...(symmetric ? { zero } : {}),
    };
  }
  if (scheme.codebook === "none") return { ...common, constantsPartial: "half_constants" };
  return {
    ...common,
    ...(scheme.codebook === "universal"
      ? { constantsPartial: "universal_constants", metadataWords: layout.metadataWords }
      : { constantsPartial: "coded_constants" }),
    channels: scheme.channels,
    codeBits: scheme.codeBits,
    mask: 2 ** scheme.codeBits - 1,
    centroids: scheme.centroids,
    codes: layout.codes,
  };
}

/** How one chunk of a coded vector is read. */
function loadContext(scheme: Scheme, headDim: number, variant?: KeyVariant): Context {
  const { channels, codebook, levels } = scheme;
  if (levels !== undefined) {
    const { group, span } = levels;
    return { loadPartial: span === "range" ? `load_levels_${group}` : "load_symmetric" };
  }
  if (codebook === "none") return { loadPartial: "load_half" };
  const code = { codePartial: codePartial(scheme) };
  if (codebook === "learned") {
    return { ...code, loadPartial: channels <= 2 ? `load_c${channels}` : "load_wide" };
  }
  if (!hasMean(scheme, headDim)) return { ...code, loadPartial: "load_scale" };
  // Keys' means are scored apart: page by page, or with the rotary embedding, which codes have already.
  return variant === undefined
    ? { ...code, loadPartial: "load_mean_scale", meanPartial: "mean_halves" }
    : {
      ...code,
      loadPartial: "load_beside_mean",
      meanPartial: variant === "rope" ? "mean_halves" : "mean_bytes",
    };
}

/** Waves that records of keys as they are scored hold beside their mean. */
function wavesContext({ layout }: Scheme, headDim: number): Context {
  return { waves: waveCount(headDim), lastToken: layout(headDim).tokens - 1 };
}

/** How one code is read. */
function codePartial({ codeBits }: Scheme): string {
  return 32 % codeBits === 0 ? "code_aligned" : "code_straddling";
}

/** Whether records hold their tokens' mean. */
function hasMean({ layout }: Scheme, headDim: number): boolean {
  return layout(headDim).metadata.sharedBits > 0;
}

/** The keys' context: tables of q.centroid need only the codes, not the centroids behind them. */
function keyContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  const record = recordContext("key", scheme, headDim);
  const parsed = parseScheme(scheme);
  if (variant === "rope" || variant === "plain") {
    const staged = variant === "rope" && parsed.rotated && hasMean(parsed, headDim);
    return {
      ...record,
      ...chunksContext(scheme, KEY_CHANNELS, headDim, variant),
      ...(staged ? { meanPartial: "mean_staged" } : {}),
    };
  }
  const together = variant === "lut"
    ? LOOKED_UP_CHANNELS
    : Math.min(LOOKED_UP_CHANNELS, TABLE_CODES * parsed.channels);
  return { ...record, ...codesContext(parsed, together), chunksPartial: "chunks_none" };
}

function attentionContext(headDim: number, span: number): Context {
  return {
    headDim,
    rows: BLOCK_ROWS,
    workgroupSize: WORKGROUP_SIZE,
    span,
    exactSpan: EXACT_SPAN,
    nearTokens: NEAR_TOKENS,
    pageTokens: PAGE_TOKENS,
    stepEntries: STEP_ENTRIES,
  };
}

/** The queries of a block, as functions that give a chunk of all its rows. */
const QUERIES = { name: "query_rows", tile: "query_tile" };
const ROTATED_QUERIES = { name: "rotated_rows", tile: "rotated_tile" };

/** What a kernel that may use an optional feature does in its own way. */
function featureContext(feature: KernelFeature | undefined): Context {
  const subgroups = feature === "subgroups";
  return {
    enablePartial: `enable_${feature ?? "none"}`,
    chunkPartial: feature === "f16" ? "chunk_f16" : "chunk_f32",
    queryPartial: feature === "f16" ? "query_scaled" : "query",
    scalePartial: feature === "f16" ? "scale_rows" : "scale_none",
    ...topContext(subgroups),
    builtinsPartial: subgroups ? "builtins_subgroups" : "builtins_none",
    beginPartial: subgroups ? "begin_subgroups" : "begin_none",
  };
}

/** How the lanes of a workgroup find their largest score. */
function topContext(subgroups: boolean): Context {
  const way = subgroups ? "subgroups" : "lanes";
  return { topsPartial: `tops_${way}`, topPartial: `top_${way}` };
}

/** The pages of a tile, one by one: compilers do not unroll a loop with so much in it, and keep what it indexes in memory. */
function pages(span: string, most: number, place = (index: number) => `key_at[${index}]`): Context {
  return {
    span,
    pages: Array.from({ length: most }, (_, index) => ({ index, place: place(index) })),
  };
}

/** Exact keys as a source of dot products: they meet the queries as they are. */
const EXACT_KEYS: Context = {
  source: "exact",
  ...pages("EXACT_SPAN", EXACT_SPAN),
  queries: QUERIES.name,
};

/** Which partial scores coded keys, and the sources it takes its dot products over. */
function scoreContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  if (parseScheme(scheme).rotated) return rotatedScoreContext(variant, scheme, headDim);
  const learned = parseScheme(scheme).codebook === "learned";
  const codedPages = pages("SPAN", attentionSpan(variant, scheme, headDim));
  return {
    atQuery: QUERIES,
    // Overrides stand before every array sized by one: naga fails on another order.
    headerPartial: `header_${variant}`,
    scorePartial: `score_${variant}`,
    exactly: EXACT_KEYS,
    ...(variant === "rope" || variant === "plain"
      ? {
        coded: { source: "coded", ...codedPages, queries: QUERIES.name },
        codedKeysPartial: learned ? "coded_keys_levels" : "coded_keys_loaded",
      }
      : {}),
    ...(variant === "rope" ? { atTile: { origin: "tile.first" } } : {}),
  };
}

/** The same for keys coded in the space of a Hadamard rotation; exact ones meet the queries as they are. */
function rotatedScoreContext(variant: KeyVariant, scheme: SchemeId, headDim: number): Context {
  const codedPages = pages("SPAN", attentionSpan(variant, scheme, headDim));
  const coded = { source: "coded", ...codedPages, queries: ROTATED_QUERIES.name };
  const rows = {
    atQuery: QUERIES,
    atRotated: ROTATED_QUERIES,
    codedKeysPartial: "coded_keys_loaded",
  };
  const mean = hasMean(parseScheme(scheme), headDim);
  const span = attentionSpan(variant, scheme, headDim);
  // Means lie in workgroup memory, page by page.
  const meanPages = pages("SPAN", span, (index) => `KeyAt(${index}u, 0u)`);
  if (variant !== "rope") {
    return {
      ...rows,
      headerPartial: "header_rotated_plain",
      ...(mean
        ? { scorePartial: "score_waved_plain", ...wavesContext(parseScheme(scheme), headDim) }
        : { scorePartial: "score_rotated_plain" }),
      exactly: EXACT_KEYS,
      coded,
    };
  }
  return {
    ...rows,
    headerPartial: "header_rotated_rope",
    scorePartial: mean ? "score_mean_rope" : "score_rotated_rope",
    exactly: EXACT_KEYS,
    ...(mean ? { mean: { source: "mean", ...meanPages, queries: QUERIES.name } } : {}),
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

/** How coded values are mixed, and what is undone when the last of them is. */
function mixContext(schemeId: SchemeId, headDim: number): Context {
  const scheme = parseScheme(schemeId);
  if (scheme.rotated && hasMean(scheme, headDim)) {
    return { mixPartial: "mix_rotated_mean", mixPagePartial: "mix_page_mean" };
  }
  const way = scheme.rotated ? "rotated" : scheme.codebook === "learned" ? "grid" : "plain";
  return { mixPartial: `mix_${way}`, mixPagePartial: "mix_page_none" };
}

/** The values' context. A mean is mixed page by page, not token by token. */
function valueContext(id: SchemeId, headDim: number): Context {
  const scheme = parseScheme(id);
  return {
    ...recordContext("value", id, headDim),
    ...chunksContext(id, VALUE_CHANNELS, headDim),
    ...(scheme.rotated && hasMean(scheme, headDim) ? { loadPartial: "load_beside_mean" } : {}),
  };
}

/** Most pages of a tile: beside a lookup table, or queries in two spaces, workgroup memory has room for fewer. */
function attentionSpan(variant: KeyVariant, scheme: SchemeId, headDim: number): number {
  const crowded = variant === "lut" || (parseScheme(scheme).rotated && headDim > 128);
  return crowded ? MIN_SPAN : MAX_SPAN;
}

function codebookBinding(...schemes: SchemeId[]): BindingName[] {
  return schemes.some((scheme) => parseScheme(scheme).codebook !== "none") ? ["codebooks"] : [];
}

/**
 * How learned codebooks are read: two words at once where every centroid fills as many.
 *
 * @param variant How keys are scored: a table in a buffer leaves the values' codebook, one in workgroup memory is made word by word.
 */
function codebookAccess(schemes: readonly SchemeId[], variant?: KeyVariant): {
  readonly partial: { readonly codebookPartial: string };
  readonly bindings: readonly BindingName[];
} {
  const read = variant === "table" ? schemes.slice(1) : schemes;
  const kinds = read.map(parseScheme).filter(({ codebook }) => codebook !== "none");
  if (!kinds.some(({ codebook }) => codebook === "learned")) {
    return {
      partial: { codebookPartial: "codebook_none" },
      bindings: kinds.length === 0 ? [] : ["codebooks"],
    };
  }
  const pairs = kinds.every(({ codebook, channels }) => codebook === "learned" && channels >= 8);
  return pairs && variant !== "lut"
    ? { partial: { codebookPartial: "codebook_pairs" }, bindings: ["codebook_pairs"] }
    : { partial: { codebookPartial: "codebook_words" }, bindings: ["codebooks"] };
}

/** The ways a scheme's coded keys can be read. */
function keyVariants(scheme: SchemeId, headDim: number): KeyVariant[] {
  const { centroids, codebook, rotated } = parseScheme(scheme);
  if (rotated || codebook === "none") return ["rope", "plain"];
  const entries = parseScheme(scheme).layout(headDim).codes * centroids;
  return ["rope", "plain", entries <= LUT_ENTRIES ? "lut" : "table"];
}

/** The ways a fused kernel reads them. */
function pairVariants(scheme: SchemeId, headDim: number): KeyVariant[] {
  const variants = keyVariants(scheme, headDim);
  return variants.includes("table") ? [...variants, "table16"] : variants;
}

function variantBinding(variant: KeyVariant): BindingName[] {
  return variant === "plain" || variant === "lut" ? [] : [variant];
}

/** What encoding and decoding rotated codes needs of the rotary embedding, where keys come before it. */
function angleContext(variant: "rope" | undefined): Context {
  return variant === undefined
    ? { anglePartial: "angle_none" }
    : { anglePartial: "angle_rope", nearTokens: NEAR_TOKENS };
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
    groupsPartial: group === "tokens" ? "groups_limited" : "groups_plain",
    fitPartial: `fit_${span}`,
    metadataPartial: span === "range" ? "metadata_words" : "metadata_halves",
  };
}

/** Halfwords that a kernel loads at once of a codebook in binary16. */
const ROW_HALFWORDS = 8;

/** How rotated codes are searched: each row of centroids, loaded once, is compared with a batch of `tokens` tokens. */
function rotatedSearch(channels: number, tokens: number): Context {
  const rowCentroids = channels === 1 ? 1 : ROW_HALFWORDS / channels;
  const parts = Array.from({ length: Math.ceil(channels / 4) }, (_, part) => part);
  const joint = (part: number) => (part + 1 < parts.length ? " + " : "");
  const tokenList = Array.from({ length: tokens }, (_, token) => token);
  return {
    tokens,
    rowCentroids,
    centroidPartial: channels === 1 ? "centroid_single" : "centroid_pairs",
    batch: tokenList.map((token) => ({
      token,
      parts: parts.map((part) => ({ token, part, vector: `x_${token}_${part}` })),
    })),
    searched: Array.from({ length: rowCentroids }, (_, index) => {
      const own = { code: `code_of_${index}`, half: `half_square_${index}` };
      const centroid = (part: number) => `c_${index}_${part}`;
      return {
        index,
        ...own,
        parts: parts.map((part) => ({
          centroid: centroid(part),
          rowPart: index * parts.length + part,
          joint: joint(part),
        })),
        batch: tokenList.map((token) => ({
          token,
          ...own,
          likeness: `likeness_${index}_${token}`,
          parts: parts.map((part) => ({
            vector: `x_${token}_${part}`,
            centroid: centroid(part),
            joint: joint(part),
          })),
        })),
      };
    }),
  };
}

/** Levels that a kernel loads at once: four words. */
const ROW_LEVELS = 16;

/** How learned codes are searched by rows: each row's centroids, loaded at once, are compared with up to `rowTokens` tokens. */
function coupledRows({ channels }: Scheme): Context {
  const rowCentroids = ROW_LEVELS / channels;
  // A driver need not unroll a loop over as many channels as 16; over fewer it does, and such a loop is as fast.
  const rowTokens = channels === 16 ? ENCODE_TOKENS : 1;
  const component = (index: number) => "xyzw"[index & 3]!;
  return {
    rowCentroids,
    rowTokens,
    searched: Array.from({ length: rowCentroids }, (_, index) => {
      const code = `code_of_${index}`;
      const centroid = (channel: number) => `c_${index}_${channel}`;
      const words = Array.from({ length: channels / 4 }, (_, word) => ({
        levels: `levels_${index}_${word}`,
        word: component((index * channels) / 4 + word),
      }));
      const indices = Array.from({ length: channels }, (_, channel) => channel);
      return {
        index,
        code,
        words,
        channels: indices.map((channel) => ({
          channel,
          centroid: centroid(channel),
          level: `levels_${index}_${channel >> 2}.${component(channel)}`,
        })),
        batch: Array.from({ length: rowTokens }, (_, token) => ({
          token,
          code,
          distance: `distance_${index}_${token}`,
          channels: indices.map((channel) => ({
            place: token * channels + channel,
            centroid: centroid(channel),
            distance: `distance_${index}_${token}`,
            difference: `difference_${index}_${token}_${channel}`,
          })),
        })),
      };
    }),
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
  const bindings = (...codebooks: BindingName[]): BindingName[] => [
    "step",
    "layer",
    "exact",
    "pages",
    ...codebooks,
    "records",
  ];
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
    return kernel(parts, "encode_rotated", reason, [
      ...bindings(scheme.channels === 1 ? "codebooks" : "codebook_quads"),
      ...rope,
    ], {
      ...coded,
      ...angleContext(variant),
      headerPartial: variant === undefined ? "header_no_angle" : "header_angle",
      chunkPartial: variant === undefined ? "chunk_plain" : "chunk_rope",
      centrePartial: !mean
        ? "centre_none"
        : variant === undefined
        ? "centre_rotated"
        : "centre_plain",
      scalesPartial: mean ? "scales_byte" : "scales_half",
      ...(mean && variant === undefined ? { side: "mean", ...wavesContext(scheme, headDim) } : {}),
      metadataWords: layout.metadataWords,
      ...rotatedSearch(
        scheme.channels,
        Math.min(layout.tokens, headDim > 128 ? ENCODE_TOKENS / 2 : ENCODE_TOKENS),
      ),
      spread: hadamardFactor(headDim),
    });
  }
  const wide = scheme.channels >= 4;
  // A group's centroids must be whole rows.
  const rows = wide && scheme.channels * scheme.centroids >= ROW_LEVELS;
  return kernel(
    parts,
    "encode_coupled",
    reason,
    wide ? bindings("codebooks", "codebook_quads") : bindings("codebooks"),
    {
      ...coded,
      codebookWords: headCodebookWords(scheme, headDim),
      tokens: ENCODE_TOKENS,
      groupPartial: wide ? "group_wide" : `group_c${scheme.channels}`,
      rowsPartial: rows ? "search_rows" : "search_no_rows",
      rowConstantsPartial: rows ? "row_constants" : "row_constants_none",
      ...(rows ? coupledRows(scheme) : {}),
    },
  );
}

function decodeRow(scheme: SchemeId, headDim: number, reason: string): KernelRow {
  const learned = parseScheme(scheme).codebook === "learned";
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
      codebookPartial: learned ? "codebook_words" : "codebook_none",
      record: {
        ...recordContext("coded", scheme, headDim),
        ...loadContext(parseScheme(scheme), headDim),
        gridPartial: learned ? "centroid_grid" : "no_grid",
      },
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
  const waved = mean && variant === undefined;
  const finish = waved ? "waves" : variant === undefined ? "plain" : mean ? "mean_rope" : "rope";
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
      headerPartial: waved ? "wave" : variant === undefined ? "header_no_angle" : "header_angle",
      ...(waved ? wavesContext(parseScheme(scheme), headDim) : {}),
      finishPartial: `decoded_${finish}`,
      record: {
        ...recordContext("coded", scheme, headDim),
        ...loadContext(parseScheme(scheme), headDim, variant),
        ...(waved ? { meanPartial: "mean_by_side" } : {}),
      },
    },
  );
}

/** The kernel that fills tables of q.centroid, in f32 where no variant says otherwise. */
function tableRow(
  schemeId: SchemeId,
  headDim: number,
  reason: string,
  variant: "table16" | undefined,
): KernelRow {
  const scheme = parseScheme(schemeId);
  const share = WORKGROUP_SIZE * TABLE_LANE_ENTRIES;
  return kernel(
    {
      family: "table",
      schemes: [schemeId],
      size: headDim,
      ...(variant === undefined ? {} : { variant }),
    },
    "table",
    reason,
    ["step", "layer", "queries", "codebooks", `${variant ?? "table"}_written`],
    {
      headDim,
      rows: BLOCK_ROWS,
      workgroupSize: WORKGROUP_SIZE,
      stepEntries: STEP_ENTRIES,
      channels: scheme.channels,
      centroids: scheme.centroids,
      codes: scheme.layout(headDim).codes,
      codebookWords: headCodebookWords(scheme, headDim),
      laneEntries: TABLE_LANE_ENTRIES,
      wordLevels: Math.min(4, scheme.channels),
      staged: Math.max(1, share / scheme.centroids) * scheme.channels,
      entryPartial: variant === undefined ? "entry_f32" : "entry_f16",
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
  const valueCodebook = codebookAccess([scheme]);
  rows.push(
    kernel(
      { family: "mix", schemes: [scheme], size: headDim },
      "mix",
      reason,
      [
        "step",
        "layer",
        "row_scores",
        recordsBinding("value", scheme),
        ...valueCodebook.bindings,
        "exact_quads",
        "pages",
        "partials_written",
      ],
      {
        ...attentionContext(headDim, MAX_SPAN),
        ...rotationContext(headDim, scheme),
        ...mixContext(scheme, headDim),
        ...topContext(false),
        ...valueCodebook.partial,
        value: valueContext(scheme, headDim),
      },
      MAX_SPAN,
    ),
  );
  for (const variant of keyVariants(scheme, headDim)) {
    const span = attentionSpan(variant, scheme, headDim);
    const codebook = codebookAccess([scheme], variant);
    rows.push(kernel(
      { family: "score", schemes: [scheme], size: headDim, variant },
      "score",
      reason,
      [
        "step",
        "layer",
        "queries",
        recordsBinding("key", scheme),
        ...codebook.bindings,
        "exact_quads",
        "pages",
        ...variantBinding(variant),
        "row_scores_written",
      ],
      {
        ...attentionContext(headDim, span),
        ...rotationContext(headDim, scheme),
        chunkPartial: "chunk_f32",
        ...codebook.partial,
        key: keyContext(variant, scheme, headDim),
        ...scoreContext(variant, scheme, headDim),
      },
      span,
    ));
    if (variant === "table") rows.push(tableRow(scheme, headDim, reason, undefined));
  }
  return rows;
}

function pairRow(
  row: PairRow,
  headDim: number,
  variant: KeyVariant,
  feature?: KernelFeature,
): KernelRow {
  const span = attentionSpan(variant, row.keys, headDim);
  const codebook = codebookAccess([row.keys, row.values], variant);
  return kernel(
    {
      family: "attend",
      schemes: [row.keys, row.values],
      size: headDim,
      variant,
      ...(feature === undefined ? {} : { feature }),
    },
    "attend",
    row.reason,
    [
      "step",
      "layer",
      "queries",
      recordsBinding("key", row.keys),
      recordsBinding("value", row.values),
      ...codebook.bindings,
      "exact_quads",
      "pages",
      ...variantBinding(variant),
      "partials_written",
    ],
    {
      ...attentionContext(headDim, span),
      ...rotationContext(headDim, row.keys, row.values),
      ...mixContext(row.values, headDim),
      ...featureContext(feature),
      ...codebook.partial,
      key: keyContext(variant, row.keys, headDim),
      value: valueContext(row.values, headDim),
      ...scoreContext(variant, row.keys, headDim),
    },
    span,
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
      "counters",
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

/** The kernels every cache needs, whatever its head dimension. */
function commonRows(): KernelRow[] {
  const context = { workgroupSize: WORKGROUP_SIZE, stepEntries: STEP_ENTRIES };
  const row = (
    family: "copy" | "restore" | "page_table",
    reason: string,
    bindings: readonly BindingName[],
  ) =>
    kernel(
      { family, schemes: [] },
      family,
      `every cache: ${reason}`,
      ["step", ...bindings],
      context,
    );
  return [
    row("copy", "forks and copy-on-write pages", ["records"]),
    row("restore", "snapshots", ["restored", "records"]),
    row("page_table", "pages that sequences take", ["pages_written"]),
  ];
}

function checkHeadDim(headDim: number): void {
  if (!Number.isInteger(headDim) || headDim < 16 || headDim > 256 || headDim % 16 !== 0) {
    throw new CoupletError("shape", {
      what: `Cannot generate kernels for head dimension ${headDim}`,
      why: "a lane mixes sixteen channels, and a workgroup has 64 lanes",
      remedy: "Use a multiple of 16 from 16 to 256",
    });
  }
}

/**
 * Checks that templates read a scheme's records as what they are: numbers in f16, where it has neither centroids nor
 * levels.
 *
 * @throws {CoupletError} `scheme` where its records are something else.
 */
export function checkScheme(scheme: Scheme): void {
  const { id, channels, codeBits } = scheme;
  if (!isHalf(scheme) || (channels === 1 && codeBits === 16)) return;
  throw new CoupletError("scheme", {
    what: `Cannot generate kernels for ${id}`,
    why: `it has no codebook and no levels, and its records of ${codeBits} bits are no f16`,
    remedy: "Give the scheme levels or a codebook, or templates of its own (codegen/expand.ts)",
  });
}

/** The table, as its three parts. */
export interface Table {
  /** Schemes and head dimensions. */
  readonly sizes: readonly SizeRow[];
  /** Fused pairs. */
  readonly pairs: readonly PairRow[];
  /** Optional features. */
  readonly ladder: readonly LadderRow[];
  /** Calibration. */
  readonly kmeans: readonly KmeansRow[];
}

/** Fused pairs once more, for devices with an optional feature. */
function ladderRows({ feature, schemes, headDims, reason }: LadderRow): KernelRow[] {
  return schemes.flatMap((scheme) =>
    headDims.flatMap((headDim) =>
      pairVariants(scheme, headDim)
        // Tables leave few products to take; and of the two kinds one shows what subgroups gain.
        .filter((variant) =>
          variant === "rope" || variant === "plain" ||
          (feature === "subgroups" && variant === "table16")
        )
        .map((variant) =>
          pairRow({ keys: scheme, values: scheme, headDims, reason }, headDim, variant, feature)
        )
    )
  );
}

/** The kernels that fill the f16 tables of fused pairs, once for each scheme of keys. */
function tables16(pairs: readonly PairRow[]): KernelRow[] {
  const rows = pairs.flatMap(({ keys, headDims, reason }) =>
    headDims
      .filter((headDim) => pairVariants(keys, headDim).includes("table16"))
      .map((headDim) => tableRow(keys, headDim, reason, "table16"))
  );
  return [...new Map(rows.map((row) => [row.name, row])).values()];
}

/** Every kernel the table asks for, sorted by name. */
export function expandTable(table: Table): KernelRow[] {
  const headDims = new Set([...table.sizes, ...table.pairs].flatMap((row) => row.headDims));
  headDims.forEach(checkHeadDim);
  [
    ...[...table.sizes, ...table.ladder].flatMap(({ schemes }) => schemes),
    ...table.pairs.flatMap(({ keys, values }) => [keys, values]),
  ].forEach((id) => checkScheme(parseScheme(id)));
  const rows = [
    ...commonRows(),
    ...[...headDims].flatMap(headRows),
    ...table.sizes.flatMap((row) =>
      row.schemes.flatMap((scheme) =>
        row.headDims.flatMap((headDim) => sizeRows(scheme, headDim, row.reason))
      )
    ),
    ...table.pairs.flatMap((row) =>
      row.headDims.flatMap((headDim) =>
        pairVariants(row.keys, headDim).map((variant) => pairRow(row, headDim, variant))
      )
    ),
    ...tables16(table.pairs),
    ...table.ladder.flatMap(ladderRows),
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
