/**
 * WGSL shared by the kernels.
 *
 * Group 0 holds a kernel's own buffers, group 1 the step: which rows (tokens, or a slab of them) a
 * dispatch works on. The step is one slot of a uniform buffer, chosen by a dynamic offset.
 *
 * A weight matrix `W [outputs][inputs]` lies in blocks of 16 bytes along the inputs, the blocks of all
 * outputs beside each other: block `b` of output `o` is element `b * outputs + o`. Neighbouring
 * invocations compute neighbouring outputs, so their loads are contiguous.
 *
 * @module
 */

/** Elements of a block: eight float16 in four words, or four float32. */
export type MatrixStorage = "f16" | "f32";

/** Input channels in one 16-byte block. */
export function blockChannels(storage: MatrixStorage): number {
  return storage === "f16" ? 8 : 4;
}

/** WGSL element type of a matrix. */
export function blockType(storage: MatrixStorage): string {
  return storage === "f16" ? "vec4<u32>" : "vec4<f32>";
}

/** The vec4s of channels in the block `name`, as WGSL expressions. */
export function blockParts(storage: MatrixStorage, name: string): string[] {
  if (storage === "f32") return [name];
  return [
    `vec4(unpack2x16float(${name}.x), unpack2x16float(${name}.y))`,
    `vec4(unpack2x16float(${name}.z), unpack2x16float(${name}.w))`,
  ];
}

/** Declares the step of group 1. */
export const STEP = `
struct Step {
  // Rows this dispatch works on.
  rows: u32,
  // The first of them in the kernel's input (and in per-row tables); outputs start at row 0.
  firstRow: u32,
}
@group(1) @binding(0) var<uniform> step: Step;
`;

/** Most workgroups in one dimension of a dispatch under default limits. */
export const MAX_WORKGROUPS = 65535;

/** A grid of at least `count` workgroups; kernels count along x first. */
export function grid(count: number): [number, number] {
  const x = Math.min(count, MAX_WORKGROUPS);
  return [x, Math.ceil(count / x)];
}
