/** What is known of a kernel without loading its text: what it binds, needs and costs. */
import { exactTokenBytes, pageBytes, tableBytes } from "../src/plan/sizes.ts";
import { headCodebookWords } from "../src/codebooks/device.ts";
import type { KernelInfo } from "../src/kernels/kernel.ts";
import { BINDING_TYPES, type BindingName, bindingSpace } from "../src/kernels/bindings.ts";
import { BLOCK_ROWS, PAGE_TOKENS } from "../src/kernels/constants.ts";
import {
  kernelFeatures,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "../src/kernels/name.ts";
import { BASE_LIMITS } from "../src/plan/limits.ts";
import { recordBits } from "../src/records/layout.ts";
import { parseScheme } from "../src/schemes/parse_scheme.ts";
import type { SchemeId } from "../src/schemes/scheme.ts";
import type { Side } from "../src/model/side.ts";
import { obstacle, storageBuffers } from "../src/kernels/select.ts";
import { kernelText } from "../codegen/kernels/kernel_texts.ts";
import { kernelEntry } from "./kernel_entries.ts";

/** One resource of a kernel's bind group. */
export interface Binding {
  readonly index: number;
  readonly name: BindingName;
  /** WGSL address space and access mode. */
  readonly space: string;
  /** WGSL type. */
  readonly type: string;
}

/** The records a kernel reads or writes. */
export interface RecordFacts {
  /** Which side they are; absent where they may be either. */
  readonly side?: Side;
  readonly scheme: SchemeId;
  /** Tokens in one. */
  readonly tokens: number;
  /** u32 words in one. */
  readonly words: number;
  /** Unused bits of one. */
  readonly paddingBits: number;
  /** Bits per channel, with metadata and without padding. */
  readonly bitsPerChannel: number;
  /** Bytes of centroids and their grids of one KV head; 0 where the scheme has no learned ones. */
  readonly codebookBytes: number;
}

/** Bytes that a kernel reads or writes again and again. */
export interface Traffic {
  readonly what: string;
  readonly bytes: number;
  readonly per: "token and KV head" | "token and query row" | "query row";
}

/** All that is known of a kernel without loading it. */
export interface KernelFacts extends KernelNameParts {
  readonly name: string;
  /** What it does, in a sentence. */
  readonly does: string;
  /**
   * What a program imports it from; absent where all of its head dimension hold it, and for a
   * user's own.
   */
  readonly entry?: string;
  /** Why the generator's table has the row. */
  readonly reason: string;
  readonly bindings: readonly Binding[];
  /** Most pages a workgroup scores at once, for the attention families. */
  readonly span?: number;
  /** What a device must have. */
  readonly needs: {
    readonly maxComputeWorkgroupStorageSize: number;
    readonly maxStorageBuffersPerShaderStage: number;
    readonly features: readonly GPUFeatureName[];
    /** Why WebGPU's default limits do not suffice; absent where they do. */
    readonly beyondDefaults?: string;
  };
  readonly records: readonly RecordFacts[];
  readonly cost: {
    readonly traffic: readonly Traffic[];
  };
}

/** What is known of a kernel. */
export function kernelFacts(kernel: KernelInfo): KernelFacts {
  const { name, bindings, span, workgroupBytes, reason } = kernel;
  const parts = parseKernelName(name);
  const entry = kernelEntry(kernel);
  const beyondDefaults = obstacle(kernel, BASE_LIMITS);
  return {
    name,
    ...parts,
    does: kernelText(parts),
    ...(entry === undefined ? {} : { entry }),
    reason,
    bindings: bindings.map((binding, index) => ({
      index,
      name: binding,
      space: bindingSpace(binding),
      type: BINDING_TYPES[binding],
    })),
    ...(span === undefined ? {} : { span }),
    needs: {
      maxComputeWorkgroupStorageSize: workgroupBytes,
      maxStorageBuffersPerShaderStage: storageBuffers(kernel),
      features: kernelFeatures(parts),
      ...(beyondDefaults === undefined ? {} : { beyondDefaults }),
    },
    records: recordFacts(parts),
    cost: kernelCost(parts),
  };
}

/** The side whose records a kernel reads first, by family; others read either. */
const FIRST_SIDE: Readonly<Partial<Record<KernelNameParts["family"], Side>>> = {
  attend: "keys",
  score: "keys",
  table: "keys",
  mix: "values",
};

function recordFacts({ family, schemes, size }: KernelNameParts): RecordFacts[] {
  return schemes.map((id, index) => {
    const scheme = parseScheme(id);
    const { tokens, words, paddingBits } = scheme.layout(size!);
    const side = index === 1 ? "values" : FIRST_SIDE[family];
    return {
      ...(side === undefined ? {} : { side }),
      scheme: id,
      tokens,
      words,
      paddingBits,
      bitsPerChannel: recordBits(scheme.layout(size!), size!),
      codebookBytes: headCodebookWords(scheme, size!) * 4,
    };
  });
}

function kernelCost(
  parts: KernelNameParts,
): KernelFacts["cost"] {
  const { family, schemes, size, variant } = parts;
  const [keys, values = keys] = schemes;
  const head = { headDim: size!, valueHeadDim: size! };
  const record = (what: string, scheme: SchemeId): Traffic => ({
    what,
    bytes: pageBytes({ ...head, keys: scheme, values: scheme }, "keys", 1) / PAGE_TOKENS,
    per: "token and KV head",
  });
  const exact = (what: string): Traffic => ({
    what,
    bytes: exactTokenBytes(head, "keys", 1),
    per: "token and KV head",
  });
  // Written by one kernel and read by the other.
  const score = (what: string): Traffic => ({
    what,
    bytes: Float32Array.BYTES_PER_ELEMENT,
    per: "token and query row",
  });
  switch (family) {
    case "store":
      return { traffic: [exact("exact key written"), exact("exact value written")] };
    case "encode":
      return { traffic: [exact("exact vector read"), record("record written", keys!)] };
    case "decode":
      return { traffic: [record("record read", keys!)] };
    case "load":
      return { traffic: [exact("exact vector read")] };
    case "table":
      return {
        traffic: [
          { what: "table written", bytes: tableRowBytes(keys!, size!, variant), per: "query row" },
        ],
      };
    case "score":
      return {
        traffic: [record("keys' records read", keys!), score("score written")],
      };
    case "mix":
      return { traffic: [score("score read"), record("values' records read", keys!)] };
    case "attend":
      return {
        traffic: [record("keys' records read", keys!), record("values' records read", values!)],
      };
    default:
      // These move what hosts ask for, not a fixed amount for each token.
      return { traffic: [] };
  }
}

/**
 * Bytes of one query row's table of q.centroid: the part of the buffer that it writes. The buffer
 * is sized for f32.
 */
function tableRowBytes(scheme: SchemeId, headDim: number, variant: KeyVariant | undefined): number {
  const block = tableBytes(
    { keys: scheme, headDim, queryHeads: BLOCK_ROWS, keyValueHeads: 1 },
    { tokens: 1, entries: 0 },
  );
  return block / BLOCK_ROWS / (variant === "table16" ? 2 : 1);
}
