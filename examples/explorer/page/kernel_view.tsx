import type { ComponentChildren, VNode } from "preact";
import { type KernelFacts, kernelFacts } from "../../../cli/kernel_facts.ts";
import type { NamedKernel } from "./kernels.ts";
import { formatRoute } from "./route.ts";
import { RunPanel } from "./run_panel.tsx";
import { SourceView } from "./source_view.tsx";

/** One kernel: what it is, a run, and its text. */
export function KernelView({ kernel }: { readonly kernel: NamedKernel }): VNode {
  const facts = kernelFacts(kernel.info);
  return (
    <>
      <h1>
        <code>{facts.name}</code>
      </h1>
      <p>{facts.does}</p>
      <Facts facts={facts} />
      <Bindings facts={facts} />
      <RunPanel kernel={kernel} />
      <SourceView kernel={kernel.info} />
    </>
  );
}

function Facts({ facts }: { readonly facts: KernelFacts }): VNode {
  const { name, entry, reason, span, size, needs, records, cost } = facts;
  return (
    <dl class="facts">
      <Fact name="Why it is there">{reason}</Fact>
      {entry !== undefined && (
        <Fact name="Import from">
          <code>{entry}</code>
        </Fact>
      )}
      {records.length > 0 && (
        <Fact name="Records">
          {records.map(({ scheme, side, words, tokens, paddingBits, bitsPerChannel }) => (
            <p key={side}>
              {side && `${side} `}
              <a href={formatRoute({ view: "records", scheme, headDim: size! })}>{scheme}</a>:{" "}
              {words} words for {tokens === 1 ? "a token" : `${tokens} tokens`}, bits a channel:
              {" "}
              {Number(bitsPerChannel.toFixed(3))}, bits unused: {paddingBits}
            </p>
          ))}
        </Fact>
      )}
      <Fact name="Needs">
        {needs.maxComputeWorkgroupStorageSize} bytes of workgroup memory
        {span !== undefined && ` for up to ${span} pages at once`},{" "}
        {needs.maxStorageBuffersPerShaderStage} storage buffers
        {needs.features.map((feature) => `, the feature ${feature}`)}: {deviceText(needs)}
      </Fact>
      {cost.traffic.length > 0 && (
        <Fact name="Moves">
          {cost.traffic.map(({ what, bytes, per }) => (
            <p key={what}>
              {Number(bytes.toFixed(2))} bytes a {per}: {what}
            </p>
          ))}
        </Fact>
      )}
      <Fact name="Compare">
        <a href={formatRoute({ view: "compare", before: name })}>with another kernel</a>
      </Fact>
    </dl>
  );
}

function deviceText({ beyondDefaults, features }: KernelFacts["needs"]): string {
  if (beyondDefaults !== undefined) return beyondDefaults;
  return features.length === 0
    ? "every WebGPU device has them"
    : "every WebGPU device has them, but for the feature";
}

function Fact(
  { name, children }: { readonly name: string; readonly children: ComponentChildren },
): VNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Bindings({ facts: { bindings } }: { readonly facts: KernelFacts }): VNode {
  return (
    <details>
      <summary>{bindings.length} bindings</summary>
      <div class="scroll">
        <table>
          <thead>
            <tr>
              <th scope="col">Binding</th>
              <th scope="col">Name</th>
              <th scope="col">Address space</th>
              <th scope="col">Type</th>
            </tr>
          </thead>
          <tbody>
            {bindings.map(({ index, name, space, type }) => (
              <tr key={name}>
                <td>{index}</td>
                <td>
                  <code>{name}</code>
                </td>
                <td>{space}</td>
                <td>
                  <code>{type}</code>
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
