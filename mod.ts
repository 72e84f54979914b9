/**
 * KV-cache compression for WebGPU: keeps a language model's keys and values in 1 to 4 bits a
 * channel, and computes attention on the codes.
 *
 * `planCache()` needs no device: it says how many bytes a cache takes, and whether it fits. Kernels
 * are imported from entries of their own, one set for each scheme and head dimension.
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
 * `createCache({ device, plan })` makes it, and its `encodeAppend` and `encodeAttend` record a
 * step's commands.
 *
 * @module
 */

export * from "./src/base/errors.ts";
export { type Side, SIDES } from "./src/model/side.ts";
export type {
  CodebookKind,
  CodebookSpec,
  OtherFamily,
  OtherScheme,
  OtherSchemeId,
  OwnScheme,
  OwnSchemeId,
  ReadingWork,
  Scheme,
  SchemeFamily,
  SchemeId,
} from "./src/schemes/scheme.ts";
export { parseScheme, registerScheme } from "./src/schemes/parse_scheme.ts";
export type {
  Codec,
  CodingContext,
  HeadCodebook,
  Normalisation,
  SharedLearning,
} from "./src/schemes/codec.ts";
export { registerCodec, schemeCodec } from "./src/schemes/scheme_codec.ts";
export {
  packRecords,
  readBits,
  recordBits,
  recordLayout,
  recordWords,
  sectionedLayout,
  unpackRecords,
  writeBits,
} from "./src/checked/records.ts";
export type {
  PlacedSection,
  RecordLayout,
  RecordMetadata,
  RecordSection,
} from "./src/records/layout.ts";
export { centroidNumbers, type GridCentroids, roundToGrid } from "./src/codebooks/grid.ts";
export type {
  CalibrationProvenance,
  Codebook,
  CodebookFit,
  CodebookNormalisation,
  CodebookSet,
  SideCodebook,
  UniversalCodebook,
  ValueRotation,
} from "./src/codebooks/codebook.ts";
export type {
  AnchorOptions,
  KeyOptions,
  KeySpace,
  ModelFingerprint,
  ModelShape,
  RopeByLayer,
  RopeParameters,
} from "./src/model/model.ts";
export type { LayerPolicy, Policy } from "./src/schemes/policy.ts";
export * from "./src/base/safetensors.ts";
export { decodeCodebooks, encodeCodebooks, type ExpectedCodebooks } from "./src/codebooks/file.ts";
export { findCodebook } from "./src/codebooks/find.ts";
export type { CalibrationOptions, CalibrationProgress } from "./src/calibrate/calibrate_options.ts";
export { calibrate } from "./src/calibrate/calibrate.ts";
export type { CalibrationSamples } from "./src/calibrate/samples.ts";
export { type QueryEnergyOptions, queryScale } from "./src/calibrate/query_energy.ts";
export { joinSamples } from "./src/calibrate/join_samples.ts";
export type { SampleOrigin, SampleSpace } from "./src/calibrate/sample_origin.ts";
export { readSampleOrigin, readSamples } from "./src/calibrate/samples_file.ts";
export { writeSamples } from "./src/calibrate/write_samples.ts";
export { valueRotation } from "./src/calibrate/value_rotation.ts";
export { type CalibrationWeights, readWeights, withWeights } from "./src/calibrate/weights_file.ts";
export { createReferenceCache } from "./src/checked/reference_cache.ts";
export type {
  ReferenceCache,
  ReferenceSequence,
  ReferenceSpan,
  ReferenceStep,
  ReferenceStepEntry,
} from "./src/reference/reference_cache.ts";
export type { ReferenceCacheOptions } from "./src/plan/reference_options.ts";
export type { CodedSpan } from "./src/reference/span_coding.ts";
export type {
  AttentionInput,
  AttentionResult,
  SpanVectors,
  TokenVectors,
} from "./src/reference/attention.ts";
export {
  type CacheOptions,
  type Capacity,
  type ExactTiers,
  type HostLayout,
  type HostStrides,
  type LayerShape,
  layerShape,
  type PageTableOptions,
  type ResolvedLayer,
  type ResolvedOptions,
  type RopeTableOptions,
  type SpanKinds,
  type SpanOptions,
  type TensorStrides,
} from "./src/plan/options.ts";
export type { SkipOptions } from "./src/plan/skip.ts";
export { attend, rotate, seesExactly } from "./src/checked/reference_calls.ts";
export type { TokenTurn } from "./src/model/anchors.ts";
export { inverseFrequencies } from "./src/model/rope.ts";
export { type MropeSectionOptions, mropeSections } from "./src/model/mrope_sections.ts";
export type { Cache, CacheInit, CacheStats, ReadRange, Step } from "./src/cache/cache.ts";
export { createCache } from "./src/cache/create_cache.ts";
export { dropGranularity, encodeDrop, type TokenRange } from "./src/cache/drop_tokens.ts";
export { encodeRollback } from "./src/cache/rollback.ts";
export type { PageStats } from "./src/cache/page_pool.ts";
export type { NumberCounts } from "./src/cache/number_counters.ts";
export { PAGE_TOKENS } from "./src/kernels/constants.ts";
export type { CacheBytes, LayerBytes, ScratchBytes, SideBytes } from "./src/plan/sizes.ts";
export type { AttentionWay, SplitTarget } from "./src/plan/steps.ts";
export type { SpanStats } from "./src/cache/cache_stats.ts";
export type { Span } from "./src/cache/span_room.ts";
export type { SpanTensors } from "./src/cache/spans.ts";
export { spanKinds } from "./src/cache/span_kinds.ts";
export {
  protectedTokens,
  type ProtectedTokensOptions,
  type TokenSelection,
} from "./src/spans/protected_tokens.ts";
export type { SpanCoders, SpanLayerPlan, SpanPlan } from "./src/plan/spans.ts";
export type { SpanPolicies, SpanPolicy } from "./src/plan/span_policies.ts";
export type { CommandTarget } from "./src/cache/command_target.ts";
export {
  createProfile,
  type KernelTime,
  type Profile,
  type ProfileReport,
} from "./src/cache/profile.ts";
export type { KernelInfo } from "./src/kernels/kernel.ts";
export type { BindingName } from "./src/kernels/bindings.ts";
export {
  formatKernelName,
  type KernelFamily,
  type KernelFeature,
  type KernelNameParts,
  type KeyVariant,
  parseKernelName,
} from "./src/kernels/name.ts";
export type { AttentionKernels } from "./src/plan/choose_attention.ts";
export { tune, type TuneOptions } from "./src/tuning/tune.ts";
export type {
  AdapterIdentity,
  MeasuredCandidate,
  TunedAttention,
  TunedShape,
  TuningRecord,
} from "./src/plan/tuning_record.ts";
export type { HeadRange } from "./src/plan/divide_heads.ts";
export { BASE_LIMITS, type PlanLimits } from "./src/plan/limits.ts";
export type { Precision } from "./src/kernels/precision.ts";
export type { CachePlan, LayerPlan, PlanOptions } from "./src/plan/plan.ts";
export type { StoreKernels } from "./src/plan/store_kernels.ts";
export {
  type FeatureOptions,
  OPTIONAL_FEATURES,
  requiredFeatures,
  type RequiredLimits,
  requiredLimits,
} from "./src/plan/requirements.ts";
export { planCache } from "./src/plan/plan_cache.ts";
export type { KernelLimits } from "./src/kernels/select.ts";
export {
  choosePolicy,
  type ChoosePolicyOptions,
  type ChosenPolicy,
  type Sensitivity,
} from "./src/policy/choose_policy.ts";
export { estimateSensitivities } from "./src/policy/estimate_sensitivities.ts";
export {
  checkDrift,
  type DriftOptions,
  type DriftReport,
  type HeadDrift,
} from "./src/calibrate/drift.ts";
export type { LayerBuffers, PartBuffers } from "./src/cache/layer_buffers.ts";
export type { Sequence, SequencePages, StepEntry } from "./src/cache/sequences.ts";
export type { CacheIdentity } from "./src/cache/identity.ts";
export {
  cacheIdentity,
  restoreSequence,
  type SnapshotOptions,
  snapshotSequence,
} from "./src/snapshots/snapshot.ts";
export { inspectSnapshot, type SnapshotInfo } from "./src/snapshots/file.ts";
export type { HeldSpan } from "./src/snapshots/span_content.ts";
export type { ReadableStore, SnapshotStore } from "./src/snapshots/store.ts";
export {
  findLongestPrefix,
  type FoundPrefix,
  type Prompt,
  promptKey,
  type RefusedEntry,
  restoreLongestPrefix,
  storePrefix,
} from "./src/snapshots/prompts.ts";
