import { readSafetensors, type SafetensorsTensor } from "@couplet/kv";

/** The vision-language fixture's folder. */
export const VISION_FIXTURE = "tests/fixtures/tiny-vlm";

/** A safetensors file's tensors. */
export function readTensors(path: string): ReadonlyMap<string, SafetensorsTensor> {
  return readSafetensors(Deno.readFileSync(path)).tensors;
}

/** A tensor's numbers. */
export function tensorNumbers(tensor: SafetensorsTensor): Float64Array<ArrayBuffer> {
  const { buffer } = tensor.data.slice();
  switch (tensor.dtype) {
    case "I32":
      return Float64Array.from(new Int32Array(buffer));
    case "F64":
      return new Float64Array(buffer);
    case "F16":
      return Float64Array.from(new Float16Array(buffer));
    case "U8":
      return Float64Array.from(new Uint8Array(buffer));
    case "F32":
      return Float64Array.from(new Float32Array(buffer));
    default:
      throw new Error(`no numbers of type ${tensor.dtype}`);
  }
}

/** PyTorch's numbers for the fixture's first examples. */
export interface ExpectedVision {
  /** `[sequence]` of an example: `<bos>`, the video, the questions. */
  tokenIds(example: number): number[];
  /** Rows whose logits predict the answers. */
  readonly answerRows: readonly number[];
  /** `[answers][vocabularySize]` of an example. */
  logits(example: number): Float64Array;
  /** `[answers]` of an example. */
  losses(example: number): Float64Array;
  /** Of example 0. */
  tensor(name: string): Float64Array;
}

/** Examples that there are expected numbers of. */
export const EXPECTED_EXAMPLES = 4;

/** Reads `expected.safetensors` of the fixture. */
export function readExpectedVision(): ExpectedVision {
  const tensors = readTensors(`${VISION_FIXTURE}/expected.safetensors`);
  const tensor = (name: string) => tensorNumbers(tensors.get(name)!);
  const part = (name: string, example: number) => {
    const all = tensor(name);
    const size = all.length / EXPECTED_EXAMPLES;
    return all.subarray(example * size, (example + 1) * size);
  };
  return {
    tokenIds: (example) => [...part("token_ids", example)],
    answerRows: [...tensor("answer_rows")],
    logits: (example) => part("logits", example),
    losses: (example) => part("losses", example),
    tensor,
  };
}
