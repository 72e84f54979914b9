import { CoupletError, type Policy } from "@couplet/kv";
import { parseSchemePairs } from "../../demo/scheme_pairs.ts";

/** The schemes of a span, with exceptions by layer. */
export interface SpanSchemes extends Policy {
  /** `c4b8/c8b8`, or `c4b8/c8b8@2:c2b8` where layer 2 differs. */
  readonly id: string;
}

/**
 * The schemes that a text names: a pair for all layers, and behind each `@` a layer and its own.
 *
 * @throws {CoupletError} `scheme` where a scheme is unknown, `usage` where the text has another form.
 */
export function parseSpanSchemes(text: string): SpanSchemes {
  const [all, ...exceptions] = text.split("@");
  const { id, keys, values } = parseSchemePairs(all!).at(-1)!;
  if (exceptions.length === 0) return { id, keys, values };
  const layers = exceptions.map((exception) => {
    const [, layer, pair] = /^(\d+):(.*)$/.exec(exception.trim()) ?? [];
    if (layer === undefined) {
      throw new CoupletError("usage", {
        what: `Cannot read the schemes "${text.trim()}"`,
        why: `"${exception.trim()}" is no layer with its schemes`,
        remedy: 'Write a layer, a colon and its schemes, such as "c16b8@2:c2b8/c8b8"',
      });
    }
    return { layer: Number(layer), pair: parseSchemePairs(pair!).at(-1)! };
  });
  return {
    id: [id, ...layers.map(({ layer, pair }) => `${layer}:${pair.id}`)].join("@"),
    keys,
    values,
    layers: Object.fromEntries(
      layers.map(({ layer, pair }) => [layer, { keys: pair.keys, values: pair.values }]),
    ),
  };
}
