/** Tensors of whole numbers in files of other programs. */
import type { SafetensorsTensor } from "../base/safetensors.ts";

/** A tensor's elements, or undefined where its dtype is not I32, I64 or U32. */
export function integerElements({ dtype, data }: SafetensorsTensor): number[] | undefined {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  switch (dtype) {
    case "I32":
      return Array.from({ length: data.length / 4 }, (_, i) => view.getInt32(4 * i, true));
    case "U32":
      return Array.from({ length: data.length / 4 }, (_, i) => view.getUint32(4 * i, true));
    case "I64":
      return Array.from(
        { length: data.length / 8 },
        (_, i) => Number(view.getBigInt64(8 * i, true)),
      );
    default:
      return undefined;
  }
}
