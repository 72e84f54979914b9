/** The arithmetic mean. */
export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** The standard error of the mean: what is known of it from fewer than two values is null. */
export function standardError(values: readonly number[]): number | null {
  if (values.length < 2) return null;
  const center = mean(values);
  const squares = values.reduce((sum, value) => sum + (value - center) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

/** The mean over layers and heads; undefined where nothing is coded. */
export function meanError(errors: readonly { readonly error: number }[]): number | undefined {
  return errors.length === 0 ? undefined : mean(errors.map(({ error }) => error));
}
