/**
 * Draws docs/pictures/one_vector.svg: a key becomes codes, and attention reads them. What it shows is computed, by the
 * library, from correlated channels.
 *
 * Usage: `deno run -A tools/draw_one_vector.ts`
 *
 * @module
 */
import { calibrate, centroidNumbers, packRecords, parseScheme } from "@couplet/kv";
import { type Random, seededRandom } from "../src/base/random.ts";
import { box, picture, text } from "./svg.ts";

const SCHEME = "c4b8";
const HEAD_DIM = 16;
const TOKENS = 2048;
const PATH = new URL("../docs/pictures/one_vector.svg", import.meta.url);

const { channels: CHANNELS, centroids: CENTROIDS, layout } = parseScheme(SCHEME);
const GROUPS = HEAD_DIM / CHANNELS;

/** Channels that depend on their neighbours, as those of keys do. Four uniform numbers are nearly a Gaussian one. */
function correlated(random: Random): number[] {
  const noise = () => random.next() + random.next() + random.next() + random.next() - 2;
  let value = noise();
  return Array.from({ length: HEAD_DIM }, () => value = 0.8 * value + 0.6 * noise());
}

function dot(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, value, i) => sum + value * b[i]!, 0);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** A number with its sign. */
function signed(value: number): string {
  return `${value < 0 ? "−" : "+"} ${Math.abs(value).toFixed(2)}`;
}

/** The vector as bars, one for each channel. */
function bars(x: number, y: number, values: readonly number[]): string {
  const scale = 56 / Math.max(...values.map(Math.abs));
  return values.map((value, channel) => {
    const height = round(Math.abs(value) * scale);
    const top = value > 0 ? round(y - height) : y;
    return box(x + channel * 11, top, 9, height, `class="g${Math.floor(channel / CHANNELS)}"`);
  }).join("") + `<path d="M${x - 3} ${y}h${HEAD_DIM * 11 + 4}" class="line"/>`;
}

/** All centroids of a group, the stronger the nearer; the nearest is outlined. */
function distances(x: number, y: number, squares: readonly number[], code: number): string {
  const side = Math.sqrt(CENTROIDS);
  const largest = Math.max(...squares);
  const at = (index: number) => [x + (index % side) * 10, y + Math.floor(index / side) * 10];
  const cells = squares.map((square, index) => {
    const [left, top] = at(index);
    // The root spreads the near ones apart.
    const opacity = Math.round(100 * (1 - Math.sqrt(square / largest)) ** 1.5) / 100;
    return box(left!, top!, 9, 9, `class="g1" opacity="${Math.max(opacity, 0.05)}"`);
  });
  const [left, top] = at(code);
  return cells.join("") + box(left! - 2, top! - 2, 13, 13, 'class="mark"');
}

/** Bits of a word, the lowest first, eight in a row. */
function bits(x: number, y: number, word: number): string {
  return Array.from({ length: 32 }, (_, bit) => {
    const group = Math.floor(bit / 8);
    const set = (word >>> bit) & 1;
    return box(
      x + (bit % 8) * 13,
      y + group * 30,
      11,
      16,
      `class="g${group}" opacity="${set ? 1 : 0.18}"`,
    );
  }).join("");
}

/** The picture, as SVG. */
export async function drawOneVector(): Promise<string> {
  const random = seededRandom("one vector");
  const samples = Float32Array.from(
    Array.from({ length: TOKENS }, () => correlated(random)).flat(),
  );
  const { codebooks: [codebook] } = await calibrate({
    samples: [{ layer: 0, side: "keys", keyValueHeads: 1, headDim: HEAD_DIM, values: samples }],
    schemes: { keys: [SCHEME], values: [] },
    keySpace: "as-scored",
    model: { name: "a picture", digest: "none" },
    seed: 1,
    iterations: 8,
  });
  const centroids = centroidNumbers(codebook!);
  const centroid = (group: number, code: number) => {
    const first = (group * CENTROIDS + code) * CHANNELS;
    return [...centroids.subarray(first, first + CHANNELS)];
  };
  const key = correlated(random);
  // One that looks at this key.
  const query = correlated(random).map((value, i) => value + key[i]!);
  const parts = Array.from({ length: GROUPS }, (_, group) => {
    const own = (vector: readonly number[]) =>
      vector.slice(group * CHANNELS, (group + 1) * CHANNELS);
    const squares = Array.from(
      { length: CENTROIDS },
      (_, code) =>
        own(key).reduce((sum, value, i) => sum + (value - centroid(group, code)[i]!) ** 2, 0),
    );
    const code = squares.indexOf(Math.min(...squares));
    return { squares, code, term: dot(own(query), centroid(group, code)) };
  });
  const [word] = packRecords(layout(HEAD_DIM), parts.map(({ code }) => code), 1);
  const score = parts.reduce((sum, { term }) => sum + term, 0);
  const shown = parts[1]!;

  const content = [
    text(20, 28, "1  A key", "title"),
    text(20, 46, `${HEAD_DIM} channels, 16 bits each`, "small"),
    bars(24, 130, key),
    text(20, 222, `Four neighbours are a group:`, "small"),
    text(20, 237, "they depend on each other.", "small"),

    text(240, 28, "2  The nearest centroid", "title"),
    text(240, 46, `of ${CENTROIDS}, learned for each group`, "small"),
    distances(240, 62, shown.squares, shown.code),
    text(240, 237, `Group 2: ${shown.code} (stronger is nearer)`, "small"),

    text(480, 28, "3  Its record", "title"),
    text(480, 46, "one word, lowest bits first", "small"),
    bits(480, 72, word!),
    ...parts.map(({ code }, group) => text(596, 85 + group * 30, `${code}`, "mono")),
    text(480, 222, `0x${word!.toString(16).padStart(8, "0")}: 2 bits a channel,`, "small"),
    text(480, 237, "an eighth of the key. No more is kept.", "small"),

    text(700, 28, "4  Attention reads codes", "title"),
    text(700, 46, "query · centroid, group by group", "small"),
    ...parts.flatMap(({ code, term }, group) => [
      box(700, 74 + group * 30, 8, 14, `class="g${group}"`),
      text(716, 85 + group * 30, `q · centroid[${code}]`, "mono"),
      text(930, 85 + group * 30, signed(term), "mono", "end"),
    ]),
    '<path d="M866 188h66" class="line"/>',
    text(716, 204, "score", "mono"),
    text(930, 204, signed(score), "mono", "end"),
    text(716, 222, "with the key itself", "small"),
    text(930, 222, signed(dot(query, key)), "small", "end"),
    ...[220, 452, 674].map((x) => `<path d="M${x - 8} 138h14m-5 -5l5 5l-5 5" class="line"/>`),
  ];
  return picture(
    [950, 252],
    `A key of ${HEAD_DIM} channels becomes four codes of eight bits, and attention reads the codes.`,
    content,
  );
}

if (import.meta.main) await Deno.writeTextFile(PATH, await drawOneVector());
