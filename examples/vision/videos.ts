import { CoupletError, readSafetensors, type SafetensorsTensor } from "@couplet/kv";
import { readFile } from "../../cli/files.ts";
import type { VisionModel } from "./vision_model.ts";

/** A question about a video, in tokens, and the token that answers it. */
export interface Question {
  readonly tokenIds: readonly number[];
  readonly answer: number;
}

/** A video and what is asked about it. */
export interface Video {
  /** `[frames][frameSize][frameSize]`, grey. */
  readonly pixels: Uint8Array;
  readonly questions: readonly Question[];
}

/**
 * Reads a file of videos: safetensors with `pixels`, U8 `[videos][frames][height][width]`, and
 * `questions`, I32 `[videos][questions][tokens]`, whose last token is the answer.
 *
 * @throws {CoupletError} `file` where it cannot be read or holds other tensors; `shape` where frames or
 * tokens are not the model's.
 */
export async function readVideos(path: string, model: VisionModel): Promise<readonly Video[]> {
  const remedy = "Give safetensors with pixels and questions, as docs/vision.md describes them";
  return await readFile(path, { what: `the videos "${path}"`, remedy }, (bytes) => {
    const { tensors } = readSafetensors(bytes);
    return parseVideos(tensors, model, remedy);
  });
}

function parseVideos(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  { vision, text }: VisionModel,
  remedy: string,
): readonly Video[] {
  function refused(code: "file" | "shape", why: string): CoupletError {
    return new CoupletError(code, { what: "These videos cannot be used", why, remedy });
  }
  function take(name: string, dtype: string, dimensions: number): SafetensorsTensor {
    const tensor = tensors.get(name);
    if (tensor === undefined) throw refused("file", `there is no tensor "${name}"`);
    if (tensor.dtype !== dtype || tensor.shape.length !== dimensions) {
      throw refused(
        "file",
        `"${name}" is ${tensor.dtype} [${
          tensor.shape.join(", ")
        }], not ${dtype} of ${dimensions} dimensions`,
      );
    }
    return tensor;
  }
  const pixels = take("pixels", "U8", 4);
  const questions = take("questions", "I32", 3);
  const [videos, frames, height, width] = pixels.shape as [number, number, number, number];
  const [asked, each, tokens] = questions.shape as [number, number, number];
  if (height !== vision.frameSize || width !== vision.frameSize) {
    throw refused(
      "shape",
      `frames are ${height} x ${width} pixels, and the model takes ${vision.frameSize} x ${vision.frameSize}`,
    );
  }
  if (frames < 1 || frames > vision.maxFrames) {
    throw refused(
      "shape",
      `there are ${frames} frames, and the model takes 1 to ${vision.maxFrames}`,
    );
  }
  if (asked !== videos || tokens < 2) {
    throw refused(
      "shape",
      `there are ${videos} videos and questions of ${tokens} tokens about ${asked}`,
    );
  }
  const ids = new Int32Array(questions.data.slice().buffer);
  const unknown = ids.find((id) => id < 0 || id >= text.config.vocabularySize);
  if (unknown !== undefined) throw refused("shape", `token ${unknown} is not in the vocabulary`);
  const size = frames * height * width;
  return Array.from({ length: videos }, (_, video) => ({
    pixels: pixels.data.subarray(video * size, (video + 1) * size),
    questions: Array.from({ length: each }, (_, question) => {
      const start = (video * each + question) * tokens;
      return {
        tokenIds: [...ids.subarray(start, start + tokens - 1)],
        answer: ids[start + tokens - 1]!,
      };
    }),
  }));
}
