/** Every relative link of the documents leads somewhere, to an anchor that is there. */
import assert from "node:assert/strict";
import GithubSlugger from "github-slugger";
import { lexer, type Token, type Tokens, walkTokens } from "marked";

const ROOT = new URL("../../", import.meta.url);

/** Folders with documents, those of the repository's own. */
const FOLDERS = [
  "",
  "bench/",
  "docs/",
  "examples/",
  "generated/",
  "templates/",
  "tests/",
  "tools/",
];

/** Markdown files of a folder; below its own level, too, but for the root's. */
function documents(folder: string): string[] {
  return [...Deno.readDirSync(new URL(folder || ".", ROOT))].flatMap(({ name, isDirectory }) => {
    if (isDirectory) {
      return folder === "" || name === "node_modules" ? [] : documents(`${folder}${name}/`);
    }
    return name.endsWith(".md") ? [`${folder}${name}`] : [];
  });
}

interface Page {
  readonly links: readonly string[];
  readonly anchors: ReadonlySet<string>;
}

function isOf<T extends Tokens.Generic>(token: Token, type: T["type"]): token is T {
  return token.type === type;
}

function readPage(path: string): Page {
  const slugger = new GithubSlugger();
  const links: string[] = [];
  const anchors = new Set<string>();
  walkTokens(lexer(Deno.readTextFileSync(new URL(path, ROOT))), (token) => {
    if (isOf<Tokens.Link>(token, "link") || isOf<Tokens.Image>(token, "image")) {
      links.push(token.href);
    }
    if (isOf<Tokens.Heading>(token, "heading")) {
      anchors.add(slugger.slug(token.text.replaceAll("`", "")));
    }
  });
  return { links, anchors };
}

const pages = new Map(FOLDERS.flatMap(documents).map((path) => [path, readPage(path)]));

function exists(url: URL): boolean {
  try {
    Deno.statSync(url);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

Deno.test("documents: relative links lead to files and headings that are there", () => {
  const broken: string[] = [];
  let checked = 0;
  for (const [path, { links }] of pages) {
    for (const link of links.filter((link) => !/^[a-z]+:/.test(link))) {
      checked++;
      const target = new URL(link, new URL(path, ROOT));
      const anchor = decodeURIComponent(target.hash.slice(1));
      target.hash = "";
      const own = target.href.slice(ROOT.href.length);
      const missing = !exists(target) ||
        (anchor !== "" && pages.get(own)?.anchors.has(anchor) === false);
      if (missing) broken.push(`${path}: ${link}`);
    }
  }
  assert.ok(checked > 100, `${checked} links`);
  assert.deepEqual(broken, []);
});

Deno.test("docs/README.md lists every page of docs/", () => {
  const { links } = pages.get("docs/README.md")!;
  const listed = new Set(links.map((link) => link.split("#")[0]));
  const missing = [...pages.keys()].filter((path) => /^docs\/[^/]+\.md$/.test(path))
    .map((path) => path.slice("docs/".length))
    .filter((name) => name !== "README.md" && !listed.has(name));
  assert.deepEqual(missing, []);
});

/** Paths in `tests/` of the files of a folder, and of those within. */
function testFiles(folder: string): string[] {
  return [...Deno.readDirSync(new URL(`tests/${folder}`, ROOT))].flatMap(({ name, isDirectory }) =>
    isDirectory ? testFiles(`${folder}${name}/`) : [folder + name]
  );
}

Deno.test("documents: the test files that they name are there", () => {
  const present = testFiles("");
  let named = 0;
  const missing = [...pages.keys()].flatMap((path) => {
    const text = Deno.readTextFileSync(new URL(path, ROOT));
    return [...text.matchAll(/tests\/([\w*/]+_test\.ts)/g)].flatMap(([, name]) => {
      named++;
      const pattern = new RegExp(`^${name!.replaceAll("*", ".*").replaceAll(".ts", "\\.ts")}$`);
      return present.some((file) => pattern.test(file)) ? [] : [`${path}: ${name}`];
    });
  });
  assert.ok(named > 20, `${named} names`);
  assert.deepEqual(missing, []);
});

Deno.test("ARCHITECTURE.md tells the house in fewer than 2,500 words", () => {
  const words = Deno.readTextFileSync(new URL("ARCHITECTURE.md", ROOT)).split(/\s+/);
  assert.ok(words.filter((word) => word !== "").length < 2500);
});
