/** The package's own rows, all together. */
import type { Table } from "./kernels/table.ts";
import { anchored, kmeans, ladder, mrope, pairs, sizes } from "./variants.ts";

/** The table that `generated/` is made from. */
export const TABLE: Table = { sizes, pairs, anchored, mrope, ladder, kmeans };
