import { useLayoutEffect, useState } from "preact/hooks";
import { formatRoute, parseRoute, type Route } from "./route.ts";

/**
 * Opens a view. The address and the page change in one step: a browser tells of a new hash only when it gets round to
 * it, and what is typed till then would be lost.
 */
export function openRoute(route: Route): void {
  const hash = formatRoute(route);
  if (hash === location.hash) return;
  history.pushState(null, "", hash);
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/** The route of the page's address. */
export function useRoute(): Route {
  const [route, setRoute] = useState(() => parseRoute(location.hash));
  useLayoutEffect(() => {
    const update = () => setRoute(parseRoute(location.hash));
    addEventListener("hashchange", update);
    return () => removeEventListener("hashchange", update);
  }, []);
  return route;
}
