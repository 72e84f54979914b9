/** What the build wrote beside the page. */
import type { KernelTrace } from "../trace/kernel_trace.ts";

/** The text of all templates, by path in `templates/`. */
export type Templates = Readonly<Record<string, string>>;

let templates: Promise<Templates> | undefined;

/** All templates; fetched once. */
export function loadTemplates(): Promise<Templates> {
  return templates ??= fetchJson<Templates>("templates.json");
}

/** Where a kernel's lines come from. */
export function loadTrace(name: string): Promise<KernelTrace> {
  return fetchJson<KernelTrace>(`traces/${name}.json`);
}

async function fetchJson<T>(path: string): Promise<T> {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} could not be loaded: ${response.status}`);
  return await response.json();
}
