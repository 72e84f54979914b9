/** What all layers have, once, or a list where they differ. */
export function onceIfAlike<T>(values: readonly T[]): T | readonly T[] {
  return new Set(values.map((value) => JSON.stringify(value))).size === 1 ? values[0]! : values;
}
