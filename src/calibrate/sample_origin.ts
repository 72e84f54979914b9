/** What the metadata of a file of samples say: where its samples come from. */
import { checkOptions, type Fields, type Kind, oneOf, TEXT } from "../base/check_options.ts";
import { describeValue } from "../base/describe_value.ts";
import { CoupletError } from "../base/errors.ts";
import { parseJson } from "../base/parse_json.ts";
import { messageOf } from "../base/raise.ts";
import { MODEL } from "../codebooks/find.ts";
import type { KeySpace, ModelFingerprint, RopeParameters } from "../model/model.ts";
import { PLAIN_ROPE_FIELDS } from "../model/rope_options.ts";

/** Where the samples of a file come from, as far as the file tells it. */
export interface SampleOrigin {
  /** The model that was captured. */
  readonly model?: ModelFingerprint;
  /** The space the keys are in: codebooks of anchored keys are learned of those `pre-rope`. */
  readonly keySpace?: SampleSpace;
  /** What the model read, for display. */
  readonly source?: string;
}

/** The spaces that samples of keys may be in. */
export type SampleSpace = Exclude<KeySpace, "anchored">;

/** What the space of samples may be. */
const SAMPLE_SPACE: Kind<SampleSpace> = /* @__PURE__ */ oneOf("pre-rope", "as-scored");

/** What {@linkcode SampleOrigin} may be. */
export const ORIGIN_FIELDS: Fields<SampleOrigin> = {
  "model?": MODEL,
  "keySpace?": SAMPLE_SPACE,
  "source?": TEXT,
};

/** What the metadata hold: the origin, and the rotary embedding of keys before it. */
interface SampleMetadata extends SampleOrigin {
  readonly rope?: RopeParameters;
}

/** What the metadata of a file of samples call its format. */
const FORMAT = "couplet-samples";

/** The version that is written and read. */
const VERSION = "1";

/** Encodes what is known. */
export function encodeMetadata(
  { model, keySpace, source, rope }: SampleMetadata,
): Record<string, string> {
  return {
    format: FORMAT,
    version: VERSION,
    ...(model && { model: JSON.stringify({ name: model.name, digest: model.digest }) }),
    ...(keySpace && { key_space: keySpace }),
    ...(rope && { rope: JSON.stringify(rope) }),
    ...(source !== undefined && { source }),
  };
}

/**
 * Parses the metadata of a file, which may be anything if it does not claim to be of this format:
 * older files have none, and other programs put their own format there.
 *
 * @throws {CoupletError} `file` where it is of another version, or an entry is not what it is to be.
 */
export function parseMetadata(metadata: Readonly<Record<string, string>>): SampleMetadata {
  if (metadata["format"] !== FORMAT) return {};
  if (metadata["version"] !== VERSION) {
    throw badSamples(
      `it has version ${
        describeValue(metadata["version"])
      } and this library reads version ${VERSION}`,
      "Write it in that version, or use a library that reads it",
    );
  }
  const { model, rope, key_space: keySpace, source } = metadata;
  const parsed = {
    ...(model === undefined ? {} : { model: parseEntry("model", model) }),
    ...(rope === undefined ? {} : { rope: parseEntry("rope", rope) }),
    ...(keySpace === undefined ? {} : { keySpace }),
    ...(source === undefined ? {} : { source }),
  };
  const fields: Fields<SampleMetadata> = { ...ORIGIN_FIELDS, "rope?": PLAIN_ROPE_FIELDS };
  checkOptions("file", WHAT, fields, parsed);
  return parsed as SampleMetadata;
}

const WHAT = "Cannot read the file of samples";

function parseEntry(name: string, text: string): unknown {
  try {
    return parseJson(text);
  } catch (cause) {
    throw badSamples(
      `its ${name} is no JSON: ${messageOf(cause)}`,
      "Write it as docs/formats.md says, or leave it out",
    );
  }
}

/** The error of a file that does not hold samples. */
export function badSamples(why: string, remedy: string): CoupletError {
  return new CoupletError("file", { what: WHAT, why, remedy });
}
