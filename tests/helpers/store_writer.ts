/**
 * A process that writes an entry again and again until it is killed, and prints a line each time: its arguments
 * are the store's kind, its place and the writer's number.
 *
 * @module
 */
import { openShared, type SharedStore } from "./shared_stores.ts";
import { entriesOf } from "./written_entries.ts";

const [kind, place, writer] = Deno.args;
const { store } = await openShared(kind as SharedStore, place!);
const entries = entriesOf(Number(writer));
for (let index = 0;; index++) {
  await store.put("entry", entries[index % 2]!);
  console.log(index);
}
