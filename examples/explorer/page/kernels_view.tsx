import type { VNode } from "preact";
import { kernelText } from "../../../codegen/kernels/kernel_texts.ts";
import { nearestNames } from "../../../cli/nearest.ts";
import { KernelList } from "./kernel_list.tsx";
import { KernelView } from "./kernel_view.tsx";
import { findKernel, kernels, type NamedKernel } from "./kernels.ts";
import { formatRoute } from "./route.ts";

/** A kernel of each family, of the scheme and head dimension that examples use where they have one. */
const examples: readonly NamedKernel[] = [
  ...new Map(
    [...kernels]
      .sort((a, b) => Number(isUsual(a)) - Number(isUsual(b)))
      .map((kernel) => [kernel.parts.family, kernel]),
  ).values(),
].sort((a, b) => a.info.name < b.info.name ? -1 : 1);

function isUsual({ parts: { schemes, size } }: NamedKernel): boolean {
  return size === 128 && schemes.every((scheme) => scheme === "c8b8");
}

/** The list of kernels, and the chosen one beside it. */
export function KernelsView({ name }: { readonly name: string | undefined }): VNode {
  return (
    <div class={name === undefined ? "kernels" : "kernels chosen"}>
      <KernelList current={name} />
      <article class="kernel">
        {name === undefined ? <Welcome /> : <Chosen name={name} />}
      </article>
    </div>
  );
}

function Chosen({ name }: { readonly name: string }): VNode {
  const kernel = findKernel(name);
  return (
    <>
      <p class="back">
        <a href={formatRoute({ view: "kernels" })}>All kernels</a>
      </p>
      {kernel === undefined ? <Unknown name={name} /> : <KernelView key={name} kernel={kernel} />}
    </>
  );
}

function Welcome(): VNode {
  return (
    <>
      <h1>Kernels</h1>
      <p>
        Couplet keeps a language model's keys and values in 1 to 4 bits per channel. Its{" "}
        {kernels.length}{" "}
        WebGPU kernels are generated from a few templates, one for each scheme and head dimension.
        Choose one to read it beside its template, to run it here and to compare it with another.
      </p>
      <p>
        A name says what a kernel is:{" "}
        <code>family_scheme_d&lt;head dimension&gt;_variant</code>. Press <kbd>/</kbd>{" "}
        to search, and the arrow keys to walk through the list.
      </p>
      <section class="overview">
        <h2>Families, with one kernel of each</h2>
        <table>
          <thead>
            <tr>
              <th scope="col">Kernel</th>
              <th scope="col">What it does</th>
            </tr>
          </thead>
          <tbody>
            {examples.map(({ info: { name }, parts }) => (
              <tr key={name}>
                <th scope="row">
                  <a href={formatRoute({ view: "kernels", name })}>
                    <code>{name}</code>
                  </a>
                </th>
                <td>{kernelText(parts)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

function Unknown({ name }: { readonly name: string }): VNode {
  const nearest = nearestNames(name, kernels.map(({ info }) => info.name));
  return (
    <div role="alert">
      <h1>No such kernel</h1>
      <p>
        There is no kernel <code>{name}</code>. The nearest names:
      </p>
      <ul>
        {nearest.map((near) => (
          <li key={near}>
            <a href={formatRoute({ view: "kernels", name: near })}>
              <code>{near}</code>
            </a>
          </li>
        ))}
      </ul>
    </div>
  );
}
