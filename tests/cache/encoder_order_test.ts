/** In which order encoders may take a sequence's commands, without a device. */
import assert from "node:assert/strict";
import type { Sequence } from "../../mod.ts";
import { EncoderOrder } from "../../src/cache/encoder_order.ts";

/** An encoder, or a pass, as far as the order tells them apart. */
const encoder = () => ({ beginComputePass() {} }) as unknown as GPUCommandEncoder;
const pass = () => ({ dispatchWorkgroups() {} }) as unknown as GPUComputePassEncoder;
const [a, b] = [1, 2].map((id) => ({ id }) as unknown as Sequence) as [Sequence, Sequence];

Deno.test("EncoderOrder refuses an encoder that any of the sequences has left, and no other", () => {
  const [first, second, third] = [encoder(), encoder(), encoder()];
  const order = new EncoderOrder();
  order.note(first, [a, b]);
  order.note(second, [b]);
  order.check(first, [a]);
  order.check(second, [a, b]);
  for (const sequences of [[b], [a, b]]) {
    assert.throws(() => order.check(first, sequences), { code: "usage", message: /sequence 2/ });
  }
  // What was left stays so, however many come after.
  order.note(third, [b, a]);
  order.note(third, [a]);
  for (const left of [first, second]) {
    assert.throws(() => order.check(left, [b]), { code: "usage" });
  }
  assert.throws(() => order.check(first, [a]), { code: "usage", message: /sequence 1/ });
  order.check(second, [a]);
  order.check(third, [a, b]);
});

Deno.test("EncoderOrder takes no note of passes, which do not say whose they are", () => {
  const [first, own] = [encoder(), pass()];
  const order = new EncoderOrder();
  order.note(first, [a]);
  order.note(own, [a]);
  order.check(first, [a]);
  order.check(own, [a]);
});
