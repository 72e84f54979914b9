/**
 * KV-cache compression for WebGPU: keeps a language model's keys and values in 1 to 4 bits a channel, and computes
 * attention on the codes.
 *
 * A cache is planned before there is a device: what it takes, and whether it fits. Kernels come from entries of their own,
 * a set for each scheme and head dimension.
 *
 * ```ts
 * import { planCache } from "@couplet/kv";
 * import { kernels } from "@couplet/kv/kernels/u8b8_d128";
 *
 * const plan = planCache({
 *   shape: { layers: 32, queryHeads: 32, keyValueHeads: 8, headDim: 128 },
 *   policy: { keys: "u8b8", values: "u8b8" },
 *   keys: { space: "pre-rope", rope: { layout: "half", theta: 500000 } },
 *   tiers: { sinks: 4, window: 64 },
 *   capacity: { sequences: 1, tokens: 8192, sequenceTokens: 8192, stepTokens: 512, appendTokens: 512 },
 *   kernels,
 * });
 * console.log(`${plan.effectiveBits} bits a channel, ${plan.bytes.total} bytes`);
 * ```
 *
 * `createCache({ device, plan })` makes it, and its `encodeAppend` and `encodeAttend` record a step's commands.
 *
 * @module
 */
export * from "./src/errors.ts";
export * from "./src/scheme.ts";
export * from "./src/codec.ts";
export {
  packRecords,
  readBits,
  recordBits,
  recordLayout,
  recordWords,
  sectionedLayout,
  unpackRecords,
  writeBits,
} from "./src/checked_records.ts";
export type {
  PlacedSection,
  RecordLayout,
  RecordMetadata,
  RecordSection,
} from "./src/record_layout.ts";
export { centroidNumbers, type GridCentroids, roundToGrid } from "./src/centroid_grid.ts";
export * from "./src/codebook.ts";
export * from "./src/cache_types.ts";
export * from "./src/safetensors.ts";
export { decodeCodebooks, encodeCodebooks, type ExpectedCodebooks } from "./src/codebook_file.ts";
export { findCodebook } from "./src/find_codebook.ts";
export * from "./src/calibrate/calibrate.ts";
export { type QueryEnergyOptions, queryScale } from "./src/calibrate/query_energy.ts";
export { joinSamples, readSamples } from "./src/calibrate/samples_file.ts";
export { valueRotation } from "./src/calibrate/value_rotation.ts";
export { type CalibrationWeights, readWeights, withWeights } from "./src/calibrate/weights_file.ts";
export { createReferenceCache } from "./src/checked_reference_cache.ts";
export type {
  ReferenceCache,
  ReferenceCacheOptions,
  ReferenceSequence,
  ReferenceStep,
  ReferenceStepEntry,
} from "./src/reference/reference_cache.ts";
export type {
  AttentionInput,
  AttentionResult,
  ExactTiers,
  TokenVectors,
} from "./src/reference/attention.ts";
export { attend, rotate, seesExactly } from "./src/checked_reference_calls.ts";
export { inverseFrequencies } from "./src/reference/rope.ts";
export {
  type Cache,
  type CacheInit,
  type CacheStats,
  createCache,
  type PageStats,
  type ReadRange,
  type Step,
  type StepEntry,
} from "./src/cache.ts";
export { layerHeads } from "./src/cache_options.ts";
export type { NumberCounts } from "./src/number_counters.ts";
export { PAGE_TOKENS } from "./src/kernel_constants.ts";
export type {
  CacheOptions,
  Capacity,
  HostLayout,
  HostStrides,
  PageTableOptions,
  ResolvedLayer,
  ResolvedOptions,
  TensorStrides,
} from "./src/cache_options.ts";
export type {
  CacheBytes,
  LayerBytes,
  ScratchBytes,
  SideBytes,
  SplitTarget,
} from "./src/cache_sizes.ts";
export type { CommandTarget } from "./src/recorder.ts";
export { createProfile, type KernelTime, type Profile, type ProfileReport } from "./src/profile.ts";
export type { KernelInfo } from "./src/kernel.ts";
export type { BindingName } from "./src/kernel_bindings.ts";
export {
  formatKernelName,
  type KernelFamily,
  type KernelFeature,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "./src/kernel_name.ts";
export type { AttentionKernels } from "./src/choose_attention.ts";
export { tune, type TuneOptions } from "./src/tune.ts";
export type {
  AdapterIdentity,
  AttentionWay,
  MeasuredCandidate,
  TunedAttention,
  TunedShape,
  TuningRecord,
} from "./src/tuning.ts";
export type { HeadRange } from "./src/plan_buffers.ts";
export { BASE_LIMITS, type PlanLimits } from "./src/plan_limits.ts";
export type { Precision } from "./src/precision.ts";
export {
  type CachePlan,
  type FeatureOptions,
  type LayerPlan,
  OPTIONAL_FEATURES,
  planCache,
  type PlanOptions,
  requiredFeatures,
  type RequiredLimits,
  requiredLimits,
} from "./src/plan.ts";
export { type KernelLimits } from "./src/select_kernel.ts";
export {
  choosePolicy,
  type ChoosePolicyOptions,
  type ChosenPolicy,
  type Sensitivity,
} from "./src/choose_policy.ts";
export { estimateSensitivities } from "./src/estimate_sensitivities.ts";
export { checkDrift, type DriftOptions, type DriftReport, type HeadDrift } from "./src/drift.ts";
export type { LayerBuffers, PartBuffers } from "./src/layer_buffers.ts";
export type { Sequence, SequencePages } from "./src/sequences.ts";
export type { CacheIdentity } from "./src/cache_identity.ts";
export {
  cacheIdentity,
  restoreSequence,
  type SnapshotOptions,
  snapshotSequence,
} from "./src/snapshot.ts";
export { inspectSnapshot, type SnapshotInfo } from "./src/snapshot_file.ts";
export type { SnapshotStore } from "./src/snapshot_store.ts";
export {
  findLongestPrefix,
  type FoundPrefix,
  type Prompt,
  promptKey,
  type RefusedEntry,
  restoreLongestPrefix,
  storePrefix,
} from "./src/prompt_store.ts";
