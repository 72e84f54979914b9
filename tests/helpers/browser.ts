/** A page in a headless Chromium, where the machine has one. */
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { outerEnvironment } from "../../tools/launch_environment.ts";

const NAMES = [
  "chromium-headless-shell",
  "chrome-headless-shell",
  "chromium",
  "chromium-browser",
  "google-chrome",
];

/** The path of a Chromium, or undefined where none is on PATH. */
export async function findChromium(): Promise<string | undefined> {
  for (const name of NAMES) {
    for (const folder of (Deno.env.get("PATH") ?? "").split(delimiter)) {
      const path = join(folder, name);
      if (await stat(path).then((info) => info.isFile(), () => false)) return path;
    }
  }
  return undefined;
}

/**
 * Loads a page that runs a program, once for each visit, all with one profile.
 *
 * @param program A module that posts its result to `/result`, as JSON.
 * @returns The results of the visits.
 */
export async function visit(
  chromium: string,
  program: string,
  visits: number,
): Promise<unknown[]> {
  const profile = await mkdtemp(join(tmpdir(), "couplet-browser-"));
  let report: (result: unknown) => void = () => {};
  const server = Deno.serve({ port: 0, hostname: "localhost", onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/result") report(await request.json());
    const [body, type] = pathname === "/program.js"
      ? [program, "text/javascript"]
      : ['<!doctype html><script type="module" src="program.js"></script>', "text/html"];
    return new Response(body, { headers: { "content-type": type } });
  });
  try {
    const results: unknown[] = [];
    for (let i = 0; i < visits; i++) {
      const result = new Promise<unknown>((resolve) => report = resolve);
      const url = `http://localhost:${server.addr.port}/`;
      results.push(await browse(chromium, profile, url, ["--headless", "--disable-gpu"], result));
    }
    return results;
  } finally {
    await server.shutdown();
    await remove(profile);
  }
}

/**
 * The environment for a browser: this program's without what the launcher chose for it. The drivers that Deno is
 * pointed to are not those that a browser brings, and it finds no adapter among them.
 */
export function browserEnvironment(): Record<string, string> {
  return { ...outerEnvironment(Deno.env.toObject()) };
}

/** Flags for WebGPU. */
const GPU_FLAGS: readonly string[] = ["--headless=new", "--enable-unsafe-webgpu"];

/** Flags for WebGPU on SwiftShader, which Chromium brings along, and on the machine's own GPU. */
const ADAPTER_FLAGS = {
  swiftshader: ["--use-webgpu-adapter=swiftshader"],
  hardware: ["--enable-features=Vulkan"],
} as const;

/** How {@linkcode visitWithGpu} loads a page. */
export interface GpuVisitOptions {
  /** `swiftshader` where absent. */
  readonly adapter?: keyof typeof ADAPTER_FLAGS;
  /** Minutes after which the page has failed; 15 where absent. */
  readonly minutes?: number;
}

/**
 * Loads a page with WebGPU.
 *
 * @param result Settles when the page has given its result.
 */
export async function visitWithGpu(
  chromium: string,
  url: string,
  result: Promise<unknown>,
  { adapter = "swiftshader", minutes }: GpuVisitOptions = {},
): Promise<unknown> {
  const profile = await mkdtemp(join(tmpdir(), "couplet-browser-"));
  try {
    return await browse(
      chromium,
      profile,
      url,
      [...GPU_FLAGS, ...ADAPTER_FLAGS[adapter]],
      result,
      minutes,
    );
  } finally {
    await remove(profile);
  }
}

/** Minutes after which a page has failed, however busy the machine: SwiftShader computes on the CPU. */
const MINUTES = 15;

/** Opens a browser on a page until there is a result, as many minutes as given at most. */
async function browse(
  chromium: string,
  profile: string,
  url: string,
  flags: readonly string[],
  result: Promise<unknown>,
  minutes = MINUTES,
): Promise<unknown> {
  const browser = new Deno.Command(chromium, {
    args: [
      ...flags,
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--no-first-run",
      // Keeps a headless browser open.
      "--remote-debugging-port=0",
      `--user-data-dir=${profile}`,
      url,
    ],
    clearEnv: true,
    env: browserEnvironment(),
    stdout: "null",
    stderr: "null",
  }).spawn();
  const ended = browser.status.then(() => {
    throw new Error("the browser ended before the page gave a result");
  });
  ended.catch(() => {});
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const error = new Error(`the page gave no result in ${minutes} minutes`);
    timer = setTimeout(() => reject(error), minutes * 60_000);
  });
  try {
    return await Promise.race([result, ended, late]);
  } finally {
    clearTimeout(timer);
    await close(profile, browser);
    await browser.status;
  }
}

/**
 * Closes the browser that a profile belongs to, through its own protocol: on some systems the program on PATH is a
 * script, whose end would leave the browser running.
 */
async function close(profile: string, browser: Deno.ChildProcess): Promise<void> {
  const address = await readFile(join(profile, "DevToolsActivePort"), "utf8").catch(() => "");
  if (address === "") return end(browser);
  const [port, path] = address.split("\n");
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`);
  await new Promise<void>((resolve) => {
    socket.onopen = () => socket.send('{"id":1,"method":"Browser.close"}');
    socket.onclose = () => resolve();
    socket.onerror = () => {
      end(browser);
      resolve();
    };
  });
}

/** Ends a browser that does not listen. */
function end(browser: Deno.ChildProcess): void {
  try {
    browser.kill();
  } catch (error) {
    // It has ended by itself.
    if (!(error instanceof TypeError)) throw error;
  }
}

/** Removes a profile; for a moment, longer on a busy machine, processes of the browser may still write to it. */
async function remove(profile: string): Promise<void> {
  for (let attempt = 0; attempt < 300; attempt++) {
    const removed = await rm(profile, { recursive: true, force: true }).then(
      () => true,
      () => false,
    );
    if (removed) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await rm(profile, { recursive: true, force: true });
}
