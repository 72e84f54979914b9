import { parseScheme, recordBits, type Scheme } from "../../../mod.ts";
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import { errorParts } from "./error_parts.ts";
import { Problem } from "./problem.tsx";
import { checkDrawable, describeLayout } from "./record_cells.ts";
import { RecordPicture } from "./record_picture.tsx";
import { schemeHeadDims } from "./schemes.ts";
import { openRoute } from "./use_route.ts";

/** Head dimensions to choose from for schemes of which no kernel is there. */
const ALL_HEAD_DIMS = [...new Set([...schemeHeadDims.values()].flat())].sort((a, b) => a - b);

/** How a scheme's codes lie in a record. */
export function RecordsView(
  { scheme: id, headDim }: { readonly scheme: string; readonly headDim: number },
): VNode {
  const headDims = [...schemeHeadDims].find(([scheme]) => scheme === id)?.[1] ?? ALL_HEAD_DIMS;
  const show = (change: { readonly scheme?: string; readonly headDim?: number }) => {
    openRoute({ view: "records", scheme: id, headDim, ...change });
  };
  return (
    <article class="page">
      <h1>Records</h1>
      <p>
        What a token's key or value vector becomes: codes, and what belongs to them, in 32-bit
        words.
      </p>
      <form class="fields" onSubmit={(event) => event.preventDefault()}>
        <label>
          Scheme
          <select
            value={id}
            onChange={({ currentTarget }) => show({ scheme: currentTarget.value })}
          >
            {headDims === ALL_HEAD_DIMS && <option value={id}>{id}</option>}
            {[...schemeHeadDims.keys()].map((scheme) => (
              <option key={scheme} value={scheme}>{scheme}</option>
            ))}
          </select>
        </label>
        <label>
          Head dimension
          <select
            value={headDim}
            onChange={({ currentTarget }) => show({ headDim: Number(currentTarget.value) })}
          >
            {!headDims.includes(headDim) && <option value={headDim}>{headDim}</option>}
            {headDims.map((size) => <option key={size} value={size}>{size}</option>)}
          </select>
        </label>
      </form>
      <Record key={`${id} ${headDim}`} id={id} headDim={headDim} />
    </article>
  );
}

function Record({ id, headDim }: { readonly id: string; readonly headDim: number }): VNode {
  const [all, setAll] = useState(false);
  let scheme: Scheme;
  try {
    scheme = parseScheme(id);
    checkDrawable(scheme, headDim);
  } catch (error) {
    return <Problem parts={errorParts(error, "Cannot draw the record")} />;
  }
  const layout = scheme.layout(headDim);
  return (
    <>
      <p>
        {describeLayout(layout)} Bits a channel: {trim(recordBits(layout, headDim))}.
        {scheme.positional && " Channels are those of the rotated vector."}
      </p>
      <RecordPicture scheme={scheme} headDim={headDim} all={all} onAll={() => setAll(true)} />
    </>
  );
}

function trim(bits: number): string {
  return String(Number(bits.toFixed(3)));
}
