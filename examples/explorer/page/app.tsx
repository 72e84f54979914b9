import type { VNode } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { CompareView } from "./compare_view.tsx";
import { KernelsView } from "./kernels_view.tsx";
import { errorParts } from "./error_parts.ts";
import { Problem } from "./problem.tsx";
import { RecordsView } from "./records_view.tsx";
import { formatRoute, parseRoute, type Route } from "./route.ts";
import { ThemeButton } from "./theme_button.tsx";
import { useAsync } from "./use_async.ts";
import { useRoute } from "./use_route.ts";

const VIEWS: readonly (readonly [view: Route["view"], title: string])[] = [
  ["kernels", "Kernels"],
  ["compare", "Compare"],
  ["records", "Records"],
  ["memory", "Memory"],
];

/** The page. */
export function App(): VNode {
  const route = useRoute();
  const main = useRef<HTMLElement>(null);
  const shown = useRef(pageOf(route));
  // Together with the view: a focus that came a frame later would be taken from whatever was chosen in the meantime.
  useLayoutEffect(() => {
    document.title = `${titleOf(route)} · Couplet kernel explorer`;
    // A new view is read from its beginning, by eye and by screen reader.
    if (shown.current === pageOf(route)) return;
    shown.current = pageOf(route);
    main.current!.focus({ preventScroll: true });
    scrollTo(0, 0);
  }, [route]);
  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current!.focus();
        }}
      >
        Skip to the content
      </a>
      <header>
        <p class="brand">
          <a href={formatRoute({ view: "kernels" })}>
            Couplet <span>kernel explorer</span>
          </a>
        </p>
        <nav aria-label="Views">
          {VIEWS.map(([view, title]) => (
            <a
              key={view}
              href={formatRoute(parseRoute(`#/${view}`))}
              aria-current={route.view === view ? "page" : undefined}
            >
              {title}
            </a>
          ))}
        </nav>
        <ThemeButton />
      </header>
      <main id="main" ref={main} tabIndex={-1}>
        <View route={route} />
      </main>
    </>
  );
}

function View({ route }: { readonly route: Route }): VNode {
  switch (route.view) {
    case "kernels":
      return <KernelsView name={route.name} />;
    case "compare":
      return <CompareView before={route.before} after={route.after} />;
    case "records":
      return <RecordsView scheme={route.scheme} headDim={route.headDim} />;
    case "memory":
      return <LazyMemoryView />;
  }
}

/** The calculator reads files with a library of its own, which loads when it is wanted. */
function LazyMemoryView(): VNode {
  const loaded = useAsync(() => import("./memory_view.tsx"), []);
  if (loaded.state === "pending") return <p class="progress">Loading …</p>;
  if (loaded.state === "failed") {
    return <Problem parts={errorParts(loaded.error, "Cannot open the calculator")} />;
  }
  return <loaded.value.MemoryView />;
}

/** What counts as a view of its own. Fields of the others change the address, and keep the focus. */
function pageOf(route: Route): string {
  return route.view === "kernels" ? formatRoute(route) : route.view;
}

function titleOf(route: Route): string {
  if (route.view === "kernels" && route.name !== undefined) return route.name;
  return VIEWS.find(([view]) => view === route.view)![1];
}
