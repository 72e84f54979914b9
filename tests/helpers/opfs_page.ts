/** The page that tests the store in a browser's own file system; posts what failed. */
import {
  openOpfsStore,
  type OpfsDirectory,
  type OpfsLocks,
  opfsStore,
} from "../../src/snapshots/stores/opfs.ts";
import { patterned, STORE_CRITERIA } from "./store_conformance.ts";

/** What the page posts. */
export interface OpfsPageResult {
  /** Criteria that hold. */
  readonly passed: readonly string[];
  /** Criteria that do not, and why. */
  readonly failed: readonly string[];
  /** Bytes of the entry that the visit before left. */
  readonly kept: number | null;
}

const passed: string[] = [];
const failed: string[] = [];
let kept: number | null = null;
try {
  const { storage, locks } = navigator as unknown as {
    storage: { getDirectory(): Promise<OpfsDirectory> };
    locks: OpfsLocks;
  };
  const root = await storage.getDirectory();
  for (const [index, { name, run }] of STORE_CRITERIA.entries()) {
    const folder = `${index}-${crypto.randomUUID()}`;
    const directory = await root.getDirectoryHandle(folder, { create: true });
    await run(opfsStore(directory, locks)).then(
      () => passed.push(name),
      (error) => failed.push(`${name}: ${error}`),
    );
  }
  const store = await openOpfsStore();
  kept = (await store.get("visited"))?.length ?? null;
  await store.put("visited", patterned(100_000, 1));
} catch (error) {
  failed.push(`${error}`);
}
const result: OpfsPageResult = { passed, failed, kept };
await fetch("/result", { method: "POST", body: JSON.stringify(result) });
