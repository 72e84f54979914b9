import type { AdapterKind } from "../../tools/adapters.ts";
import { type DemoArguments, type DemoOptions, FULL_CONTEXT, type Workload } from "./arguments.ts";

/** What a few minutes suffice for on two cores: Mesa's driver for the CPU, and any GPU. */
const FAST: Workload = {
  context: FULL_CONTEXT,
  tokens: 2048,
  calibrationTokens: 12288,
  generate: 96,
};

/** What the same minutes suffice for on SwiftShader, which is several times slower. */
const SLOW: Workload = { context: 384, tokens: 384, calibrationTokens: 1920, generate: 24 };

/** Fills in how much work to do where the command line leaves it open. */
export function withWorkload(given: DemoArguments, kind: AdapterKind): DemoOptions {
  const defaults = kind === "hardware" || kind === "llvmpipe" ? FAST : SLOW;
  const context = given.context ?? (given.tokens === undefined ? defaults.context : FULL_CONTEXT);
  return {
    ...given,
    context,
    tokens: given.tokens ?? Math.max(defaults.tokens, context),
    calibrationTokens: given.calibrationTokens ?? defaults.calibrationTokens,
    generate: given.generate ?? defaults.generate,
  };
}
