import { CoupletError, type ErrorParts, parseScheme, type SchemeId } from "../../../mod.ts";
import type { VNode } from "preact";
import { useMemo, useState } from "preact/hooks";
import { MODEL_TYPES, type ModelPlanOptions, planOptions } from "../../../src/models/mod.ts";
import { formatBytes } from "../../../cli/format_bytes.ts";
import { parseJson } from "../../../src/base/parse_json.ts";
import { residentBytes } from "../../../src/plan/sizes.ts";
import { type CacheMemory, cacheMemory, type Holding, KINDS } from "./memory.ts";
import { Problem } from "./problem.tsx";
import { schemeHeadDims } from "./schemes.ts";

/** What the page opens with: what the config.json of Llama 3.1 8B says of attention. */
const EXAMPLE = JSON.stringify(
  {
    model_type: "llama",
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    hidden_size: 4096,
    max_position_embeddings: 131072,
    rope_theta: 500000,
  },
  null,
  2,
);

/** Where a model does not say how long a sequence it was made for. */
const DEFAULT_POSITIONS = 32768;

/** Tokens of the shortest sequence on the slider. */
const LEAST_TOKENS = 64;

/** Counts the memory of a model's cache. */
export function MemoryView(): VNode {
  const [text, setText] = useState(EXAMPLE);
  const [readAs, setReadAs] = useState("");
  const read = useMemo(() => attempt(() => readConfig(text, readAs)), [text, readAs]);
  return (
    <article class="page">
      <h1>Memory of a cache</h1>
      <p>
        Paste the <code>config.json</code>{" "}
        of a model on Hugging Face. Nothing leaves this page; every figure is the planner's, so it
        is what a cache would allocate.
      </p>
      <div class="fields">
        <label class="wide">
          config.json
          <textarea
            rows={9}
            spellcheck={false}
            value={text}
            onInput={({ currentTarget }) => setText(currentTarget.value)}
          />
        </label>
        <label>
          Read it as
          <select value={readAs} onChange={({ currentTarget }) => setReadAs(currentTarget.value)}>
            <option value="">the model_type it says</option>
            {MODEL_TYPES.map((type) => <option key={type} value={type}>{type}</option>)}
          </select>
        </label>
      </div>
      {"problem" in read
        ? <Problem parts={read.problem} />
        : <Calculator key={JSON.stringify(read.value.shape)} model={read.value} />}
    </article>
  );
}

/** A value, or why there is none. */
type Attempt<T> = { readonly value: T } | { readonly problem: ErrorParts };

function attempt<T>(get: () => T): Attempt<T> {
  try {
    return { value: get() };
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return { problem: error.parts };
  }
}

function readConfig(text: string, readAs: string): ModelPlanOptions {
  let json: unknown;
  try {
    json = parseJson(text);
  } catch (cause) {
    throw new CoupletError("file", {
      what: "Cannot read the config.json",
      why: text.trim() === ""
        ? "there is nothing in the field"
        : `it is no JSON: ${cause instanceof Error ? cause.message : cause}`,
      remedy: "Paste the whole file, from the first brace to the last",
    }, { cause });
  }
  return planOptions(json, readAs === "" ? {} : { as: readAs });
}

function Calculator({ model }: { readonly model: ModelPlanOptions }): VNode {
  const headDims = new Set(model.layers.map(({ headDim }) => headDim));
  const most = Math.max(LEAST_TOKENS, model.maxPositions ?? DEFAULT_POSITIONS);
  const schemes = [...schemeHeadDims].flatMap(([scheme, sizes]) =>
    headDims.isSubsetOf(new Set(sizes)) ? [scheme] : []
  );
  const [holding, setHolding] = useState<Holding>({
    keys: "c4b8",
    values: "c8b8",
    tokens: Math.min(most, 32768),
    sequences: 1,
    sinks: 4,
    window: 64,
    appendTokens: 256,
  });
  const change = (part: Partial<Holding>) => setHolding((before) => ({ ...before, ...part }));
  const memory = useMemo(() => attempt(() => cacheMemory(model, holding)), [model, holding]);
  return (
    <>
      <ModelText model={model} />
      <form class="fields" onSubmit={(event) => event.preventDefault()}>
        <ContextSlider
          most={most}
          tokens={holding.tokens}
          onChange={(tokens) => change({ tokens })}
        />
        <SchemeSelect
          label="Keys"
          value={holding.keys}
          schemes={schemes}
          onChange={(keys) => change({ keys })}
        />
        <SchemeSelect
          label="Values"
          value={holding.values}
          schemes={schemes}
          onChange={(values) => change({ values })}
        />
        <NumberField
          label="Sequences"
          value={holding.sequences}
          least={1}
          onChange={(sequences) => change({ sequences })}
        />
        <NumberField
          label="Exact first tokens"
          value={holding.sinks}
          least={0}
          onChange={(sinks) => change({ sinks })}
        />
        <NumberField
          label="Exact recent tokens"
          value={holding.window}
          least={0}
          onChange={(window) => change({ window })}
        />
        <NumberField
          label="New tokens of a step"
          value={holding.appendTokens}
          least={1}
          onChange={(appendTokens) => change({ appendTokens })}
        />
      </form>
      {"problem" in memory
        ? <Problem parts={memory.problem} />
        : <Result {...memory.value} holding={holding} />}
    </>
  );
}

function ModelText(
  { model: { modelType, shape, notes } }: { readonly model: ModelPlanOptions },
): VNode {
  const { layers, slidingWindow } = shape;
  const [queryHeads, keyValueHeads, headDim] = [
    shape.queryHeads,
    shape.keyValueHeads,
    shape.headDim,
  ]
    .map((one) => [...new Set([one].flat())].join(" or "));
  const windows = typeof slidingWindow === "object"
    ? slidingWindow.filter((window) => window > 0)
    : [];
  return (
    <p role="status">
      Read as <code>{modelType}</code>: {layers} layers, {queryHeads} query heads, {keyValueHeads}
      {" "}
      KV heads of {headDim} channels
      {windows.length > 0 && `, ${windows.length} layers see the last ${windows[0]} tokens`}.{" "}
      {notes.join(" ")}
    </p>
  );
}

/** Lengths from LEAST_TOKENS on, eight to each doubling. */
function ContextSlider(
  { most, tokens, onChange }: {
    readonly most: number;
    readonly tokens: number;
    readonly onChange: (tokens: number) => void;
  },
): VNode {
  const steps = Math.ceil(8 * Math.log2(most / LEAST_TOKENS));
  const tokensAt = (step: number) => Math.min(most, Math.round(LEAST_TOKENS * 2 ** (step / 8)));
  const step = Math.round(8 * Math.log2(tokens / LEAST_TOKENS));
  return (
    <label class="wide">
      Tokens of a sequence: {tokens.toLocaleString("en-GB")}
      <input
        type="range"
        min={0}
        max={steps}
        value={step}
        aria-valuetext={`${tokens} tokens`}
        onInput={({ currentTarget }) => onChange(tokensAt(Number(currentTarget.value)))}
      />
    </label>
  );
}

function SchemeSelect(
  { label, value, schemes, onChange }: {
    readonly label: string;
    readonly value: SchemeId;
    readonly schemes: readonly SchemeId[];
    readonly onChange: (scheme: SchemeId) => void;
  },
): VNode {
  return (
    <label>
      {label}
      <select
        value={value}
        onChange={({ currentTarget }) => onChange(parseScheme(currentTarget.value).id)}
      >
        {!schemes.includes(value) && <option value={value}>{value}</option>}
        {schemes.map((scheme) => <option key={scheme} value={scheme}>{scheme}</option>)}
      </select>
    </label>
  );
}

function NumberField(
  { label, value, least, onChange }: {
    readonly label: string;
    readonly value: number;
    readonly least: number;
    readonly onChange: (value: number) => void;
  },
): VNode {
  return (
    <label>
      {label}
      <input
        type="number"
        min={least}
        step={1}
        required
        value={value}
        onInput={({ currentTarget }) => {
          if (currentTarget.validity.valid) onChange(currentTarget.valueAsNumber);
        }}
      />
    </label>
  );
}

function Result(
  { coded, half, holding }: {
    readonly coded: CacheMemory;
    readonly half: CacheMemory;
    readonly holding: Holding;
  },
): VNode {
  const { keys, values } = holding;
  const columns: readonly (readonly [label: string, memory: CacheMemory])[] = [
    [keys === values ? keys : `${keys} / ${values}`, coded],
    ["f16", half],
  ];
  const ratio = residentBytes(half.plan.bytes) / residentBytes(coded.plan.bytes);
  return (
    <section aria-labelledby="result-heading">
      <h2 id="result-heading">
        {formatBytes(residentBytes(coded.plan.bytes))},{" "}
        {ratio >= 1 ? `${ratio.toFixed(1)} times less` : `${(1 / ratio).toFixed(1)} times more`}
        {" "}
        than {formatBytes(residentBytes(half.plan.bytes))} in f16
      </h2>
      <div class="bars" aria-hidden="true">
        {columns.map(([label, memory]) => (
          <Bar key={label} label={label} memory={memory} scale={half.plan.bytes.total} />
        ))}
        <p class="bar-key">
          {KINDS.map(([kind, label]) => <span key={kind} class={kind}>{label}</span>)}
        </p>
      </div>
      <div class="scroll">
        <table class="bytes">
          <thead>
            <tr>
              <th scope="col">Bytes</th>
              {columns.map(([label]) => <th key={label} scope="col">{label}</th>)}
            </tr>
          </thead>
          <tbody>
            {rows(columns.map(([, memory]) => memory)).map(({ label, cells, part }, i) => (
              <tr key={i} class={part ? "part" : undefined}>
                <th scope="row">{label}</th>
                {cells.map((cell, i) => <td key={i}>{cell}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <p>
        What stays between steps is in the first line; a step needs its scratch besides. The largest
        buffer takes{" "}
        {formatBytes(coded.plan.largestBinding)}, which a device must be able to bind, or the layer
        is divided by KV heads.
      </p>
    </section>
  );
}

/** The table's rows: totals first, then their parts. */
function rows(
  memories: readonly CacheMemory[],
): { readonly label: string; readonly cells: readonly string[]; readonly part?: boolean }[] {
  const row = (label: string, cell: (memory: CacheMemory) => string, part = false) => ({
    label,
    cells: memories.map(cell),
    part,
  });
  const bytes = (pick: (memory: CacheMemory) => number) => (memory: CacheMemory) =>
    formatBytes(pick(memory));
  return [
    row("Resident", bytes(({ plan }) => residentBytes(plan.bytes))),
    row("Codes", bytes(({ plan }) => plan.bytes.codes)),
    row("of keys", bytes(({ codes }) => codes.keys), true),
    row("of values", bytes(({ codes }) => codes.values), true),
    row("Codebooks", bytes(({ plan }) => plan.bytes.codebooks)),
    row("of keys", bytes(({ codebooks }) => codebooks.keys), true),
    row("of values", bytes(({ codebooks }) => codebooks.values), true),
    row("Exact tokens", bytes(({ plan }) => plan.bytes.exact)),
    row("Tables", bytes(({ plan }) => plan.bytes.tables)),
    row("Scratch of a step", bytes(({ plan }) => plan.bytes.scratch)),
    row("Bits a channel, codes alone", ({ plan }) => plan.nominalBits.toFixed(2)),
    row("Bits a channel, everything resident", ({ plan }) => plan.effectiveBits.toFixed(2)),
  ];
}

function Bar(
  { label, memory, scale }: {
    readonly label: string;
    readonly memory: CacheMemory;
    readonly scale: number;
  },
): VNode {
  return (
    <div class="bar">
      <span>{label}</span>
      <div>
        {KINDS.map(([kind]) => (
          <i
            key={kind}
            class={kind}
            style={{ width: `${100 * memory.plan.bytes[kind] / scale}%` }}
          />
        ))}
      </div>
    </div>
  );
}
