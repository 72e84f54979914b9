import type { VNode } from "preact";
import { formatBytes } from "../../../cli/format_bytes.ts";
import type { CacheMemory } from "./session/messages.ts";

/** What a cache consists of, in the order of the picture. */
const PARTS: readonly (readonly [part: keyof CacheMemory["parts"], label: string])[] = [
  ["codes", "Codes"],
  ["exact", "Exact tokens"],
  ["codebooks", "Codebooks"],
  ["tables", "Tables"],
  ["free", "Free pages"],
  ["scratch", "Scratch of a step"],
];

/** The bytes of both caches. */
export function MemoryBars(
  { scheme, half, coded }: {
    readonly scheme: string;
    readonly half: CacheMemory;
    readonly coded: CacheMemory;
  },
): VNode {
  const columns = [["f16", half], [scheme, coded]] as const;
  const scale = Math.max(half.allocated, coded.allocated);
  const rows: readonly (readonly [label: string, bytes: (memory: CacheMemory) => number])[] = [
    ["In use", ({ used }) => used],
    ["Allocated", ({ allocated }) => allocated],
    [`Planned for ${half.long.tokens.toLocaleString("en")} tokens`, ({ long }) => long.bytes],
  ];
  const ratio = half.long.bytes / coded.long.bytes;
  return (
    <section class="card" aria-labelledby="memory-heading">
      <div class="card-head">
        <h2 id="memory-heading">Memory</h2>
        <p class="speed">
          {ratio.toFixed(1)} <small>times less at {half.long.tokens / 1024}k</small>
        </p>
        <p class="note">
          Codes grow with the text, all else is there once: the longer the text, the more is saved.
        </p>
      </div>
      <div class="bars" aria-hidden="true">
        {columns.map(([label, { parts }], i) => (
          <div key={i} class="bar">
            <span>{label}</span>
            <div>
              {PARTS.map(([part]) => (
                <i key={part} class={part} style={{ width: `${(100 * parts[part]) / scale}%` }} />
              ))}
            </div>
          </div>
        ))}
        <p class="bar-key">
          {PARTS.map(([part, label]) => <span key={part} class={part}>{label}</span>)}
        </p>
      </div>
      <div class="scroll">
        <table class="bytes">
          <thead>
            <tr>
              <th scope="col">Bytes</th>
              {columns.map(([label], i) => <th key={i} scope="col">{label}</th>)}
            </tr>
          </thead>
          <tbody>
            {rows.map(([label, bytes]) => (
              <tr key={label}>
                <th scope="row">{label}</th>
                {columns.map(([, memory], i) => <td key={i}>{formatBytes(bytes(memory))}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}
