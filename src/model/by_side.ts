import type { Side } from "./side.ts";

/** Makes one value for each side. */
export function bySide<T>(make: (side: Side) => T): Record<Side, T> {
  return { keys: make("keys"), values: make("values") };
}
