/** WGSL in colour, by Shiki's grammar; it loads when the first text is shown. */

/** A piece of a line. */
export interface Token {
  readonly text: string;
  /** A CSS colour. */
  readonly colour: string | undefined;
}

/** The tokens of a text, line by line. */
export type Highlight = (wgsl: string) => Token[][];

let loading: Promise<Highlight> | undefined;

/** The function that highlights; the grammar loads once. */
export function loadHighlighter(): Promise<Highlight> {
  return loading ??= createHighlight();
}

async function createHighlight(): Promise<Highlight> {
  const [{ createHighlighterCore, createCssVariablesTheme }, engine, { default: grammar }] =
    await Promise.all([
      import("@shikijs/core"),
      import("@shikijs/engine-javascript"),
      import("@shikijs/langs/wgsl"),
    ]);
  const theme = "couplet";
  const highlighter = await createHighlighterCore({
    themes: [createCssVariablesTheme({ name: theme })],
    langs: [grammar],
    engine: engine.createJavaScriptRegexEngine(),
  });
  return (wgsl) =>
    highlighter.codeToTokensBase(wgsl, { lang: "wgsl", theme }).map((line) =>
      line.map(({ content, color }) => ({ text: content, colour: color }))
    );
}
