/** What the address's hash says: which of the page's views is open, and on what. */

/** A view. */
export type Route =
  | { readonly view: "kernels"; readonly name?: string }
  | { readonly view: "compare"; readonly before?: string; readonly after?: string }
  | { readonly view: "records"; readonly scheme: string; readonly headDim: number }
  | { readonly view: "memory" };

/** Where the page begins. */
const FIRST: Route = { view: "kernels" };

/** The scheme that the view of records opens with. */
const FIRST_RECORD = { scheme: "c8b8", headDim: 128 };

/** The route of a hash such as `#/kernels/attend_c8b8_c8b8_d128_plain`; the first view where it names none. */
export function parseRoute(hash: string): Route {
  const [view, first, second] = hash.replace(/^#\/?/, "").split("/").map(decode);
  switch (view) {
    case "kernels":
      return first ? { view, name: first } : { view };
    case "compare":
      return {
        view,
        ...(first ? { before: first } : {}),
        ...(second ? { after: second } : {}),
      };
    case "records":
      return {
        view,
        scheme: first || FIRST_RECORD.scheme,
        headDim: Number(second?.replace(/^d/, "")) || FIRST_RECORD.headDim,
      };
    case "memory":
      return { view };
    default:
      return FIRST;
  }
}

/** The inverse of {@linkcode parseRoute}. */
export function formatRoute(route: Route): string {
  const parts: (string | undefined)[] = [route.view];
  if (route.view === "kernels") parts.push(route.name);
  if (route.view === "compare") parts.push(route.before, route.after);
  if (route.view === "records") parts.push(route.scheme, `d${route.headDim}`);
  return `#/${parts.filter((part) => part !== undefined).map(encodeURIComponent).join("/")}`;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray % is no reason to show nothing.
    return text;
  }
}
