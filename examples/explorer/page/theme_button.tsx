import type { VNode } from "preact";
import { useLayoutEffect, useState } from "preact/hooks";

type Theme = "light" | "dark";

const KEY = "couplet-theme";

/** Switches between light and dark. Until it is used, the page follows the system. */
export function ThemeButton(): VNode {
  const [theme, setTheme] = useState(initialTheme);
  // At once, as the button's label: an effect that waits for the next frame would show the old colours under the new label.
  useLayoutEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const next = theme === "dark" ? "light" : "dark";
  return (
    <button
      type="button"
      class="theme"
      onClick={() => {
        store(next);
        setTheme(next);
      }}
    >
      {next === "dark" ? "Dark" : "Light"}
      <span class="unseen">theme</span>
    </button>
  );
}

function initialTheme(): Theme {
  const stored = read();
  if (stored === "light" || stored === "dark") return stored;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

// Storage may be closed to a page; the choice then lasts as long as the page.
function read(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

function store(theme: Theme): void {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    return;
  }
}
