import { useEffect, useState } from "preact/hooks";

/** How far a promise has come. */
export type Async<T> =
  | { readonly state: "pending" }
  | { readonly state: "done"; readonly value: T }
  | { readonly state: "failed"; readonly error: unknown };

/** The result of `start()`, started anew when one of `inputs` changes; a result that came too late is dropped. */
export function useAsync<T>(start: () => Promise<T>, inputs: readonly unknown[]): Async<T> {
  const [result, setResult] = useState<Async<T>>({ state: "pending" });
  useEffect(() => {
    let wanted = true;
    setResult({ state: "pending" });
    start().then(
      (value) => wanted && setResult({ state: "done", value }),
      (error) => wanted && setResult({ state: "failed", error }),
    );
    return () => {
      wanted = false;
    };
  }, inputs);
  return result;
}
