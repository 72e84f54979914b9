import { type Side, sideDim, type SideDims } from "../model/side.ts";
import type { RecordLayout } from "../records/layout.ts";
import { parseScheme } from "./parse_scheme.ts";
import type { LayerPolicy } from "./policy.ts";

/** The records of one side of a layer. */
export function sideLayout(layer: LayerPolicy & SideDims, side: Side): RecordLayout {
  return parseScheme(layer[side]).layout(sideDim(layer, side));
}
