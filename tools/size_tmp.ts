import { build, stop } from "esbuild";
import { gzipSync } from "node:zlib";
const dir = Deno.args[0]!;
const r = await build({
  bundle: true,
  format: "esm",
  platform: "browser",
  target: "es2022",
  minify: true,
  metafile: true,
  write: false,
  stdin: {
    contents:
      'export { createCache, decodeCodebooks, planCache, requiredFeatures, requiredLimits } from "./mod.ts";',
    resolveDir: dir,
    loader: "ts",
  },
  outfile: "engine.js",
});
const t = r.outputFiles[0]!.text;
console.log("TOTAL", t.length, gzipSync(t, { level: 9 }).length);
await Deno.writeTextFile(Deno.args[1]!, t);
for (const [p, { bytesInOutput }] of Object.entries(Object.values(r.metafile.outputs)[0]!.inputs)) {
  console.log(p.replace(/.*src\//, ""), bytesInOutput);
}
await stop();
