// deno run: KB_N=8192 KB_HEADS=2 deno run -A tools/launch.ts run kb.ts f16/plain c8b8/rope c8b8/plain
import { manifest } from "./generated/manifest.ts";
import { createCache, planCache, parseKernelName, createProfile, type CodebookSet } from "./mod.ts";
import process from "node:process";
import { requestTestDevice } from "./tools/adapter.ts";
import { gridCodebooks } from "./tests/cache_oracle.ts";
import { seededRandom } from "./src/calibrate/random.ts";
const N = Number(Deno.env.get("KB_N") ?? 8192), H = Number(Deno.env.get("KB_HEADS") ?? 2), G = Number(Deno.env.get("KB_GROUP") ?? 4), D = Number(Deno.env.get("KB_D") ?? 128);
const ROUNDS = Number(Deno.env.get("KB_ROUNDS") ?? 7), STEPS = Number(Deno.env.get("KB_STEPS") ?? 4);
const device = await requestTestDevice({ requiredFeatures: ["timestamp-query", "shader-f16"] as GPUFeatureName[] });
const configs = Deno.args;
const CH = Number(Deno.env.get("KB_CH") ?? 256);
const profile = createProfile(device);
const caches = [];
const T0 = performance.now();
for (const c of configs) {
  const [pair, variant, ...tags] = c.split("/");
  const [keys, values = keys] = pair!.split("+");
  const options = {
    shape: { layers: 1, queryHeads: H * G, keyValueHeads: H, headDim: D },
    policy: { keys: keys!, values: values! },
    keys: variant === "rope" ? { space: "pre-rope" as const, rope: { layout: "half" as const, theta: 500000 } } : { space: "as-scored" as const },
    tiers: { sinks: 0, window: 0 },
    capacity: { sequences: 1, tokens: N + 64, sequenceTokens: N + 64, stepTokens: CH, appendTokens: CH },
  };
  const kernels = manifest.filter((k) => {
    const p = parseKernelName(k.name);
    if (p.family === "attend" || p.family === "score") return tags[0] === "unfused" ? p.family === "score" && (p.variant === variant || p.variant === "plain") : p.family === "attend" && (p.variant === variant || (variant!.startsWith("table") && p.variant === "plain"));
    return true;
  });
  const plan = planCache({ ...options, kernels: kernels.filter((x) => (tags[0] === "f16") === (parseKernelName(x.name).feature === "f16") || parseKernelName(x.name).family !== "attend"), limits: device.limits, features: device.features });
  const codebooks: CodebookSet = gridCodebooks(options, seededRandom(c));
  const cache = await createCache({ device, plan, codebooks, ...(Deno.env.get("KB_PROFILE") ? { profile } : {}) });
  const sequence = cache.createSequence();
  const size = CH * H * D * 4;
  const vec = device.createBuffer({ size, usage: 8 | 128 });
  device.queue.writeBuffer(vec, 0, Float32Array.from({ length: size / 4 }, (_, i) => Math.sin(i * i)));
  for (let at = 0; at < N; at += CH) {
    const e = device.createCommandEncoder();
    const step = cache.beginStep([{ sequence, tokens: Math.min(CH, N - at) }]);
    cache.encodeAppend(e, step, 0, { keys: { buffer: vec }, values: { buffer: vec } });
    device.queue.submit([e.finish()]);
  }
  await device.queue.onSubmittedWorkDone();
  const q = device.createBuffer({ size: H * G * D * 4, usage: 8 | 128 });
  device.queue.writeBuffer(q, 0, Float32Array.from({ length: H * G * D }, (_, i) => Math.sin(i * i * 0.7)));
  const out = device.createBuffer({ size: H * G * D * 4, usage: 128 | 4 });
  caches.push({ c, cache, sequence, vec, q, out, plan });
}
if (Deno.env.get("KB_PROFILE")) await profile.read();
console.log(`filled in ${((performance.now() - T0) / 1000).toFixed(1)} s`);
const times: number[][] = caches.map(() => []);
const reports: any[] = caches.map(() => ({}));
for (let r = -1; r < ROUNDS; r++) {
  for (const [i, { cache, sequence, vec, q, out }] of caches.entries()) {
    const t = performance.now(); const c0 = process.cpuUsage();
    const e = device.createCommandEncoder();
    for (let s = 0; s < STEPS; s++) {
      cache.truncate(sequence, N - 1);
      const step = cache.beginStep([{ sequence, tokens: 1 }]);
      cache.encodeAppend(e, step, 0, { keys: { buffer: vec }, values: { buffer: vec } });
      cache.encodeAttend(e, step, 0, { queries: { buffer: q }, output: { buffer: out } });
    }
    device.queue.submit([e.finish()]);
    await device.queue.onSubmittedWorkDone();
    const c1 = process.cpuUsage(c0); if (r >= 0) times[i]!.push((c1.user + c1.system) / 1000 / STEPS); void t;
    if (Deno.env.get("KB_PROFILE")) {
      const rep = await profile.read();
      if (r >= 0) for (const k of rep.kernels) (reports[i][k.kernel] ??= []).push(k.nanoseconds / k.dispatches / 1e6);
    }
  }
}
const med = (a: number[]) => a.slice().sort((x, y) => x - y)[a.length >> 1]!;
const base = med(times[0]!);
for (const [i, { c, plan }] of caches.entries()) {
  const d = plan.layers[0]!.decode;
  console.log(`${c.padEnd(22)} ${med(times[i]!).toFixed(2).padStart(8)} ms  min ${Math.min(...times[i]!).toFixed(2).padStart(8)}  speedup ${(base / med(times[i]!)).toFixed(2)}  (min ${(Math.min(...times[0]!) / Math.min(...times[i]!)).toFixed(2)})  ${[d.attend, d.table, d.score, d.mix].filter(Boolean).map((k) => k!.name).join("+")}`);
  if (Deno.env.get("KB_PROFILE")) for (const [k, v] of Object.entries(reports[i])) console.log(`      ${k} ${med(v as number[]).toFixed(3)} (min ${Math.min(...v as number[]).toFixed(3)})`);
}
Deno.exit(0);
