/** What each bit of a record holds, as a picture needs it. */
import { CoupletError, type RecordLayout, type Scheme } from "../../../mod.ts";

/** Consecutive bits of a record that hold one thing. */
export interface RecordField {
  /** The first bit, counted from the first word's lowest. */
  readonly bit: number;
  readonly bits: number;
  readonly holds:
    | {
      readonly kind: "code";
      /** Index in the record. */
      readonly token: number;
      /** Which of the token's codes. */
      readonly code: number;
      /** The channels that share the code: the first and the last. */
      readonly channels: readonly [first: number, last: number];
    }
    | { readonly kind: "shared" }
    | { readonly kind: "token"; readonly token: number }
    | { readonly kind: "padding" };
}

/** A part of a field that lies in one word. */
export interface RecordCell {
  readonly field: RecordField;
  readonly word: number;
  /** The first bit in the word, from its lowest. */
  readonly start: number;
  readonly bits: number;
}

/** Channels of the largest head whose record is drawn, bit by bit: more than any model's has. */
const MOST_CHANNELS = 1024;

/** @throws {CoupletError} `shape` where a record is none, or too large for a picture. */
export function checkDrawable(scheme: Scheme, headDim: number): void {
  if (headDim > MOST_CHANNELS) {
    throw new CoupletError("shape", {
      what: "Cannot draw the record",
      why: `the head dimension is ${headDim}`,
      remedy: `Choose one of up to ${MOST_CHANNELS}`,
    });
  }
  scheme.layout(headDim);
}

/** All fields of one record of a scheme, in order; together they are all of its bits. */
export function recordFields(scheme: Scheme, headDim: number): readonly RecordField[] {
  const layout = scheme.layout(headDim);
  const fields: RecordField[] = [];
  let bit = 0;
  const add = (bits: number, holds: RecordField["holds"]) => {
    if (bits > 0) fields.push({ bit, bits, holds });
    bit += bits;
  };
  for (const { name, per, count, bits, firstBit } of layout.sections) {
    add(firstBit - bit, { kind: "padding" });
    if (per === "record") {
      add(count * bits, { kind: "shared" });
      continue;
    }
    // Which channels a further plane belongs to, a record may say.
    const isCodes = name === "codes";
    const stages = scheme.codebookSpec?.stages ?? 1;
    const channels = (headDim / count) * stages;
    for (let token = 0; token < layout.tokens; token++) {
      if (!isCodes) add(count * bits, { kind: "token", token });
      for (let code = 0; code < count && isCodes; code++) {
        const first = Math.floor(code / stages) * channels;
        add(bits, { kind: "code", token, code, channels: [first, first + channels - 1] });
      }
    }
  }
  add(layout.words * 32 - bit, { kind: "padding" });
  return fields;
}

/** The fields cut where words end. */
export function recordCells(fields: readonly RecordField[]): readonly RecordCell[] {
  return fields.flatMap((field) => {
    const cells: RecordCell[] = [];
    const end = field.bit + field.bits;
    for (let bit = field.bit; bit < end;) {
      const word = Math.floor(bit / 32);
      const bits = Math.min(end, (word + 1) * 32) - bit;
      cells.push({ field, word, start: bit % 32, bits });
      bit += bits;
    }
    return cells;
  });
}

/** Words of each kind that {@linkcode shownRows} leaves of a long record. */
const FIRST_WORDS: Readonly<Record<RecordField["holds"]["kind"], number>> = {
  shared: 2,
  token: 2,
  code: 8,
  padding: 1,
};

/** A row of a picture: a word, or a gap that stands for some words. */
export type RecordRow = { readonly word: number } | { readonly gap: number };

/**
 * The rows of a picture that shows the first words of everything a record holds, and gaps for the others.
 *
 * @param all Every word is to be shown.
 */
export function shownRows(cells: readonly RecordCell[], all: boolean): readonly RecordRow[] {
  const rows: RecordRow[] = [];
  let kind: RecordField["holds"]["kind"] | undefined;
  let first = 0;
  let next = 0;
  for (const { word, field } of cells) {
    if (word < next) continue;
    next = word + 1;
    if (field.holds.kind !== kind) {
      kind = field.holds.kind;
      first = word;
    }
    const last = rows.at(-1);
    if (all || word - first < FIRST_WORDS[kind]) rows.push({ word });
    else if (last !== undefined && "gap" in last) rows[rows.length - 1] = { gap: last.gap + 1 };
    else rows.push({ gap: 1 });
  }
  return rows;
}

/** A field in words. */
export function describeField({ bit, bits, holds }: RecordField): string {
  const place = bits === 1 ? `bit ${bit}` : `bits ${bit} to ${bit + bits - 1}`;
  switch (holds.kind) {
    case "code": {
      const [first, last] = holds.channels;
      const channels = first === last ? `channel ${first}` : `channels ${first} to ${last}`;
      return `token ${holds.token}, ${channels}: ${place}`;
    }
    case "shared":
      return `shared by all tokens: ${place}`;
    case "token":
      return `token ${holds.token}'s own: ${place}`;
    case "padding":
      return `unused: ${place}`;
  }
}

/** A layout in a sentence. */
export function describeLayout(
  { tokens, words, codes, codeBits, metadata, paddingBits }: RecordLayout,
): string {
  const many = (count: number, thing: string) => `${count} ${thing}${count === 1 ? "" : "s"}`;
  return [
    `A record holds ${many(tokens, "token")} of one KV head in ${many(words, "word")}`,
    `${many(codes, "code")} of ${many(codeBits, "bit")} for each token`,
    ...(metadata.sharedBits > 0
      ? [`${many(metadata.sharedBits, "bit")} that its tokens share`]
      : []),
    ...(metadata.tokenBits > 0 ? [`${many(metadata.tokenBits, "bit")} beside each token`] : []),
    paddingBits === 0 ? "no bit unused" : `${many(paddingBits, "bit")} unused`,
  ].join("; ") + ".";
}
