/** Prints the environment that a launched program has, and what it starts browsers with. */
import { browserEnvironment } from "./browser.ts";

console.log(JSON.stringify({ inner: Deno.env.toObject(), outer: browserEnvironment() }));
