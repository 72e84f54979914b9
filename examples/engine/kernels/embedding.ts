import { blockParts, blockType, type MatrixStorage, STEP } from "./common.ts";

/** Invocations per workgroup: one block of 16 bytes each. */
export const EMBEDDING_WORKGROUP = 64;

/**
 * Copies each token's row of the embedding, multiplied by a factor, into the residual stream. The matrix may be one of several
 * pieces; a token of another piece is left alone.
 */
export function embeddingSource(storage: MatrixStorage): string {
  const parts = blockParts(storage, "block");
  return `${STEP}
struct Piece { blocks: u32, outputs: u32, firstOutput: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> matrix: array<${blockType(storage)}>;
@group(0) @binding(1) var<storage, read> tokenIds: array<u32>;
@group(0) @binding(2) var<storage, read_write> hidden: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> piece: Piece;

@compute @workgroup_size(${EMBEDDING_WORKGROUP})
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.y * groups.x + group.x) * ${EMBEDDING_WORKGROUP}u + lane;
  let row = index / piece.blocks;
  let b = index % piece.blocks;
  if (row >= step.rows) { return; }
  let token = tokenIds[row];
  if (token < piece.firstOutput || token >= piece.firstOutput + piece.outputs) { return; }
  let block = matrix[b * piece.outputs + token - piece.firstOutput];
${
    parts.map((part, i) => `  hidden[index * ${parts.length}u + ${i}u] = piece.scale * ${part};`)
      .join("\n")
  }
}
`;
}
