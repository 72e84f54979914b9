/** What the pictures of docs/ have in common: their style, for light and dark pages, and their shapes. */

/** A line of text. */
export function text(x: number, y: number, content: string, kind = "", anchor = "start"): string {
  return `<text x="${x}" y="${y}" class="${kind}" text-anchor="${anchor}">${content}</text>`;
}

/** A rectangle. */
export function box(
  x: number,
  y: number,
  width: number,
  height: number,
  attributes: string,
): string {
  return `<rect x="${x}" y="${y}" width="${width}" height="${height}" ${attributes}/>`;
}

const STYLE = `
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.small { font-size: 11px; fill: #59636e; }
.title { font-weight: 600; }
.mono { font-family: ui-monospace, monospace; font-size: 12px; }
.line { stroke: #59636e; fill: none; }
.mark { stroke: #1f2328; stroke-width: 2; fill: none; }
.g0 { fill: #0969da; } .g1 { fill: #bc4c00; } .g2 { fill: #1a7f37; } .g3 { fill: #8250df; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .small { fill: #9198a1; }
  .line { stroke: #9198a1; }
  .mark { stroke: #f0f6fc; }
  .g0 { fill: #4493f8; } .g1 { fill: #f0883e; } .g2 { fill: #3fb950; } .g3 { fill: #ab7df8; }
}`;

/** A picture, as SVG. */
export function picture(
  [width, height]: readonly [number, number],
  title: string,
  content: readonly string[],
): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">
<title id="title">${title}</title>
<style>${STYLE}
</style>
${content.join("\n")}
</svg>
`;
}
