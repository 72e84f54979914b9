/** Whether calls are refused as they should be. */
import assert from "node:assert/strict";
import { CoupletError, type CoupletErrorCode } from "../../mod.ts";

/** The call throws an error of this code that says what, why and what to do. */
export function refuses(code: CoupletErrorCode, act: () => unknown): void {
  refusal(code, act);
}

/** The same; returns the error's message. */
export function refusal(code: CoupletErrorCode, act: () => unknown): string {
  let message = "";
  assert.throws(act, (error) => {
    assert.ok(error instanceof CoupletError, String(error));
    assert.equal(error.code, code, error.message);
    for (const part of Object.values(error.parts)) assert.ok(part.length > 10, error.message);
    message = error.message;
    return true;
  });
  return message;
}

/** The promise is rejected with an error of this code. */
export async function rejects(promise: Promise<unknown>, code: CoupletErrorCode): Promise<void> {
  await assert.rejects(promise, (error) => error instanceof CoupletError && error.code === code);
}
