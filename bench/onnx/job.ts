/** What the program and its page tell each other. */
import { z } from "zod";

/** One comparison. */
export interface OnnxShape {
  readonly model: string;
  readonly context: number;
}

/** What the page is to do. */
export interface OnnxJob {
  readonly shapes: readonly OnnxShape[];
  readonly rounds: number;
}

const times = z.array(z.number().positive()).min(1);

const compared = z.object({
  model: z.string(),
  context: z.int(),
  /** Element type of ONNX Runtime's keys and values; the library's are f16. */
  type: z.enum(["float32", "float16"]),
  /** Milliseconds of one step, by round. */
  onnx: times,
  library: times,
  /** Largest difference of the two outputs, over the largest number of ONNX Runtime's. */
  difference: z.number(),
});

/** What the page found, or why it could not. */
export const onnxAnswerSchema = z.union([
  z.object({ adapter: z.string(), compared: z.array(compared) }),
  z.object({ error: z.string() }),
]);

/** One comparison's figures. */
export type OnnxComparison = z.infer<typeof compared>;
