import type { VNode } from "preact";

/** What to do in each browser. */
const BROWSERS: readonly (readonly [browser: string, advice: string])[] = [
  ["Chrome and Edge", "113 or later on Windows, macOS and ChromeOS, 121 or later on Android"],
  [
    "Chrome on Linux",
    "turn on “Unsafe WebGPU Support” in chrome://flags, and “Vulkan” for a GPU",
  ],
  ["Safari", "26 or later, on macOS, iOS and iPadOS"],
  ["Firefox", "141 or later on Windows, 145 or later on a Mac with Apple silicon"],
];

/** How to get WebGPU. */
export function WebgpuAdvice(): VNode {
  return (
    <section aria-labelledby="advice-heading">
      <h2 id="advice-heading">Where WebGPU is</h2>
      <dl class="advice">
        {BROWSERS.map(([browser, advice]) => (
          <div key={browser}>
            <dt>{browser}</dt>
            <dd>{advice}</dd>
          </div>
        ))}
      </dl>
      <p>
        It may also be turned off together with the browser's graphics acceleration, in its
        settings.
      </p>
    </section>
  );
}
