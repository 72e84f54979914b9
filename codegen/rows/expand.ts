/**
 * Turns rows of the table into kernels. What belongs to a scheme comes from its family's module.
 */
import { CoupletError } from "../../src/base/errors.ts";
import type { BindingName } from "../../src/kernels/bindings.ts";
import {
  MAX_SPAN,
  MIN_SPAN,
  MIX_PARTS,
  STEP_ENTRIES,
  WORKGROUP_SIZE,
} from "../../src/kernels/constants.ts";
import {
  type KernelFeature,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "../../src/kernels/name.ts";
import type { SchemeId } from "../../src/schemes/scheme.ts";
import {
  attentionContext,
  featureContext,
  KEY_CHANNELS,
  NARROW_CHANNELS,
  sumsContext,
  topContext,
  VALUE_CHANNELS,
  WIDENED,
} from "../kernels/attention.ts";
import { ANCHORED_PLACES } from "../kernels/anchored.ts";
import { digitsOf, integerMix } from "../kernels/integers.ts";
import { type Context, kernel, type KernelRow } from "../kernels/kernel_row.ts";
import { schemeKernels } from "../schemes/find.ts";
import type { SchemeKernels } from "../schemes/scheme_kernels.ts";
import { kmeansRows } from "./kmeans_rows.ts";
import type { LadderRow, PairRow, Table } from "../kernels/table.ts";

/**
 * How a kernel reads the codebooks of all its schemes: as many words at once as every centroid
 * fills.
 */
function codebookAccess(schemes: readonly SchemeKernels[], variant?: KeyVariant): {
  readonly partial: { readonly codebookPartial: string };
  readonly bindings: readonly BindingName[];
} {
  // With a table of q.centroid in a buffer, only the values' codebook is read.
  const readers = variant === "table"
    ? schemes.filter(({ normalised }, i) => i > 0 || normalised)
    : schemes;
  // Keys before the rotary embedding are read by eight channels.
  const read = readers
    .map(({ codebook }, i) =>
      codebook === "quads" &&
        (variant === "rope" || variant === "mrope" || variant === "anchored") &&
        i === 0
        ? "pairs"
        : codebook
    )
    .filter((reads) => reads !== "none");
  if (read.includes("levels")) {
    if (!read.every((reads) => reads === "levels")) {
      throw new CoupletError("scheme", {
        what: "Cannot fuse attention to a pair of schemes",
        why: "one has the levels of a span, and the other a codebook in their place",
        remedy: "Leave the pair out: keys and values then attend in a kernel each",
      });
    }
    return { partial: { codebookPartial: "codebook_levels" }, bindings: ["levels"] };
  }
  if (read.every((reads) => reads === "halves")) {
    return {
      partial: { codebookPartial: "codebook_none" },
      bindings: read.length === 0 ? [] : ["codebooks"],
    };
  }
  const kind = readers.some(({ normalised }) => normalised) ? "normalised" : "codebook";
  const access = (words: "words" | "pairs" | "quads", binding: BindingName) => ({
    partial: { codebookPartial: `${kind}_${words}` },
    bindings: [binding],
  });
  if (read.every((reads) => reads === "quads")) return access("quads", "codebook_quads");
  // A table in workgroup memory is filled word by word.
  return read.every((reads) => reads === "pairs" || reads === "quads") && variant !== "lut"
    ? access("pairs", "codebook_pairs")
    : access("words", "codebooks");
}

/**
 * The Hadamard rotation into the space of the codes and back, if one of the schemes has one.
 *
 * @throws {CoupletError} `scheme` if two schemes have different ones: a kernel has one.
 */
function rotationContext(...schemes: readonly SchemeKernels[]): Context {
  const [rotation, ...others] = schemes.map(({ rotation }) => rotation)
    .filter((rotation) => rotation !== undefined);
  if (others.some((other) => JSON.stringify(other) !== JSON.stringify(rotation))) {
    throw new CoupletError("scheme", {
      what: "Cannot fuse attention to a pair of schemes",
      why: "their codes lie in spaces of different rotations",
      remedy: "Leave the pair out: keys and values then attend in a kernel each",
    });
  }
  return rotation ?? { rotationPartial: "rotation_none" };
}

/** Weights that are mixed as they are, where a scheme says nothing else. */
const MIXED_PLAIN: Context = {
  weightsPartial: "weights_floats",
  weightPartial: "weight_exact",
  unitPartial: "unit_none",
  sumUnitsPartial: "sum_units_none",
  softenedPartial: "softened_weight",
  prepareValuesPartial: "prepare_values_none",
  mixTilePartial: "mix_tile_none",
  mixPagesPartial: "mix_pages",
};

/**
 * Which tokens of a tile a lane scores: one of each page; those of one page, which share its mean;
 * or consecutive ones, which share their anchors.
 *
 * @throws {CoupletError} `scheme` if values share a mean, and keys do not.
 */
function placeContext(keys: SchemeKernels, values = keys, variant?: KeyVariant): Context {
  if (keys.normalised) {
    if (variant === "anchored") {
      return { ...ANCHORED_PLACES, placesPartial: "places_consecutive" };
    }
    return {
      placesPartial: "places_paged",
      findPlacesPartial: "find_places_paged",
      lanePlace: "first_place",
      placeStep: "place_step",
    };
  }
  if (values.normalised) {
    throw new CoupletError("scheme", {
      what: "Cannot fuse attention to a pair of schemes",
      why: "values have a mean for each page, and keys do not",
      remedy: "Leave the pair out: keys and values then attend in a kernel each",
    });
  }
  if (variant === "anchored") return ANCHORED_PLACES;
  return {
    placesPartial: "places_none",
    findPlacesPartial: "find_places_none",
    lanePlace: "lane",
    placeStep: "PAGE_TOKENS",
  };
}

/** The ways a fused kernel reads keys. */
function pairVariants({ keyVariants }: SchemeKernels): readonly KeyVariant[] {
  return keyVariants.includes("table") ? [...keyVariants, "table16"] : keyVariants;
}

function variantBinding(variant: KeyVariant): BindingName[] {
  if (variant === "plain" || variant === "lut") return [];
  return [variant === "anchored" || variant === "mrope" ? "rope" : variant];
}

/** How coded keys are read and scored, in a kernel of their own or a fused one. */
function scoreContext(keys: SchemeKernels, variant: KeyVariant, digits?: number): Context {
  const integers = digits && keys.integers!.score(variant, digits);
  return {
    ...(integers || { key: keys.keys(KEY_CHANNELS, variant), ...keys.score(variant) }),
    remaps: keys.remap === undefined ? [] : [{ remapPartial: keys.remap }],
  };
}

/** How coded values are read and mixed, in a kernel of their own or a fused one. */
function mixContext(
  values: SchemeKernels,
  headDim: number,
  variant: KeyVariant,
  digits?: number,
): Context {
  return digits === undefined
    ? {
      ...sumsContext(headDim, values.mix),
      value: values.values(VALUE_CHANNELS),
      ...MIXED_PLAIN,
      ...values.mix,
    }
    : {
      ...sumsContext(headDim, {}),
      value: values.integers!.values(VALUE_CHANNELS),
      ...integerMix(digits),
      ...values.integers!.mix(variant),
    };
}

/** Centroids that are staged word by word. */
const STAGED_WORDS = {
  unitWords: 1,
  stagedName: "words",
  stagedType: "u32",
  stagedFrom: "codebooks",
  stagedUnitPartial: "staged_word",
} as const;

/** Centroids that are staged by two words. */
const STAGED_PAIRS = {
  unitWords: 2,
  stagedName: "pairs of words",
  stagedType: "vec2<u32>",
  stagedFrom: "codebook_pairs",
  stagedUnitPartial: "staged_pair",
} as const;

/** How the workgroups that mix share a head's channels: not at all, or with staged centroids. */
function partContext(
  { codebook, staged }: SchemeKernels,
  value: Context,
  isStaged: boolean,
): Context {
  if (!isStaged) {
    return {
      partPartial: "part_whole",
      stagingPartial: "staging_none",
      stagePartial: "stage_none",
    };
  }
  const unit = codebook === "pairs" ? STAGED_PAIRS : STAGED_WORDS;
  return {
    sharedChunks: `CHUNKS / ${MIX_PARTS}u`,
    firstChunk: "first_chunk",
    partPartial: "part_staged",
    stagingPartial: "staging",
    stagePartial: "stage_centroids",
    ...unit,
    parts: MIX_PARTS,
    stagedUnits: staged!.words / MIX_PARTS / unit.unitWords,
    value: { ...value, centroidsIn: "staged" },
  };
}

/** The kernel that mixes values whose keys were scored by another. */
function mixRow(id: SchemeId, headDim: number, reason: string, feature?: "staged"): KernelRow {
  const scheme = schemeKernels(id, headDim);
  const codebook = codebookAccess([scheme]);
  // Beside staged centroids, the weights of fewer pages fit.
  const span = feature === undefined ? MAX_SPAN : MIN_SPAN;
  return kernel(
    { family: "mix", schemes: [id], size: headDim, ...(feature === undefined ? {} : { feature }) },
    "mix",
    reason,
    [
      "step",
      "layer",
      "row_scores",
      `value_${scheme.records}`,
      ...codebook.bindings,
      "exact_quads",
      "pages",
      "partials_written",
    ],
    {
      ...attentionContext(headDim, span),
      ...rotationContext(scheme),
      ...placeContext(scheme),
      ...mixContext(scheme, headDim, "plain"),
      ...topContext(false),
      ...codebook.partial,
      ...partContext(scheme, scheme.values(VALUE_CHANNELS), feature === "staged"),
    },
    span,
  );
}

/** All kernels of one scheme at one head dimension, for any pair. */
function sizeRows(id: SchemeId, headDim: number, reason: string): KernelRow[] {
  const scheme = schemeKernels(id, headDim);
  if (headDim > NARROW_CHANNELS && !(`${scheme.mix["mixPartial"]}` in WIDENED)) {
    throw new CoupletError("shape", {
      what: `Cannot generate kernels of ${id} for head dimension ${headDim}`,
      why: `beyond ${NARROW_CHANNELS} channels only centroids and f16 are mixed`,
      remedy: "Use a smaller head dimension, or another scheme, such as c4b8",
    });
  }
  const mix = mixRow(id, headDim, reason);
  const scores = scheme.keyVariants.flatMap((variant) => {
    const span = scheme.keySpan(variant);
    const codebook = codebookAccess([scheme], variant);
    const score = kernel(
      { family: "score", schemes: [id], size: headDim, variant },
      "score",
      reason,
      [
        "step",
        "layer",
        "queries",
        `key_${scheme.records}`,
        ...codebook.bindings,
        "exact_quads",
        "pages",
        ...variantBinding(variant),
        "row_scores_written",
      ],
      {
        ...attentionContext(headDim, span),
        ...rotationContext(scheme),
        ...placeContext(scheme, scheme, variant),
        chunkPartial: "chunk_f32",
        ...codebook.partial,
        ...scoreContext(scheme, variant),
      },
      span,
    );
    return variant === "table" ? [score, scheme.table!(reason, undefined)] : [score];
  });
  return [...scheme.codecs(reason), mix, ...scores];
}

function pairRow(
  row: PairRow,
  headDim: number,
  variant: KeyVariant,
  feature?: KernelFeature,
): KernelRow {
  const keys = schemeKernels(row.keys, headDim);
  const values = schemeKernels(row.values, headDim);
  const digits = digitsOf(feature);
  const span = keys.keySpan(variant);
  const codebook = codebookAccess([keys, values], variant);
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
      `key_${keys.records}`,
      `value_${values.records}`,
      ...codebook.bindings,
      "exact_quads",
      "pages",
      ...variantBinding(variant),
      "partials_written",
    ],
    {
      ...attentionContext(headDim, span),
      ...rotationContext(keys, values),
      ...placeContext(keys, values, variant),
      ...mixContext(values, headDim, variant, digits),
      ...featureContext(feature),
      ...codebook.partial,
      ...scoreContext(keys, variant, digits),
    },
    span,
  );
}

/** The kernels of a head dimension, for all schemes. */
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
      "counters",
      "output",
    ], { ...size, workgroupSize: Math.max(WORKGROUP_SIZE, headDim / 4) }),
  ];
}

/** The kernels that every cache needs, at any head dimension. */
function commonRows(): KernelRow[] {
  const context = { workgroupSize: WORKGROUP_SIZE, stepEntries: STEP_ENTRIES };
  const row = (
    family: "copy" | "restore" | "page_table" | "remap",
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
    row("remap", "scores of spans", ["layer", "row_scores_written"]),
  ];
}

function checkHeadDim(headDim: number): void {
  if (!Number.isInteger(headDim) || headDim < 16 || headDim > 512 || headDim % 16 !== 0) {
    throw new CoupletError("shape", {
      what: `Cannot generate kernels for head dimension ${headDim}`,
      why: "a workgroup's 64 lanes hold 32 channels each, of its four query rows",
      remedy: "Use a multiple of 16 from 16 to 512",
    });
  }
}

/** Fused pairs once more, or kernels that mix, with what not all chips do well. */
function ladderRows({ feature, variants, schemes, headDims, reason }: LadderRow): KernelRow[] {
  if (feature === "staged") {
    return schemes.flatMap((scheme) =>
      headDims.map((headDim) => mixRow(scheme, headDim, reason, feature))
    );
  }
  return schemes.flatMap((scheme) =>
    headDims.flatMap((headDim) =>
      pairVariants(schemeKernels(scheme, headDim))
        .filter((variant) => variants.includes(variant))
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
      .filter((headDim) => pairVariants(schemeKernels(keys, headDim)).includes("table16"))
      .map((headDim) => schemeKernels(keys, headDim).table!(reason, "table16"))
  );
  return [...new Map(rows.map((row) => [row.name, row])).values()];
}

/** Every kernel the table asks for, sorted by name. */
export function expandTable(table: Table): KernelRow[] {
  const headDims = new Set([...table.sizes, ...table.pairs].flatMap((row) => row.headDims));
  headDims.forEach(checkHeadDim);
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
        pairVariants(schemeKernels(row.keys, headDim)).map((variant) =>
          pairRow(row, headDim, variant)
        )
      )
    ),
    ...tables16(table.pairs),
    ...table.ladder.flatMap(ladderRows),
    ...table.kmeans.flatMap(kmeansRows),
  ];
  const kept = rows.filter(({ name }) => isWanted(parseKernelName(name), table));
  kept.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  kept.forEach((row, i) => {
    if (i > 0 && kept[i - 1]!.name === row.name) {
      throw new CoupletError("usage", {
        what: "Cannot expand the table",
        why: `two rows give the kernel "${row.name}"`,
        remedy: "Remove one of them",
      });
    }
  });
  return kept;
}

/** Whether the table asks for a kernel: those of some ways to read keys have rows of their own. */
function isWanted({ variant, schemes, size }: KernelNameParts, table: Table): boolean {
  return variant !== "anchored" && variant !== "mrope" ||
    table[variant].some((row) => row.schemes.includes(schemes[0]!) && row.headDims.includes(size!));
}
