import { CoupletError } from "@couplet/kv";
import { context } from "esbuild";

/** Where a folder is served, until it is closed. */
export interface Served {
  /** The address, with a slash at its end. */
  readonly url: string;
  /** Ends it. */
  close(): Promise<void>;
}

/**
 * Serves the files of a folder, to this machine only.
 *
 * @param port 0 for any that is free.
 * @throws {CoupletError} `usage` where the port cannot be had.
 */
export async function serveFolder(folder: string, port: number): Promise<Served> {
  const server = await context({});
  try {
    const { hosts, port: actual } = await server.serve({
      servedir: folder,
      host: "127.0.0.1",
      port,
    });
    return { url: `http://${hosts[0]}:${actual}/`, close: () => server.dispose() };
  } catch (cause) {
    await server.dispose();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new CoupletError("usage", {
      what: `Cannot serve on port ${port}`,
      why: /in use/.test(reason) ? "another program uses the port" : reason,
      remedy: "Choose another with --port, or any that is free with --port 0",
    }, { cause });
  }
}
