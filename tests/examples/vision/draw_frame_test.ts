import assert from "node:assert/strict";
import { drawFrame, sideBySide } from "../../../examples/vision/draw_frame.ts";

/** Three rows of three pixels. */
const PIXELS = Uint8Array.of(0, 255, 0, 0, 255, 0, 128, 0, 255);

Deno.test("drawFrame draws two rows of pixels as a line of letters, the brighter the fuller", () => {
  assert.deepEqual(drawFrame(PIXELS, 3, false), [" @ ", ": ="]);
});

Deno.test("drawFrame draws two rows of pixels as a line of half blocks in both greys", () => {
  const [first, second] = drawFrame(PIXELS, 3, true);
  assert.equal(first!.match(/▀/g)!.length, 3);
  assert.ok(first!.includes("\x1b[38;2;255;255;255m\x1b[48;2;255;255;255m▀"));
  assert.ok(second!.startsWith("\x1b[38;2;128;128;128m\x1b[48;2;0;0;0m▀"));
  assert.ok(second!.endsWith("\x1b[0m"));
});

Deno.test("sideBySide joins lines", () => {
  assert.equal(sideBySide([["ab", "cd"], ["ef", "gh"]]), "ab  ef\ncd  gh");
});
