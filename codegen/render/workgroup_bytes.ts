/**
 * Bytes of workgroup memory that a kernel declares, computed from its WGSL with the default of
 * every override.
 */

const SIZES: Readonly<Record<string, number>> = {
  u32: 4,
  f32: 4,
  "atomic<u32>": 4,
  "vec2<f32>": 8,
  "vec2<u32>": 8,
  "vec2<i32>": 8,
  "vec4<f32>": 16,
  "vec4<u32>": 16,
  "vec4<f16>": 8,
  "mat2x4<f32>": 32,
  "mat4x4<f32>": 64,
};

/** A sum of products of constants, each of which may be divided by others. */
function evaluate(expression: string, constants: ReadonlyMap<string, number>): number {
  const valueOf = (term: string) => {
    const name = term.trim().replace(/^\(|\)$/g, "");
    const value = constants.get(name) ?? Number(name.replace(/u$/, ""));
    if (!Number.isFinite(value)) throw new TypeError(`Cannot evaluate "${expression}" of a kernel`);
    return value;
  };
  const factorOf = (factor: string) => factor.split("/").map(valueOf).reduce((a, b) => a / b);
  const productOf = (product: string) => product.split("*").map(factorOf).reduce((a, b) => a * b);
  return expression.split("+").map(productOf).reduce((a, b) => a + b);
}

/** The total over all `var<workgroup>` variables. */
export function workgroupBytes(wgsl: string): number {
  const constants = new Map<string, number>();
  for (const [, name, value] of wgsl.matchAll(/^(?:const|override) (\w+): u32 = ([^;]+);/gm)) {
    constants.set(name!, evaluate(value!, constants));
  }
  const aliases = new Map(
    [...wgsl.matchAll(/^alias (\w+) = ([^;]+);/gm)].map(([, name, type]) => [name!, type!]),
  );
  /** Bytes of an element: a type, or as many as an array in an array has. */
  function sizeOf(type: string): number {
    const [, inner, length] = /^array<(.+), (.+)>$/.exec(type) ?? [];
    if (inner !== undefined) return sizeOf(inner) * evaluate(length!, constants);
    const size = SIZES[aliases.get(type) ?? type];
    if (size === undefined) throw new TypeError(`Cannot tell how large ${type} of a kernel is`);
    return size;
  }
  let bytes = 0;
  for (const [, type] of wgsl.matchAll(/^var<workgroup> \w+: (array<.+>);/gm)) {
    bytes += sizeOf(type!);
  }
  for (const [, type] of wgsl.matchAll(/^var<workgroup> \w+: (u32|atomic<u32>);/gm)) {
    bytes += SIZES[type!]!;
  }
  return bytes;
}
