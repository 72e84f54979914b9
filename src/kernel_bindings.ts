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

/** How a kernel declares one resource: its WGSL address space and type. */
interface BindingDeclaration {
  /** WGSL address space and access mode. */
  readonly space: "uniform" | "storage, read" | "storage, read_write";
  /** WGSL type. */
  readonly type: string;
}

/** Every resource a kernel may bind. The one place that knows. */
export const BINDINGS: Readonly<Record<BindingName, BindingDeclaration>> = {
  step: { space: "uniform", type: "Step" },
  layer: { space: "uniform", type: "Layer" },
  queries: { space: "storage, read", type: "array<u32>" },
  keys: { space: "storage, read", type: "array<u32>" },
  values: { space: "storage, read", type: "array<u32>" },
  output: { space: "storage, read_write", type: "array<u32>" },
  exact: { space: "storage, read", type: "array<u32>" },
  exact_quads: { space: "storage, read", type: "array<vec4<u32>>" },
  exact_written: { space: "storage, read_write", type: "array<u32>" },
  counters: { space: "storage, read_write", type: "array<atomic<u32>, 2>" },
  pages: { space: "storage, read", type: "array<u32>" },
  codebooks: { space: "storage, read", type: "array<u32>" },
  codebook_pairs: { space: "storage, read", type: "array<vec2<u32>>" },
  codebook_quads: { space: "storage, read", type: "array<vec4<u32>>" },
  coded_records: { space: "storage, read", type: "array<u32>" },
  key_records: { space: "storage, read", type: "array<u32>" },
  value_records: { space: "storage, read", type: "array<u32>" },
  key_quads: { space: "storage, read", type: "array<vec4<u32>>" },
  value_quads: { space: "storage, read", type: "array<vec4<u32>>" },
  records: { space: "storage, read_write", type: "array<u32>" },
  rope: { space: "storage, read", type: "array<vec4<f32>>" },
  table: { space: "storage, read", type: "array<vec4<f32>>" },
  table_written: { space: "storage, read_write", type: "array<vec4<f32>>" },
  table16: { space: "storage, read", type: "array<vec2<u32>>" },
  table16_written: { space: "storage, read_write", type: "array<vec2<u32>>" },
  row_scores: { space: "storage, read", type: "array<f32>" },
  row_scores_written: { space: "storage, read_write", type: "array<f32>" },
  partials: { space: "storage, read", type: "array<vec4<f32>>" },
  partials_written: { space: "storage, read_write", type: "array<vec4<f32>>" },
  sink_logits: { space: "storage, read", type: "array<f32>" },
  vectors: { space: "storage, read_write", type: "array<u32>" },
  batch: { space: "uniform", type: "Batch" },
  samples: { space: "storage, read", type: "array<vec4<f32>>" },
  weights: { space: "storage, read", type: "array<vec4<f32>>" },
  centroid_table: { space: "uniform", type: "array<vec4<f32>, TABLE_ROWS * ROW>" },
  centroids: { space: "storage, read_write", type: "array<f32>" },
  scores: { space: "storage, read_write", type: "array<vec4<f32>>" },
  codes: { space: "storage, read", type: "array<vec4<u32>>" },
  codes_written: { space: "storage, read_write", type: "array<vec4<u32>>" },
  partial_sums: { space: "storage, read_write", type: "array<f32>" },
  group_results: { space: "storage, read_write", type: "array<vec2<f32>>" },
};
