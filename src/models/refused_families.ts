/** Families that a cache cannot serve, and why. */

/** A reason, and the `model_type`s that it is for. */
export interface RefusedFamilies {
  readonly types: readonly string[];
  readonly models: string;
  readonly why: string;
  /** Whether keys and values of all heads can be computed from what it caches, and cached instead. */
  readonly latent?: true;
}

/** Why the cache cannot serve some families, whatever their files say. */
export const REFUSED_FAMILIES: readonly RefusedFamilies[] = [
  {
    types: [
      "deepseek_v2",
      "deepseek_v3",
      "kimi_k2",
      "kimi_linear",
      "minicpm3",
      "longcat_flash",
      "glm4_moe_lite",
      "youtu",
      "axk1",
    ],
    models: "DeepSeek V2, V3, R1; Kimi; MiniCPM3; LongCat; GLM-4.7-Flash",
    why: "it caches one latent vector for all heads (kv_lora_rank), not keys and values",
    latent: true,
  },
  {
    types: ["deepseek_v32", "deepseek_v4", "glm_moe_dsa", "axk2", "hy_v4"],
    models: "DeepSeek V3.2, V4; GLM-5",
    why: "it caches one latent vector for all heads, and an index chooses the tokens that are seen",
  },
  {
    types: ["minimax_m3_vl_text", "qwen4_exp", "qwen4_exp_text"],
    models: "MiniMax M3; Qwen4 preview",
    why: "an index chooses the tokens that are seen, and keeps keys of its own",
  },
  {
    types: ["bloom", "mpt"],
    models: "BLOOM, MPT",
    why: "it adds ALiBi's biases to scores, and the kernels score by q.k alone",
  },
  {
    types: ["inkling_text"],
    models: "Inkling",
    why: "it adds biases by distance to scores, and the kernels score by q.k alone",
  },
  {
    types: ["jetmoe"],
    models: "JetMoE",
    why: "its query heads take KV heads in turn, and kernels take them in groups",
  },
  {
    types: ["diffllama"],
    models: "DiffLlama",
    why: "it subtracts one softmax from another over the same values",
  },
  {
    types: ["doge", "phi3small"],
    models: "Doge; Phi 3 Small",
    why: "it masks tokens by a pattern of its own, by head or by value",
  },
  {
    types: ["mllama_text_model"],
    models: "Llama 3.2 Vision",
    why: "some of its layers attend to an image's keys and values, which no token follows",
  },
  {
    types: ["t5", "mt5", "umt5", "bart", "mbart", "pegasus", "marian", "whisper"],
    models: "T5, BART, Whisper and others that encode first",
    why: "its decoder attends to an encoder, too",
  },
  {
    types: ["bert", "roberta", "modernbert", "distilbert", "electra", "deberta", "deberta-v2"],
    models: "BERT and others that do not generate",
    why: "its queries see later tokens, too, and it keeps no cache",
  },
  {
    types: ["mamba", "mamba2", "falcon_mamba", "rwkv", "xlstm"],
    models: "Mamba, RWKV, xLSTM",
    why: "it keeps a state, not keys and values",
  },
];
