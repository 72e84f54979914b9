/** Schemes of keys and of values, in words. */

/** The schemes, such as `c4b8/c8b8`; one where they are the same. */
export function pairName(
  { keys, values }: { readonly keys: string; readonly values: string },
): string {
  return keys === values ? keys : `${keys}/${values}`;
}
