/** WGSL's extensions, by the feature that allows them. */
const EXTENSIONS: Readonly<Record<string, GPUFeatureName>> = {
  f16: "shader-f16",
  subgroups: "subgroups",
};

/** The optional features that a source's extensions need, in a fixed order. */
export function extensionFeatures(wgsl: string): readonly GPUFeatureName[] {
  return [...wgsl.matchAll(/\benable (\w+);/g)].map(([, name]) => EXTENSIONS[name!]!).sort();
}
