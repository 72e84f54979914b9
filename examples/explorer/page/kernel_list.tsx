import type { VNode } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { type Facet, facetChoices, filterKernels, type KernelFilter } from "./kernel_filter.ts";
import { kernels } from "./kernels.ts";
import { formatRoute } from "./route.ts";

const FACETS: readonly (readonly [facet: Facet, label: string])[] = [
  ["family", "Family"],
  ["scheme", "Scheme"],
  ["size", "Size"],
  ["variant", "Variant"],
  ["feature", "Feature"],
];

/** All kernels, with filters; arrow keys walk through those that are left. */
export function KernelList({ current }: { readonly current: string | undefined }): VNode {
  const [filter, setFilter] = useState<KernelFilter>({ words: "" });
  const search = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const left = useMemo(() => filterKernels(kernels, filter), [filter]);
  useSearchKey(search);
  useEffect(() => {
    // The list alone: scrollIntoView would move the page, too.
    const [box, link] = [list.current!, list.current!.querySelector("[aria-current]")];
    if (link === null) return;
    const { top, bottom } = link.getBoundingClientRect();
    const frame = box.getBoundingClientRect();
    if (top < frame.top || bottom > frame.bottom) {
      box.scrollTop += top - frame.top - frame.height / 2;
    }
  }, [current]);

  /** Moves the focus along the list. */
  function walk(event: KeyboardEvent): void {
    const links = [...list.current!.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[event.key];
    if (next === undefined || (at < 0 && event.key !== "ArrowDown")) return;
    event.preventDefault();
    (next < 0 ? search.current : links[Math.min(next, links.length - 1)])?.focus();
  }

  // One stop for the tab key: the kernel that is shown, or the first.
  const stop = left.some(({ info }) => info.name === current) ? current : left[0]?.info.name;
  return (
    <section class="list" aria-label="List of kernels" onKeyDown={walk}>
      <div class="filters">
        <label>
          Name
          <input
            ref={search}
            type="search"
            placeholder="c8b8 d128"
            value={filter.words}
            onInput={({ currentTarget }) => setFilter({ ...filter, words: currentTarget.value })}
          />
        </label>
        {FACETS.map(([facet, label]) => (
          <FacetSelect
            key={facet}
            facet={facet}
            label={label}
            filter={filter}
            onChange={setFilter}
          />
        ))}
      </div>
      <p class="count" role="status">
        {left.length} of {kernels.length} kernels
        {left.length < kernels.length && (
          <button
            type="button"
            class="plain"
            onClick={() => setFilter({ words: "" })}
          >
            Show all
          </button>
        )}
      </p>
      <ul ref={list}>
        {left.map(({ info: { name } }) => (
          <li key={name}>
            <a
              href={formatRoute({ view: "kernels", name })}
              aria-current={name === current ? "true" : undefined}
              tabIndex={name === stop ? 0 : -1}
            >
              {name}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}

function FacetSelect(
  { facet, label, filter, onChange }: {
    readonly facet: Facet;
    readonly label: string;
    readonly filter: KernelFilter;
    readonly onChange: (filter: KernelFilter) => void;
  },
): VNode {
  const choices = facetChoices(kernels, filter, facet);
  return (
    <label>
      {label}
      <select
        value={filter[facet] ?? ""}
        onChange={({ currentTarget: { value } }) => {
          const { [facet]: _, ...others } = filter;
          onChange(value === "" ? others : { ...others, [facet]: value });
        }}
      >
        <option value="">all</option>
        {choices.map(([value, count]) => (
          <option key={value} value={value} disabled={count === 0}>
            {value} ({count})
          </option>
        ))}
      </select>
    </label>
  );
}

/** Lets "/" find the search field, wherever no text is being written. */
function useSearchKey(search: { readonly current: HTMLInputElement | null }): void {
  // Before the page is painted, so that no key is missed.
  useLayoutEffect(() => {
    function find(event: KeyboardEvent): void {
      const writing = (event.target as Element).closest("input, textarea, select");
      if (event.key !== "/" || writing !== null || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      search.current!.focus();
    }
    addEventListener("keydown", find);
    return () => removeEventListener("keydown", find);
  }, []);
}
