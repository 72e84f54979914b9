/** The schemes that a visitor may choose, and where their kernels are. */
import type { KernelInfo } from "@couplet/kv";

/** A scheme on offer. */
export interface OfferedScheme {
  /** Its id. */
  readonly id: string;
  /** What it is, in a few words. */
  readonly label: string;
  /** Loads its kernels for the model's head dimension, 64. */
  readonly kernels: () => Promise<{ readonly kernels: readonly KernelInfo[] }>;
}

/** In the order of the list: f16, those without calibration, those with codebooks. */
export const SCHEMES: readonly OfferedScheme[] = [
  {
    id: "f16",
    label: "16 bits, the same again",
    kernels: () => import("../../../../generated/f16/f16_d64.ts"),
  },
  {
    id: "u4b8",
    label: "2.4 bits, no calibration",
    kernels: () => import("../../../../generated/u4b8/u4b8_d64.ts"),
  },
  {
    id: "u8b8",
    label: "1.4 bits, no calibration",
    kernels: () => import("../../../../generated/u8b8/u8b8_d64.ts"),
  },
  {
    id: "n8b8x2",
    label: "2.1 bits, sums of centroids",
    kernels: () => import("../../../../generated/n8b8x2/n8b8x2_d64.ts"),
  },
  {
    id: "c4b8",
    label: "2 bits, learned codebooks",
    kernels: () => import("../../../../generated/c4b8/c4b8_d64.ts"),
  },
  {
    id: "n16b8x2",
    label: "1.1 bits, sums of centroids",
    kernels: () => import("../../../../generated/n16b8x2/n16b8x2_d64.ts"),
  },
  {
    id: "c8b8",
    label: "1 bit, learned codebooks",
    kernels: () => import("../../../../generated/c8b8/c8b8_d64.ts"),
  },
];
