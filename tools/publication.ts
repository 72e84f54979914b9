/**
 * What registries show of the package, and pages as they are published: links to files that a package
 * lacks lead into the repository.
 *
 * @module
 */
import { lexer, type Token, type Tokens, walkTokens } from "marked";
import { statSync } from "node:fs";
import { posix } from "node:path";
import { ROOT } from "./project.ts";

/** The repository. */
export const REPOSITORY = "https://github.com/couplet-kv/couplet";

/** The branch that links lead into. */
const BRANCH = "main";

/** Fields of npm's manifest that do not change with the package's content. */
export const PUBLICATION = {
  description: "KV-cache compression for WebGPU: language models' caches in 1 to 4 bits a channel",
  keywords: [
    "webgpu",
    "wgsl",
    "kv-cache",
    "quantization",
    "attention",
    "llm",
    "transformers",
    "inference",
    "compression",
  ],
  author: "Couplet",
  homepage: `${REPOSITORY}#readme`,
  repository: { type: "git", url: `git+${REPOSITORY}.git` },
  bugs: { url: `${REPOSITORY}/issues` },
} as const;

/** Pages that registries show away from the package's other files. */
const SHOWN: readonly string[] = ["README.md", "CHANGELOG.md"];

/**
 * A page with its links to files that are not beside it led into the repository.
 *
 * @param path The page's path in the repository.
 * @param published The paths of all files of the package.
 */
export function publishedPage(path: string, text: string, published: readonly string[]): string {
  const keeps = (target: string) =>
    !SHOWN.includes(path) &&
    published.some((file) => file === target || file.startsWith(`${target}/`));
  let page = text;
  for (const { href, isImage } of relativeLinks(text)) {
    const [file = "", anchor] = href.split("#");
    const target = posix.join(posix.dirname(path), file).replace(/\/$/, "");
    if (file === "" || keeps(target)) continue;
    const place = isImage ? "raw" : statSync(ROOT + target).isDirectory() ? "tree" : "blob";
    const address = `${REPOSITORY}/${place}/${BRANCH}/${target}${anchor ? `#${anchor}` : ""}`;
    page = page.replaceAll(`](${href})`, `](${address})`);
  }
  return page;
}

/** A link of a page to a file. */
interface RelativeLink {
  readonly href: string;
  readonly isImage: boolean;
}

/** The links of a page that lead to files beside it. */
export function relativeLinks(text: string): readonly RelativeLink[] {
  const links = new Map<string, RelativeLink>();
  walkTokens(lexer(text), (token) => {
    if (!isLink(token) || /^([a-z]+:|#)/.test(token.href)) return;
    links.set(token.href, { href: token.href, isImage: token.type === "image" });
  });
  return [...links.values()];
}

function isLink(token: Token): token is Tokens.Link | Tokens.Image {
  return token.type === "link" || token.type === "image";
}
