/** A model of one node: the attention of one decode step, as ONNX Runtime's contrib operator has it. */
import { Graph } from "../../examples/hosts/onnx/graph.ts";

/** Sizes of the one node's tensors. */
export interface AttentionModel {
  readonly queryHeads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Tokens the query attends to, its own included. */
  readonly context: number;
  readonly type: "float32" | "float16";
}

/**
 * An ONNX file with one `GroupQueryAttention` node, one sequence and one new token. Past and present have one shape, so
 * that they may share their buffers.
 */
export function attentionModel(
  { queryHeads, keyValueHeads, headDim, context, type }: AttentionModel,
): Uint8Array<ArrayBuffer> {
  const graph = new Graph();
  const row = (heads: number) => [1, 1, heads * headDim];
  const cache = [1, keyValueHeads, context, headDim];
  graph.contribution(
    "GroupQueryAttention",
    ["output", "present_key", "present_value"],
    [
      graph.input("query", type, row(queryHeads)),
      graph.input("key", type, row(keyValueHeads)),
      graph.input("value", type, row(keyValueHeads)),
      graph.input("past_key", type, cache),
      graph.input("past_value", type, cache),
      graph.input("seqlens_k", "int32", [1]),
      graph.input("total_sequence_length", "int32", [1]),
    ],
    { num_heads: queryHeads, kv_num_heads: keyValueHeads },
  );
  graph.output("output", type, row(queryHeads));
  graph.output("present_key", type, cache);
  graph.output("present_value", type, cache);
  return graph.encode("decode");
}
