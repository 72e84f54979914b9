/** What a kernel is rendered from. */
import type { BindingName } from "../../src/kernels/bindings.ts";
import { formatKernelName, type KernelNameParts, type KeyVariant } from "../../src/kernels/name.ts";
import type { Scheme } from "../../src/schemes/scheme.ts";

/** A value for a template: a scalar, a record of scalars, or a list of records. */
export type TemplateValue =
  | string
  | number
  | { readonly [name: string]: TemplateValue }
  | readonly { readonly [name: string]: TemplateValue }[];

/** What one kernel is rendered from. */
export interface KernelRow {
  /** The kernel's name. */
  readonly name: string;
  /** The template: the name of its file, without folder and ending. */
  readonly template: string;
  /** Exactly the names that the template uses. */
  readonly context: Readonly<Record<string, TemplateValue>>;
  /** Resources of bind group 0, in order. */
  readonly bindings: readonly BindingName[];
  /** Most pages of a coded tile, for the attention families. */
  readonly span?: number;
  /** Why the generator's table has the row. */
  readonly reason: string;
}

/** Names that a template uses. */
export type Context = Readonly<Record<string, TemplateValue>>;

/** A kernel's row. */
export function kernel(
  parts: KernelNameParts,
  template: string,
  reason: string,
  bindings: readonly BindingName[],
  context: Context,
  span?: number,
): KernelRow {
  return {
    name: formatKernelName(parts),
    template,
    reason,
    bindings,
    context,
    ...(span === undefined ? {} : { span }),
  };
}

/** The row of a kernel that encodes or decodes. */
export function codecKernel(
  family: "encode" | "decode",
  { id }: Scheme,
  headDim: number,
  template: string,
  reason: string,
  bindings: readonly BindingName[],
  context: Context,
  variant?: KeyVariant,
): KernelRow {
  const parts = { family, schemes: [id], size: headDim };
  return kernel(
    variant === undefined ? parts : { ...parts, variant },
    template,
    reason,
    bindings,
    context,
  );
}
