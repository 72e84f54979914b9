/** Floating-point tensors in files of other programs. */
import { fromFloat16Array } from "../base/float16.ts";
import type { SafetensorsTensor } from "../base/safetensors.ts";

/** A tensor's elements in f32, or undefined where its dtype is not F32, F64, BF16 or F16. */
export function floatElements(
  { dtype, data }: SafetensorsTensor,
): Float32Array<ArrayBuffer> | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (dtype) {
    case "F32":
      return Float32Array.from({ length: data.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
    case "F64":
      return Float32Array.from({ length: data.length / 8 }, (_, i) => view.getFloat64(8 * i, true));
    case "BF16": {
      // A bfloat16 is the upper half of a float32.
      const bits = Uint32Array.from(
        { length: data.length / 2 },
        (_, i) => view.getUint16(2 * i, true) << 16,
      );
      return new Float32Array(bits.buffer);
    }
    case "F16":
      return Float32Array.from(fromFloat16Array(
        Uint16Array.from({ length: data.length / 2 }, (_, i) => view.getUint16(2 * i, true)),
      ));
    default:
      return undefined;
  }
}
