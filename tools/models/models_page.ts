/**
 * `docs/models.md`: the families of models whose configurations are read, what is planned of
 * published ones, and what is refused. Run it to write the page.
 *
 * @module
 */
import { markdownTable } from "../../codegen/write/markdown_table.ts";
import { MODEL_TYPES as ENGINE_TYPES } from "../../examples/engine/recipes.ts";
import { manifest } from "../../generated/manifest.ts";
import { CoupletError, planCache } from "../../mod.ts";
import { FAMILIES } from "../../src/models/families.ts";
import { type ModelPlanOptions, planOptions } from "../../src/models/mod.ts";
import { REFUSED_FAMILIES } from "../../src/models/refused_families.ts";
import { describeModel } from "./describe_model.ts";
import { PUBLISHED, type PublishedModel } from "./published.ts";

/** The page. */
export const MODELS_PAGE: URL = new URL("../../docs/models.md", import.meta.url);

const HEAD = `# Models

Written by \`deno run -A tools/models/models_page.ts\` from the families in
[src/models/](../src/models/families.ts) and the models that they are tested with.

\`planOptions()\` of \`@couplet/kv/models\` reads a Hugging Face \`config.json\`, and so do \`couplet plan\`
and the explorer:

\`\`\`ts
import { planOptions } from "@couplet/kv/models";

const config = {
  model_type: "qwen3",
  num_hidden_layers: 28,
  num_attention_heads: 16,
  num_key_value_heads: 8,
  hidden_size: 1024,
  head_dim: 128,
  rope_theta: 1000000,
};
const { shape, keys, scale, softcap, notes } = planOptions(config);
console.log(shape, keys, scale, softcap, notes);
\`\`\`

- **Multimodal models**: the text model is read, in \`text_config\`, \`llm_config\`, \`language_config\`
  or \`thinker_config\`. Sizes that it leaves out are transformers' defaults, and \`notes\` say which.
- **Layers without attention** are left out. \`layerNumbers\` has the model's own number of each layer
  of the plan, and \`layers\` what the file says of it.
- **Layers that share** another layer's keys and values are in \`shape.sharesWith\`: the host appends
  nothing to them.
- **Keys** are planned before their rotary embedding if kernels can apply that of every layer: none,
  or one in halves or neighbouring pairs, with linear, dynamic, Llama 3's, YaRN's and LongRoPE's
  scaling, and all channels or some. Otherwise they are planned as they are scored, and \`asScored\`
  says why.
- **A scaling with an attention factor** (YaRN, LongRoPE) multiplies keys and queries. Before the
  rotary embedding the factor is in \`scale\`; as scored, the host multiplies them.
- **A scaling that depends on the length** takes \`length\`, the tokens of the longest sequence
  (\`--tokens\`).
- **An entry that may change attention and is not understood is refused by its name**, and so are
  families that are not known. \`as\` (\`--as\`) reads the file of an unknown family as another whose
  attention is the same; \`notes\` say what that assumes. Entries are checked all the same, and a file
  whose family is known must mean the same as its own family says.
`;

const LEGEND = `## What is planned

Of layers: how many see every earlier token (\`full\`), a window or a chunk, and of how many in all.
Of heads: queries, keys and values, and channels, of values behind a stroke where these have others.
Of the rotary embedding: layout, channels, base, whether frequencies are scaled, and the attention
factor. "transformers" has the defaults of its configuration class.

Schemes to begin with are those of packaged kernels. \`u4b8\` and \`kc4\` need no calibration; \`c4b8\`,
for heads whose size is no power of two, learns codebooks ([others](choosing.md)). A bias of keys
leaves large constants in them, which drown the rest in schemes that share a scale among channels:
\`u4b8\` subtracts them from keys before their rotary embedding, \`kc4\` has a scale for each channel of
keys as they are scored, and \`c4b8\` learns them ([figures](choosing.md#models-with-a-bias)).
`;

/** The page. */
export function modelsPage(): string {
  const planned = PUBLISHED.filter(({ planned }) => !(planned instanceof RegExp));
  const refused = PUBLISHED.filter(({ planned }) => planned instanceof RegExp);
  return [
    HEAD,
    `## Families\n\n${FAMILIES.length} families are read. ${ENGINE_TYPES.length} of them run in the [example engine](../examples/engine/README.md).\n`,
    markdownTable(
      ["`model_type`", "models", "in the example engine"],
      FAMILIES.map(({ types, models }) => [
        types.map((type) => `\`${type}\``).join(", "),
        models,
        types.some((type) => ENGINE_TYPES.some((run) => run === type)) ? "runs" : "",
      ]),
    ),
    LEGEND,
    markdownTable(
      [
        "model",
        "`model_type`",
        "layers",
        "heads",
        "rotary embedding",
        "keys",
        "scale",
        "besides",
        "to begin with",
      ],
      planned.map(plannedRow),
    ),
    "## Why keys are as they are scored\n",
    markdownTable(
      ["model", "because"],
      planned.flatMap((model) => {
        const { asScored } = read(model);
        return asScored === undefined ? [] : [[nameOf(model), asScored]];
      }),
    ),
    "## What is refused\n\nFamilies, whatever their files say:\n",
    markdownTable(
      ["`model_type`", "models", "because"],
      REFUSED_FAMILIES.map(({ types, models, why }) => [
        types.map((type) => `\`${type}\``).join(", "),
        models,
        why,
      ]),
    ),
    "Models of families that are read, and others by their own words:\n",
    markdownTable(
      ["model", "because"],
      refused.map((model) => [nameOf(model), refusal(() => read(model)) ?? ""]),
    ),
  ].join("\n").trimEnd() + "\n";
}

function read({ config, length = 4096 }: PublishedModel): ModelPlanOptions {
  return planOptions(config, { length });
}

/** The model, and its type where transformers' defaults stand for it. */
function nameOf({ model, config }: PublishedModel): string {
  return model.startsWith("transformers") ? `${model}: ${config["model_type"]}` : model;
}

function plannedRow(model: PublishedModel): string[] {
  const options = read(model);
  const [layers, heads, rope, space, scale, others = ""] = describeModel(options);
  return [
    model.model,
    `\`${options.modelType}\``,
    layers,
    heads,
    rope.replaceAll(" | ", "; "),
    space,
    scale,
    others,
    beginWith(options),
  ];
}

/** Schemes for keys and values to begin with: the first that kernels of the package do. */
function beginWith({ shape, keys, scale, softcap, keyBias }: ModelPlanOptions): string {
  const candidates = [
    keyBias && keys.space === "as-scored" ? ["kc4", "u4b8"] as const : ["u4b8", "u4b8"] as const,
    ["c4b8", "c4b8"] as const,
  ];
  const possible = candidates.find(([keyScheme, values]) =>
    refusal(() =>
      planCache({
        shape,
        keys,
        scale,
        softcap,
        policy: { keys: keyScheme, values },
        tiers: { sinks: 4, window: 64 },
        capacity: {
          sequences: 1,
          tokens: 4096,
          sequenceTokens: 4096,
          stepTokens: 64,
          appendTokens: 64,
        },
        kernels: manifest,
      })
    ) === undefined
  );
  if (possible === undefined) {
    return `no kernels are packaged for ${[shape.headDim].flat().join(", ")} channels`;
  }
  const [keyScheme, values] = possible;
  return keyScheme === values ? `\`${values}\`` : `keys \`${keyScheme}\`, values \`${values}\``;
}

/** Why something is refused; undefined where it is not. */
function refusal(act: () => unknown): string | undefined {
  try {
    act();
    return undefined;
  } catch (error) {
    if (!(error instanceof CoupletError)) throw error;
    return error.parts.why;
  }
}

if (import.meta.main) Deno.writeTextFileSync(MODELS_PAGE, modelsPage());
