"""Logits of small random models, in float64, for tests/fixtures/model_logits/.

Each model has the entries of config.json and the tensors of its published family, at small sizes. Its
forward pass follows the published modelling code, written out in numpy, and shares nothing with the
library or its example engine, whose logits are compared with these. Weights follow from the tensors'
names by a hash that tests/helpers/random_model.ts computes too, so that only logits are stored. Run it
to write the folder:

    python tools/python/model_logits.py tests/fixtures/model_logits
"""

import json
import math
import pathlib
import struct
import sys

import numpy as np

TOKENS = 80
VOCABULARY = 32

# ---- weights ----------------------------------------------------------------------------------


def hashes(name, count):
    """`count` words that follow from a name: FNV-1a of it, then a finaliser by Chris Wellons."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = np.arange(count, dtype=np.uint64) * 0x9E3779B9 + seed
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = x % 2**32
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    x = x % 2**32
    return (x ^ (x >> np.uint64(16))).astype(np.uint32)


def numbers(name, shape, step):
    """Whole multiples of `step` from -64 to 63: exact in every type of weights."""
    words = hashes(name, math.prod(shape))
    return ((words >> 25).astype(np.float64) - 64).reshape(shape) * step


class Weights:
    """Makes tensors as they are asked for, and remembers which."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.listed = {}

    def take(self, name, *shape, step):
        self.listed[name] = {"dtype": self.dtype, "shape": list(shape), "step": step}
        return numbers(name, shape, step)

    def take_bytes(self, name, *shape, low, high):
        """Whole numbers from `low` to `high`."""
        self.listed[name] = {"dtype": "U8", "shape": list(shape), "low": low, "high": high}
        words = hashes(name, math.prod(shape)).astype(np.uint64)
        return (low + words % (high - low + 1)).astype(np.int64).reshape(shape)

    def matrix(self, name, outputs, inputs):
        return self.take(f"{name}.weight", outputs, inputs, step=2**-8)

    def linear(self, name, outputs, inputs, bias=False):
        weight = self.matrix(name, outputs, inputs)
        offset = self.take(f"{name}.bias", outputs, step=2**-7) if bias else 0
        return lambda x: x @ weight.T + offset


# ---- pieces of networks -----------------------------------------------------------------------


def rms_norm(x, gain, epsilon):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * gain


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def softmax(x):
    shares = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def frequencies(dim, theta, scaling):
    """Radians per position of each pair, and what keys and queries are multiplied by."""
    plain = theta ** (-np.arange(0, dim, 2) / dim)
    kind = (scaling or {}).get("rope_type", "default")
    if kind == "default":
        return plain, 1.0
    factor = scaling["factor"]
    if kind == "linear":
        return plain / factor, 1.0
    original = scaling["original_max_position_embeddings"]
    if kind == "llama3":
        low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
        found = []
        for frequency in plain:
            wavelength = 2 * math.pi / frequency
            if wavelength < original / high:
                found.append(frequency)
            elif wavelength > original / low:
                found.append(frequency / factor)
            else:
                smooth = (original / wavelength - low) / (high - low)
                found.append((1 - smooth) * frequency / factor + smooth * frequency)
        return np.array(found), 1.0
    assert kind == "yarn"

    def pair_of(turns):
        return dim * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = pair_of(scaling.get("beta_fast", 32)), pair_of(scaling.get("beta_slow", 1))
    if scaling.get("truncate", True):
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    ramp = np.clip((np.arange(dim // 2) - low) / max(high - low, 0.001), 0, 1)
    return plain / factor * ramp + plain * (1 - ramp), 0.1 * math.log(factor) + 1


def rotate(x, rope):
    """Channel i turns with channel i + dim / 2; x is [heads][tokens][dim]."""
    pairs, factor = rope
    angles = np.arange(x.shape[1])[:, None] * pairs
    cos, sin = np.cos(angles) * factor, np.sin(angles) * factor
    a, b = np.split(x, 2, axis=-1)
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def attend(q, k, v, scale, window=None, cap=None, sinks=None):
    """q is [heads][tokens][dim]; several query heads read one of k and v."""
    shared = q.shape[0] // k.shape[0]
    k, v = np.repeat(k, shared, axis=0), np.repeat(v, shared, axis=0)
    scores = q @ k.transpose(0, 2, 1) * scale
    if cap is not None:
        scores = cap * np.tanh(scores / cap)
    i, j = np.indices(scores.shape[1:])
    seen = (j <= i) & (True if window is None else i - j < window)
    scores = np.where(seen, scores, -np.inf)
    if sinks is not None:
        column = np.broadcast_to(sinks[:, None, None], (*scores.shape[:2], 1))
        return softmax(np.concatenate([scores, column], axis=-1))[..., :-1] @ v
    return softmax(scores) @ v


def heads(x, count):
    tokens, width = x.shape
    return x.reshape(tokens, count, width // count).transpose(1, 0, 2)


def joined(x):
    return x.transpose(1, 0, 2).reshape(x.shape[1], -1)


# ---- feed-forward blocks ----------------------------------------------------------------------


def gated(weights, name, hidden, inner, activation, bias=False):
    gate = weights.linear(f"{name}.gate_proj", inner, hidden, bias)
    up = weights.linear(f"{name}.up_proj", inner, hidden, bias)
    down = weights.linear(f"{name}.down_proj", hidden, inner, bias)
    return lambda x: down(activation(gate(x)) * up(x))


def qwen_experts(weights, name, config):
    """Qwen3MoeSparseMoeBlock."""
    hidden, inner = config["hidden_size"], config["moe_intermediate_size"]
    router = weights.linear(f"{name}.gate", config["num_experts"], hidden)
    experts = [
        gated(weights, f"{name}.experts.{e}", hidden, inner, silu)
        for e in range(config["num_experts"])
    ]

    def run(x):
        shares = softmax(router(x))
        y = np.zeros_like(x)
        for token, row in enumerate(shares):
            chosen = np.argsort(-row, kind="stable")[: config["num_experts_per_tok"]]
            total = row[chosen].sum() if config["norm_topk_prob"] else 1
            for e in chosen:
                y[token] += row[e] / total * experts[e](x[token])
        return y

    return run


FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def packed(weights, name, experts, outputs, inputs, mxfp4):
    """`[experts][inputs][outputs]`, as convert_moe_packed_tensors leaves it."""
    if not mxfp4:
        return weights.take(name, experts, inputs, outputs, step=2**-8)
    groups = inputs // 32
    blocks = weights.take_bytes(f"{name}_blocks", experts, outputs, groups, 16, low=0, high=255)
    scales = weights.take_bytes(f"{name}_scales", experts, outputs, groups, low=121, high=123)
    values = np.empty((experts, outputs, groups, 32))
    values[..., 0::2] = FP4[blocks & 0x0F]
    values[..., 1::2] = FP4[blocks >> 4]
    values *= 2.0 ** (scales[..., None] - 127)
    return values.reshape(experts, outputs, inputs).transpose(0, 2, 1)


def gpt_oss_experts(weights, name, config, mxfp4):
    """GptOssTopKRouter and GptOssExperts."""
    count, hidden, inner = (
        config[key] for key in ("num_local_experts", "hidden_size", "intermediate_size")
    )
    router = weights.linear(f"{name}.router", count, hidden, bias=True)
    gate_up = packed(weights, f"{name}.experts.gate_up_proj", count, 2 * inner, hidden, mxfp4)
    gate_up_bias = weights.take(
        f"{name}.experts.gate_up_proj_bias", count, 2 * inner, step=2**-6
    )
    down = packed(weights, f"{name}.experts.down_proj", count, hidden, inner, mxfp4)
    down_bias = weights.take(f"{name}.experts.down_proj_bias", count, hidden, step=2**-7)
    limit = config["swiglu_limit"]

    def expert(x, e):
        both = x @ gate_up[e] + gate_up_bias[e]
        gate, up = both[..., ::2], both[..., 1::2]
        gate, up = np.minimum(gate, limit), np.clip(up, -limit, limit)
        return ((up + 1) * gate / (1 + np.exp(-1.702 * gate))) @ down[e] + down_bias[e]

    def run(x):
        scores = router(x)
        y = np.zeros_like(x)
        for token, row in enumerate(scores):
            chosen = np.argsort(-row, kind="stable")[: config["num_experts_per_tok"]]
            for e, share in zip(chosen, softmax(row[chosen])):
                y[token] += share * expert(x[token], e)
        return y

    return run


# ---- models -----------------------------------------------------------------------------------


def bfloat16(x):
    """Rounded to the nearest, ties to even."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    bits += 0x7FFF + (bits >> 16 & 1)
    return struct.unpack("<f", struct.pack("<I", bits & 0xFFFF0000))[0]


def run(config, weights, mxfp4=False):
    """Logits of tokens 7 t (t + 3) mod the vocabulary."""
    family = config["model_type"]
    gemma = family.startswith("gemma")
    hidden, dim, epsilon = config["hidden_size"], config["head_dim"], config["rms_norm_eps"]
    queries, keys = config["num_attention_heads"], config["num_key_value_heads"]
    biased = family in ("qwen2", "gpt_oss")

    def norm(name, width=hidden):
        # Gemma's weights are differences from 1.
        gain = weights.take(f"{name}.weight", width, step=2**-7 if gemma else 2**-5)
        return lambda x: rms_norm(x, 1 + gain if gemma else gain, epsilon)

    def sliding(layer):
        if "layer_types" in config:
            return config["layer_types"][layer] == "sliding_attention"
        if family == "qwen2":
            return config["use_sliding_window"] and layer >= config["max_window_layers"]
        return family == "mistral" or family == "gemma2" and layer % 2 == 0

    def rope(layer):
        if family == "gemma3_text" and sliding(layer):
            return frequencies(dim, config["rope_local_base_freq"], None)
        return frequencies(dim, config["rope_theta"], config.get("rope_scaling"))

    # Gemma's are multiplied below.
    step = 2**-8 if gemma else 2**-6
    embedding = weights.take("model.embed_tokens.weight", VOCABULARY, hidden, step=step)
    tokens = [7 * t * (t + 3) % VOCABULARY for t in range(TOKENS)]
    x = embedding[tokens]
    if gemma:
        scale = math.sqrt(hidden)
        x = x * (bfloat16(scale) if weights.dtype == "BF16" else float(np.float32(scale)))

    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}"
        attention = f"{name}.self_attn"
        before = norm(f"{name}.input_layernorm")(x)
        q, k, v = (
            heads(weights.linear(f"{attention}.{side}_proj", count * dim, hidden, biased)(before), count)
            for side, count in (("q", queries), ("k", keys), ("v", keys))
        )
        if family in ("qwen3", "qwen3_moe", "gemma3_text"):
            q = norm(f"{attention}.q_norm", dim)(q)
            k = norm(f"{attention}.k_norm", dim)(k)
        sinks = None
        if family == "gpt_oss":
            sinks = weights.take(f"{attention}.sinks", queries, step=2**-4)
        mixed = attend(
            rotate(q, rope(layer)),
            rotate(k, rope(layer)),
            v,
            config.get("query_pre_attn_scalar", dim) ** -0.5,
            window=config["sliding_window"] if sliding(layer) else None,
            cap=config.get("attn_logit_softcapping"),
            sinks=sinks,
        )
        output = weights.linear(
            f"{attention}.o_proj", hidden, queries * dim, family == "gpt_oss"
        )(joined(mixed))
        after = norm(f"{name}.post_attention_layernorm")
        if gemma:
            x = x + after(output)
            inner = norm(f"{name}.pre_feedforward_layernorm")(x)
        else:
            x = x + output
            inner = after(x)
        if family == "gpt_oss":
            feed = gpt_oss_experts(weights, f"{name}.mlp", config, mxfp4)
        elif family == "qwen3_moe":
            feed = qwen_experts(weights, f"{name}.mlp", config)
        else:
            activation = gelu_tanh if gemma else silu
            feed = gated(weights, f"{name}.mlp", hidden, config["intermediate_size"], activation)
        fed = feed(inner)
        x = x + (norm(f"{name}.post_feedforward_layernorm")(fed) if gemma else fed)

    x = norm("model.norm")(x)
    tied = config.get("tie_word_embeddings", gemma)
    head = embedding if tied else weights.take("lm_head.weight", VOCABULARY, hidden, step=2**-7)
    logits = x @ head.T
    cap = config.get("final_logit_softcapping")
    return tokens, logits if cap is None else cap * np.tanh(logits / cap)


# ---- cases ------------------------------------------------------------------------------------

SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 96,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-6,
}
SILU = {"hidden_act": "silu", "tie_word_embeddings": False}
GELU = {"hidden_activation": "gelu_pytorch_tanh"}
GPT_OSS = {
    **SIZES,
    **SILU,
    "model_type": "gpt_oss",
    "num_hidden_layers": 4,
    "rope_theta": 150000,
    "rope_scaling": {
        "rope_type": "yarn",
        "factor": 32,
        "beta_fast": 32,
        "beta_slow": 1,
        "truncate": False,
        "original_max_position_embeddings": 64,
    },
    "attention_bias": True,
    "sliding_window": 24,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    # gpt-oss has 7, which numbers of this size do not reach.
    "swiglu_limit": 1.5,
}

# Name, type of the weights, config.json.
CASES = [
    (
        "llama, yarn",
        "BF16",
        {
            **SIZES,
            **SILU,
            "model_type": "llama",
            "rope_theta": 10000,
            "rope_scaling": {
                "rope_type": "yarn",
                "factor": 4,
                "original_max_position_embeddings": 32,
            },
        },
    ),
    (
        "llama, llama3",
        "F16",
        {
            **SIZES,
            **SILU,
            "model_type": "llama",
            "tie_word_embeddings": True,
            "rope_theta": 500000,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8,
                "low_freq_factor": 1,
                "high_freq_factor": 4,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    (
        "llama, linear",
        "F32",
        {
            **SIZES,
            **SILU,
            "model_type": "llama",
            "rope_theta": 10000,
            "rope_scaling": {"rope_type": "linear", "factor": 4},
        },
    ),
    (
        "mistral",
        "BF16",
        {**SIZES, **SILU, "model_type": "mistral", "rope_theta": 10000, "sliding_window": 24},
    ),
    (
        "qwen2",
        "BF16",
        {
            **SIZES,
            **SILU,
            "model_type": "qwen2",
            "rope_theta": 10000,
            "use_sliding_window": True,
            "sliding_window": 24,
            "max_window_layers": 1,
        },
    ),
    ("qwen3", "BF16", {**SIZES, **SILU, "model_type": "qwen3", "rope_theta": 1000000}),
    *(
        (
            name,
            "BF16",
            {
                **SIZES,
                **SILU,
                "model_type": "qwen3_moe",
                "rope_theta": 1000000,
                "intermediate_size": 192,
                "moe_intermediate_size": 64,
                "num_experts": 4,
                "num_experts_per_tok": 2,
                "norm_topk_prob": normalized,
                "decoder_sparse_step": 1,
                "mlp_only_layers": [],
            },
        )
        for name, normalized in (
            ("qwen3_moe", True),
            ("qwen3_moe, shares of all", False),
        )
    ),
    (
        "gemma2",
        "F32",
        {
            **SIZES,
            **GELU,
            "model_type": "gemma2",
            "rope_theta": 10000,
            "sliding_window": 24,
            "query_pre_attn_scalar": 48,
            "attn_logit_softcapping": 5,
            "final_logit_softcapping": 30,
        },
    ),
    (
        "gemma3_text",
        "BF16",
        {
            **SIZES,
            **GELU,
            "model_type": "gemma3_text",
            "num_hidden_layers": 4,
            "rope_theta": 1000000,
            "rope_local_base_freq": 10000,
            "rope_scaling": {"rope_type": "linear", "factor": 8},
            "sliding_window": 24,
            "query_pre_attn_scalar": 48,
            "layer_types": ["sliding_attention"] * 2 + ["full_attention", "sliding_attention"],
            "attn_logit_softcapping": None,
            "final_logit_softcapping": None,
        },
    ),
    (
        "gpt_oss, mxfp4",
        "BF16",
        {
            **GPT_OSS,
            "quantization_config": {"quant_method": "mxfp4"},
        },
    ),
    ("gpt_oss, bf16", "BF16", GPT_OSS),
]


def folded(listed):
    """Tensors of all layers once, under a star."""
    found = {}
    for name, facts in listed.items():
        parts = name.split(".")
        if parts[1] == "layers":
            parts[2] = "*"
        found[".".join(parts)] = facts
    return found


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, values in tensors.items():
        header[name] = {
            "dtype": "F32",
            "shape": list(values.shape),
            "data_offsets": [at, at + values.nbytes],
        }
        at += values.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(values.tobytes() for values in tensors.values())
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    cases, logits = [], {}
    for name, dtype, config in CASES:
        weights = Weights(dtype)
        tokens, found = run(config, weights, "quantization_config" in config)
        logits[name] = found.astype("<f4")
        cases.append(
            {"name": name, "config": config, "tokens": tokens, "tensors": folded(weights.listed)}
        )
    (folder / "cases.json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
    write_safetensors(folder / "logits.safetensors", logits)
