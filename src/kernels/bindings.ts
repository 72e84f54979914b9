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
  | "counters"
  | "pages"
  | "pages_written"
  | "codebooks"
  | "codebook_pairs"
  | "codebook_quads"
  | "coded_records"
  | "key_records"
  | "value_records"
  | "key_quads"
  | "value_quads"
  | "records"
  | "restored"
  | "levels"
  | "levels_written"
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
  | "group_results"
  | "added_centroids"
  | "beam_written"
  | "sums_written";

/** The WGSL address space and access mode of a resource. */
export type BindingSpace = "uniform" | "storage, read" | "storage, read_write";

const UNIFORM: readonly BindingName[] = ["step", "layer", "batch", "centroid_table"];

/** Resources that kernels write, besides those whose name says so. */
const WRITTEN: readonly BindingName[] = [
  "counters",
  "output",
  "records",
  "vectors",
  "centroids",
  "scores",
  "partial_sums",
  "group_results",
];

/** The address space of a resource. */
export function bindingSpace(name: BindingName): BindingSpace {
  return UNIFORM.includes(name)
    ? "uniform"
    : WRITTEN.includes(name) || name.endsWith("_written")
    ? "storage, read_write"
    : "storage, read";
}

/**
 * The WGSL types of all resources. Only the generator and tools need them, so bundles leave them
 * out.
 */
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
  counters: "array<atomic<u32>, 5>",
  pages: "array<u32>",
  pages_written: "array<u32>",
  codebooks: "array<u32>",
  codebook_pairs: "array<vec2<u32>>",
  codebook_quads: "array<vec4<u32>>",
  coded_records: "array<u32>",
  key_records: "array<u32>",
  value_records: "array<u32>",
  key_quads: "array<vec4<u32>>",
  value_quads: "array<vec4<u32>>",
  records: "array<u32>",
  restored: "array<u32>",
  levels: "array<u32>",
  levels_written: "array<u32>",
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
  added_centroids: "array<vec4<f32>>",
  beam_written: "array<u32>",
  sums_written: "array<u32>",
};
