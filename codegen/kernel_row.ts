import type { BindingName } from "../src/kernel_bindings.ts";

/** A value a template may use: a scalar, a record of them, or a list of records. */
export type TemplateValue =
  | string
  | number
  | { readonly [name: string]: TemplateValue }
  | readonly { readonly [name: string]: TemplateValue }[];

/** What one kernel is rendered from. */
export interface KernelRow {
  /** The kernel's name. */
  readonly name: string;
  /** The template's file name in `templates/`. */
  readonly template: string;
  /** Every name the template uses, and no other. */
  readonly context: Readonly<Record<string, TemplateValue>>;
  /** Resources of bind group 0, in order. */
  readonly bindings: readonly BindingName[];
  /** Most pages of a coded tile, for the attention families. */
  readonly span?: number;
  /** Why the row is in the table. */
  readonly reason: string;
}
