/** The text model within a multimodal model's `config.json`. */
import { isObject, type Json } from "./reading/entries.ts";
import { refuse } from "./reading/refuse.ts";

/** A text model's configuration. */
export interface TextConfig {
  readonly json: Json;
  /** What it says it is, or what follows from the model around it. */
  readonly modelType: string;
  /** Names and places of the objects around it, outermost first: none where it is the whole file. */
  readonly within: readonly string[];
}

/** Where text models lie in others: thinker_config of one that speaks has a text_config of its own. */
const PLACES: readonly string[] = [
  "text_config",
  "llm_config",
  "language_config",
  "thinker_config",
];

/**
 * The text model's configuration: the file itself, or what lies in it.
 *
 * @throws {CoupletError} `file` where it is no object, or has no `model_type`.
 */
export function findTextConfig(config: unknown): TextConfig {
  if (!isObject(config)) {
    refuse("it is no object", "Give the config.json of a Hugging Face model");
  }
  let json: Json = config;
  let outer = "";
  const within: string[] = [];
  for (;;) {
    const type = json["model_type"];
    const modelType = typeof type === "string" && type !== "" ? type : undefined;
    const place = PLACES.find((name) => isObject(json[name]));
    if (place === undefined || within.length === PLACES.length) {
      if (modelType !== undefined) return { json, modelType, within };
      if (outer !== "") return { json, modelType: `${outer}_text`, within };
      refuse(
        `${[...within, "model_type"].join(".")} is missing`,
        "Give the config.json of a Hugging Face model",
      );
    }
    within.push(place!);
    outer = modelType ?? outer;
    json = json[place!] as Json;
  }
}
