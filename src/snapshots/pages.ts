/** Records in pages, as they lie on a device, and in a row, as they lie in files. */
import { PAGE_TOKENS } from "../kernels/constants.ts";
import { type RecordLayout, recordWords } from "../records/layout.ts";
import { firstRecords } from "../records/pack.ts";

/**
 * Records as `[head][words]`, from whole pages `[page][head][words]`. Bits behind the last token
 * become zero.
 */
export function fromPages(
  layout: RecordLayout,
  heads: number,
  coded: number,
  paged: Uint32Array,
): Uint32Array<ArrayBuffer> {
  const words = recordWords(layout, coded);
  const records = new Uint32Array(heads * words);
  forEachPagePart(layout, heads, coded, ({ at, pagedAt, count }) => {
    records.set(paged.subarray(pagedAt, pagedAt + count), at);
  });
  for (let head = 0; head < heads; head++) {
    const own = records.subarray(head * words, (head + 1) * words);
    own.set(firstRecords(layout, own, coded));
  }
  return records;
}

/** The inverse of {@linkcode fromPages}; words behind the last record are zero. */
export function toPages(
  layout: RecordLayout,
  heads: number,
  coded: number,
  records: Uint32Array,
): Uint32Array<ArrayBuffer> {
  const pages = Math.ceil(coded / PAGE_TOKENS);
  const paged = new Uint32Array(pages * heads * recordWords(layout, PAGE_TOKENS));
  forEachPagePart(layout, heads, coded, ({ at, pagedAt, count }) => {
    paged.set(records.subarray(at, at + count), pagedAt);
  });
  return paged;
}

/** Every run of words that is contiguous in both records and pages: one page of one head. */
function forEachPagePart(
  layout: RecordLayout,
  heads: number,
  coded: number,
  visit: (part: { readonly at: number; readonly pagedAt: number; readonly count: number }) => void,
): void {
  const words = recordWords(layout, coded);
  const pageWords = recordWords(layout, PAGE_TOKENS);
  for (let page = 0; page * pageWords < words; page++) {
    for (let head = 0; head < heads; head++) {
      visit({
        at: head * words + page * pageWords,
        pagedAt: (page * heads + head) * pageWords,
        count: Math.min(pageWords, words - page * pageWords),
      });
    }
  }
}
