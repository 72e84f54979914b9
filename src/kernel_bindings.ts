/** The name of a resource a kernel binds, as it stands in WGSL. */
export type BindingName =
  | "step"
  | "layer"
  | "queries"
  | "keys"
  | "values"
  | "output"
  | "exact"
  | "exact_quads"
  | "exact_written"
  | "pages"
  | "codebooks"
  | "codebook_pairs"
  | "codebook_quads"
  | "coded_records"
  | "key_records"
  | "value_records"
  | "key_quads"
  | "value_quads"
  | "records"
  | "rope"
  | "table"
  | "table_written"
  | "table16"
  | "table16_written"
  | "row_scores"
  | "row_scores_written"
  | "partials"
  | "partials_written"
  | "vectors"
  | "sink_logits"
  | "batch"
  | "samples"
  | "weights"
  | "centroid_table"
  | "centroids"
  | "scores"
  | "codes"
  | "codes_written"
  | "partial_sums"
  | "group_results";

/** The WGSL address space and access mode of a resource. */
export type BindingSpace = "uniform" | "storage, read" | "storage, read_write";

/** The resources of each address space. */
const NAMES: Readonly<Record<BindingSpace, readonly BindingName[]>> = {
  "uniform": ["step", "layer", "batch", "centroid_table"],
  "storage, read": [
    "queries",
    "keys",
    "values",
    "exact",
    "exact_quads",
    "pages",
    "codebooks",
    "codebook_pairs",
    "codebook_quads",
    "coded_records",
    "key_records",
    "value_records",
    "key_quads",
    "value_quads",
    "rope",
    "table",
    "table16",
    "row_scores",
    "partials",
    "sink_logits",
    "samples",
    "weights",
    "codes",
  ],
  "storage, read_write": [
    "output",
    "exact_written",
    "records",
    "table_written",
    "table16_written",
    "row_scores_written",
    "partials_written",
    "vectors",
    "centroids",
    "scores",
    "codes_written",
    "partial_sums",
    "group_results",
  ],
};

/** The address space of a resource; undefined for a name that is none's. */
export function bindingSpace(name: string): BindingSpace | undefined {
  return (Object.keys(NAMES) as BindingSpace[]).find((space) =>
    NAMES[space].includes(name as BindingName)
  );
}

/** Their WGSL types. Only what writes kernels needs them, so that a bundle has them not. */
export const BINDING_TYPES: Readonly<Record<BindingName, string>> = {
  step: "Step",
  layer: "Layer",
  queries: "array<u32>",
  keys: "array<u32>",
  values: "array<u32>",
  output: "array<u32>",
  exact: "array<u32>",
  exact_quads: "array<vec4<u32>>",
  exact_written: "array<u32>",
  pages: "array<u32>",
  codebooks: "array<u32>",
  codebook_pairs: "array<vec2<u32>>",
  codebook_quads: "array<vec4<u32>>",
  coded_records: "array<u32>",
  key_records: "array<u32>",
  value_records: "array<u32>",
  key_quads: "array<vec4<u32>>",
  value_quads: "array<vec4<u32>>",
  records: "array<u32>",
  rope: "array<vec4<f32>>",
  table: "array<vec4<f32>>",
  table_written: "array<vec4<f32>>",
  table16: "array<vec2<u32>>",
  table16_written: "array<vec2<u32>>",
  row_scores: "array<f32>",
  row_scores_written: "array<f32>",
  partials: "array<vec4<f32>>",
  partials_written: "array<vec4<f32>>",
  sink_logits: "array<f32>",
  vectors: "array<u32>",
  batch: "Batch",
  samples: "array<vec4<f32>>",
  weights: "array<vec4<f32>>",
  centroid_table: "array<vec4<f32>, TABLE_ROWS * ROW>",
  centroids: "array<f32>",
  scores: "array<vec4<f32>>",
  codes: "array<vec4<u32>>",
  codes_written: "array<vec4<u32>>",
  partial_sums: "array<f32>",
  group_results: "array<vec2<f32>>",
};
