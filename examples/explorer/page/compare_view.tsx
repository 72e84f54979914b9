import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { nearestNames } from "../../../cli/nearest.ts";
import { kernelLines } from "../trace/kernel_trace.ts";
import { CodeLine } from "./code_line.tsx";
import { type DiffLine, diffLines, type DiffSection, diffSections } from "./diff_rows.ts";
import { loadHighlighter, type Token } from "./highlight.ts";
import { findKernel, kernels } from "./kernels.ts";
import { errorParts } from "./error_parts.ts";
import { Problem } from "./problem.tsx";
import { useAsync } from "./use_async.ts";
import { openRoute } from "./use_route.ts";

/** Names that stand in the fields where the address has none: one kernel with and without the rotary embedding. */
const FIRST = {
  before: "attend_c8b8_c8b8_d128_plain",
  after: "attend_c8b8_c8b8_d128_rope",
};

/** Two kernels, line by line. */
export function CompareView(
  { before = FIRST.before, after }: {
    readonly before: string | undefined;
    readonly after: string | undefined;
  },
): VNode {
  const other = after ?? (before === FIRST.before ? FIRST.after : neighbour(before));
  const names = { before, after: other };
  const show = (change: Partial<typeof names>) => {
    openRoute({ view: "compare", ...names, ...change });
  };
  return (
    <article class="page">
      <h1>Compare two kernels</h1>
      <form class="fields pair" onSubmit={(event) => event.preventDefault()}>
        <KernelField label="Before" name={before} onChoose={(name) => show({ before: name })} />
        <KernelField label="After" name={other} onChoose={(name) => show({ after: name })} />
        <button type="button" onClick={() => show({ before: other, after: before })}>Swap</button>
        <datalist id="kernel-names">
          {kernels.map(({ info: { name } }) => <option key={name} value={name} />)}
        </datalist>
      </form>
      <Difference key={`${before} ${other}`} before={before} after={other} />
    </article>
  );
}

/** The other variant of a kernel, else the kernel next to it by name. */
function neighbour(name: string): string {
  const others = kernels.map(({ info }) => info.name).filter((other) => other !== name);
  return nearestNames(name, others)[0]!;
}

function KernelField(
  { label, name, onChoose }: {
    readonly label: string;
    readonly name: string;
    readonly onChoose: (name: string) => void;
  },
): VNode {
  return (
    <label>
      {label}
      <input
        list="kernel-names"
        value={name}
        spellcheck={false}
        onChange={({ currentTarget }) => onChoose(currentTarget.value.trim())}
      />
    </label>
  );
}

function Difference(
  { before, after }: { readonly before: string; readonly after: string },
): VNode {
  const loaded = useAsync(async () => {
    const texts = await Promise.all([before, after].map(async (name) => {
      const kernel = findKernel(name);
      if (kernel === undefined) throw new UnknownKernel(name);
      return kernelLines((await kernel.info.load()).wgsl);
    }));
    const highlight = await loadHighlighter();
    return {
      lines: diffLines(texts[0]!, texts[1]!),
      tokens: texts.map((lines) => highlight(lines.join("\n"))),
    };
  }, []);
  if (loaded.state === "pending") return <p class="progress">Loading …</p>;
  if (loaded.state === "failed") {
    return loaded.error instanceof UnknownKernel
      ? <UnknownName name={loaded.error.name} />
      : <Problem parts={errorParts(loaded.error, "Cannot compare the kernels")} />;
  }
  const { lines, tokens } = loaded.value;
  const count = (kind: DiffLine["kind"]) => lines.filter((line) => line.kind === kind).length;
  return (
    <section aria-label="Difference">
      <p role="status">
        {count("removed") + count("added") === 0
          ? "The texts are equal."
          : `${count("removed")} lines only before, ${count("added")} only after, ${
            count("equal")
          } equal.`}
      </p>
      <table class="code diff">
        <colgroup>
          <col class="number" />
          <col class="number" />
          <col class="sign" />
          <col />
        </colgroup>
        <thead class="unseen">
          <tr>
            <th scope="col">Line before</th>
            <th scope="col">Line after</th>
            <th scope="col">Change</th>
            <th scope="col">WGSL</th>
          </tr>
        </thead>
        {diffSections(lines).map((section, i) => (
          <Section key={i} section={section} before={tokens[0]!} after={tokens[1]!} />
        ))}
      </table>
    </section>
  );
}

function Section(
  { section, before, after }: {
    readonly section: DiffSection;
    readonly before: readonly (readonly Token[])[];
    readonly after: readonly (readonly Token[])[];
  },
): VNode {
  const [open, setOpen] = useState(!section.equal);
  if (!open) {
    return (
      <tbody>
        <tr class="folded">
          <td colSpan={4}>
            <button type="button" class="plain" onClick={() => setOpen(true)}>
              Show {section.lines.length} equal lines
            </button>
          </td>
        </tr>
      </tbody>
    );
  }
  return (
    <tbody>
      {section.lines.map((line, i) => (
        <tr key={i} class={line.kind}>
          <td class="number" data-line={"before" in line ? line.before + 1 : undefined} />
          <td class="number" data-line={"after" in line ? line.after + 1 : undefined} />
          <td class="sign">{{ equal: "", removed: "−", added: "+" }[line.kind]}</td>
          <td>
            <code>
              {line.kind === "removed"
                ? <CodeLine tokens={before[line.before]!} emphases={line.changes} />
                : (
                  <CodeLine
                    tokens={after[line.after]!}
                    emphases={line.kind === "added" ? line.changes : []}
                  />
                )}
            </code>
          </td>
        </tr>
      ))}
    </tbody>
  );
}

class UnknownKernel extends Error {
  constructor(override readonly name: string) {
    super(`there is no kernel ${name}`);
  }
}

function UnknownName({ name }: { readonly name: string }): VNode {
  return (
    <div class="problem" role="alert">
      There is no kernel <code>{name}</code>. The nearest are{" "}
      {nearestNames(name, kernels.map(({ info }) => info.name)).map((near, i) => (
        <>
          {i > 0 && ", "}
          <code>{near}</code>
        </>
      ))}.
    </div>
  );
}
