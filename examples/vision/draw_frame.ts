/** Frames as text: half blocks with two grey pixels each on a terminal, else letters. */

/** Letters from dark to bright. */
const LETTERS = " .:-=+*#%@";

/**
 * The lines of a grey frame. One character stands for a pixel and the one below it.
 *
 * @param pixels `[size][size]`.
 * @param colours Whether whoever reads it understands escapes for colours.
 */
export function drawFrame(pixels: Uint8Array, size: number, colours: boolean): string[] {
  return Array.from({ length: Math.ceil(size / 2) }, (_, row) => {
    const line = Array.from({ length: size }, (_, column) => {
      const upper = pixels[2 * row * size + column]!;
      const lower = pixels[(2 * row + 1) * size + column] ?? 0;
      if (colours) return `${grey(38, upper)}${grey(48, lower)}▀`;
      return LETTERS[Math.floor((upper + lower) / 2 / 256 * LETTERS.length)]!;
    }).join("");
    return colours ? `${line}\x1b[0m` : line;
  });
}

/** The escape for a foreground (38) or background (48). */
function grey(ground: 38 | 48, value: number): string {
  return `\x1b[${ground};2;${value};${value};${value}m`;
}

/** Blocks of as many lines side by side. */
export function sideBySide(blocks: readonly (readonly string[])[]): string {
  return blocks[0]!.map((_, line) => blocks.map((block) => block[line]).join("  ")).join("\n");
}
