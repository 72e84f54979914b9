import type { Cache, Sequence, Step } from "@couplet/kv";
import type { AttentionCache } from "../engine/attention_cache.ts";

/** Lets one engine, and so one copy of the weights, run with many caches in turn. */
export class CacheSwitch implements AttentionCache<Sequence, Step> {
  /** The cache in use; sequences are of the cache that made them. */
  cache: Cache;

  constructor(cache: Cache) {
    this.cache = cache;
  }

  createSequence(): Sequence {
    return this.cache.createSequence();
  }

  freeSequence(sequence: Sequence): void {
    this.cache.freeSequence(sequence);
  }

  length(sequence: Sequence): number {
    return this.cache.length(sequence);
  }

  beginStep(entries: Parameters<Cache["beginStep"]>[0]): Step {
    return this.cache.beginStep(entries);
  }

  encodeAppend(...call: Parameters<Cache["encodeAppend"]>): void {
    this.cache.encodeAppend(...call);
  }

  encodeAttend(...call: Parameters<Cache["encodeAttend"]>): void {
    this.cache.encodeAttend(...call);
  }
}
