import type { Evaluation } from "../results.ts";
export async function formatReport(_figures: Evaluation): Promise<string> {
  return await Promise.resolve("");
}
