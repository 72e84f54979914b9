#!/usr/bin/env python3
"""Captures what a language model would cache, for Couplet to learn codebooks from.

A Hugging Face model reads windows of text. Hooks keep every layer's keys and values where Couplet
codes them: keys before the rotary embedding and after their norm, if there is one. A backward pass
for each window gives the squared gradients of the loss with respect to them, the weights that say
which errors matter. All of it goes into one safetensors file, in the format `couplet-samples` of
docs/formats.md:

    python couplet_samples.py ./Qwen3-0.6B --text book.txt --out samples.safetensors
    couplet calibrate samples samples.safetensors --scheme c4b8 --out codebooks.safetensors

It needs torch and safetensors. With transformers installed it loads every causal model of that
library whose attention projects keys and values apart (k_proj and v_proj); without, it runs the
Llama family itself: Llama, SmolLM, Mistral, Qwen2 and Qwen3. Text needs tokenizers; token ids are
read from JSON, NumPy or safetensors files instead.

As a library, for a model of your own:

    from couplet_samples import capture, save

    tensors, _ = capture(model, windows)  # token ids, a list for each window
    save("samples.safetensors", tensors, model={"name": "mine", "digest": "..."})
"""

import argparse
import hashlib
import importlib.util
import json
import math
import re
import sys
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

FORMAT = "couplet-samples"
VERSION = "1"

#: The names that models give to a norm between the projection of keys or values and the cache.
KEY_NORMS = ("k_norm", "k_layernorm")
VALUE_NORMS = ("v_norm",)


class Refused(Exception):
    """Something that cannot be done: what, why, and what to do."""

    def __init__(self, what, why, remedy):
        super().__init__(f"{what}: {why}. {remedy}")


# Capturing


class Tap:
    """A hook on the module whose output one layer caches as its keys or values."""

    def __init__(self, name, module, head_dim, gradients):
        self.name = name
        self.head_dim = head_dim
        self.gradients = gradients
        self.tokens = 0
        self.output = None
        self.probe = None
        self.handle = module.register_forward_hook(self._keep)

    def _keep(self, _module, _inputs, output):
        if self.output is not None:
            raise Refused(
                "Cannot capture the model",
                f"the module of {self.name} runs more than once in a forward pass",
                "Capture a model whose layers keep keys and values of their own",
            )
        self.output = output
        if not self.gradients:
            return None
        # What is added is a leaf of the graph: its gradient is that of the output, whether or not
        # any parameter of the model has one, and nothing before the first layer is differentiated.
        self.probe = torch.zeros_like(output, requires_grad=True)
        return output + self.probe

    def begin(self, tokens):
        """Makes ready for a window of so many tokens."""
        self.tokens = tokens
        self.output = self.probe = None

    def vectors(self):
        """What was kept, [tokens, heads, head_dim]."""
        if self.output is None:
            raise Refused(
                "Cannot capture the model",
                f"the module of {self.name} did not run",
                "Name the part of the model that reads text (within)",
            )
        return self._by_token(self.output.detach())

    def squared_gradients(self):
        """The squared gradients of what was kept, [tokens, heads, head_dim]."""
        if self.probe.grad is None:
            raise Refused(
                "Cannot take gradients",
                f"the loss does not depend on {self.name}",
                "Capture without gradients, or without that layer",
            )
        return self._by_token(self.probe.grad).float().square()

    def _by_token(self, output):
        """Models keep [heads * head_dim], [tokens, heads, head_dim] or heads before tokens."""
        heads, rest = divmod(output.numel(), self.tokens * self.head_dim)
        if output.shape[-1] == heads * self.head_dim:
            return output.reshape(self.tokens, heads, self.head_dim)
        layout = tuple(output.shape[-3:])
        first_tokens = layout == (self.tokens, heads, self.head_dim)
        first_heads = layout == (heads, self.tokens, self.head_dim)
        if rest == 0 and first_tokens and first_heads and heads > 1:
            raise Refused(
                "Cannot capture the model",
                f"a window has as many tokens as {self.name} has heads, {heads}, "
                "and its shape does not tell them apart",
                "Use windows of another length",
            )
        if rest == 0 and first_tokens:
            return output.reshape(self.tokens, heads, self.head_dim)
        if rest == 0 and first_heads:
            return output.reshape(heads, self.tokens, self.head_dim).transpose(0, 1)
        raise Refused(
            "Cannot capture the model",
            f"{self.name} has the shape {list(output.shape)}, for {self.tokens} tokens and heads "
            f"of {self.head_dim} channels",
            "Pass the head dimension (head_dim), or capture one sequence at a time",
        )


def find_attentions(model, within=""):
    """The modules that project keys and values, by the index of their layer.

    The index is the last number in a module's name, as 3 in "model.layers.3.self_attn".
    """
    found = {}
    for name, module in model.named_modules():
        projects = hasattr(module, "k_proj") and hasattr(module, "v_proj")
        if not projects or not name.startswith(within):
            continue
        numbers = re.findall(r"(?:^|\.)(\d+)(?=\.|$)", name)
        layer = int(numbers[-1]) if numbers else 0
        if layer in found:
            raise Refused(
                "Cannot tell the model's layers apart",
                f'"{found[layer][0]}" and "{name}" are both layer {layer}',
                'Name the part that reads text (within), such as "model.language_model"',
            )
        found[layer] = (name, module)
    if not found:
        raise Refused(
            "Cannot find the model's attention",
            f'no module of {type(model).__name__} under "{within}" has k_proj and v_proj',
            "Capture models whose attention projects keys and values apart",
        )
    return {layer: found[layer][1] for layer in sorted(found)}


def head_dim_of(model, attention):
    """Channels of a head, as the attention or a config says."""
    configs = (getattr(attention, "config", None), getattr(model, "config", None))
    for owner in (attention, *configs):
        found = getattr(owner, "head_dim", None)
        if isinstance(found, int):
            return found
    for config in configs:
        hidden = getattr(config, "hidden_size", None)
        heads = getattr(config, "num_attention_heads", None)
        if hidden and heads:
            return hidden // heads
    raise Refused(
        "Cannot tell the model's heads",
        "neither its attention nor its config has a head_dim",
        "Pass the number of channels of a head (head_dim)",
    )


def norm_or(attention, norms, projection):
    """The norm behind a projection, if there is one, else the projection."""
    modules = [getattr(attention, name, None) for name in norms]
    return next((one for one in modules if isinstance(one, nn.Module)), projection)


def capture(
    model,
    windows,
    *,
    gradients=True,
    layers=None,
    dtype=torch.float32,
    head_dim=None,
    within="",
    on_window=None,
):
    """Keys, values and squared gradients of all layers, as the tensors of a samples file.

    model -- any module with k_proj and v_proj, and perhaps k_norm, in its attention modules. It is
        called with token ids [1, tokens], and returns logits [1, tokens, vocabulary], alone, first
        in a tuple, or as `logits`. It reads each window alone, in evaluation mode.
    windows -- sequences of token ids, which need not be of one length
    gradients -- False to run forward alone, and keep no weights
    layers -- indices of the layers to keep; all where None
    dtype -- of the keys and values that are kept; squared gradients are always float32
    head_dim -- channels of a head, where neither the model nor its config says
    within -- prefix of the modules' names, where several parts of the model have attention
    on_window -- called with the number of windows done and the loss so far, in nats per token

    Returns (tensors, loss): tensors by name, `layers.<n>.keys`, `.values`, both with `.weights`,
    and `positions`; and the mean loss in nats per token, None without gradients. Gradients are
    those of the sum of all tokens' losses.
    """
    if not windows or not all(len(window) > 0 for window in windows):
        raise Refused("Cannot capture the model", "a window is empty", "Give windows of token ids")
    attentions = find_attentions(model, within)
    unknown = sorted(set(layers or ()) - set(attentions))
    if unknown:
        raise Refused(
            "Cannot capture the model",
            f"it has no layer {unknown[0]}, only 0 to {max(attentions)}",
            "Choose among its layers",
        )
    lengths = [len(window) for window in windows]
    parameters = list(model.parameters())
    trainable = [one for one in parameters if one.requires_grad]
    training = model.training
    taps = []
    tensors = {"positions": torch.cat([torch.arange(n, dtype=torch.int32) for n in lengths])}
    loss, predicted, done = 0.0, 0, 0
    try:
        for layer, attention in attentions.items():
            if layers is not None and layer not in layers:
                continue
            dim = head_dim or head_dim_of(model, attention)
            keys = norm_or(attention, KEY_NORMS, attention.k_proj)
            values = norm_or(attention, VALUE_NORMS, attention.v_proj)
            taps.append(Tap(f"layers.{layer}.keys", keys, dim, gradients))
            taps.append(Tap(f"layers.{layer}.values", values, dim, gradients))
        for one in trainable:
            one.requires_grad_(False)
        model.eval()
        for number, window in enumerate(windows):
            ids = torch.as_tensor(window, dtype=torch.long, device=parameters[0].device)[None]
            for tap in taps:
                tap.begin(len(window))
            with torch.set_grad_enabled(gradients):
                logits = logits_of(model(ids))
                if gradients:
                    own = functional.cross_entropy(
                        logits[0, :-1].float(), ids[0, 1:], reduction="sum"
                    )
                    own.backward()
                    loss += own.item()
                    predicted += len(window) - 1
            for tap in taps:
                put(tensors, tap.name, tap.vectors(), dtype, done, sum(lengths))
                if gradients:
                    name, squares = f"{tap.name}.weights", tap.squared_gradients()
                    put(tensors, name, squares, torch.float32, done, sum(lengths))
                tap.begin(0)
            done += len(window)
            if on_window is not None:
                on_window(number + 1, loss / max(1, predicted))
    finally:
        for tap in taps:
            tap.handle.remove()
        for one in trainable:
            one.requires_grad_(True)
        model.train(training)
    return tensors, loss / max(1, predicted) if gradients else None


def logits_of(output):
    """The logits in what a model returns."""
    if hasattr(output, "logits"):
        return output.logits
    return output[0] if isinstance(output, (tuple, list)) else output


def put(tensors, name, rows, dtype, first, count):
    """Writes rows into the tensor of that name, which is made when it gets its first."""
    if name not in tensors:
        tensors[name] = torch.empty(count, *rows.shape[1:], dtype=dtype)
    tensors[name][first : first + len(rows)] = rows.to(device="cpu", dtype=dtype)


# Files


def save(path, tensors, *, model=None, rope=None, source=None, key_space="pre-rope"):
    """Writes what `capture` gives as a samples file.

    model -- {"name", "digest"}: what caches compare with the model they serve
    rope -- the rotary embedding of keys before it, as `rope_of` gives it
    source -- what the model read, for display
    """
    metadata = {"format": FORMAT, "version": VERSION, "key_space": key_space}
    if model is not None:
        metadata["model"] = json.dumps({"name": model["name"], "digest": model["digest"]})
    if rope is not None:
        metadata["rope"] = json.dumps(rope)
    if source is not None:
        metadata["source"] = source
    save_file({name: one.contiguous() for name, one in tensors.items()}, str(path), metadata)


def weight_files(folder):
    """The files of a model's weights, in the order of their names."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        raise Refused(
            f"Cannot use the model folder {folder}",
            f"neither {single.name} nor {index.name} is there",
            "Download the safetensors files of the model",
        )
    names = read_json(index).get("weight_map", {}).values()
    # A path would let a downloaded index read files outside the folder.
    if not names or any(re.search(r"[/\\]", name) for name in names):
        raise Refused(
            f"Cannot use {index}", "its weight_map names no files beside it", "Download it again"
        )
    return [folder / name for name in sorted(set(names))]


def model_digest(folder):
    """The digest of a model's files, as docs/formats.md defines it."""
    folder = Path(folder)
    digests = []
    for path in [folder / "config.json", *weight_files(folder)]:
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            while part := file.read(1 << 20):
                digest.update(part)
        digests.append(digest.hexdigest())
    return "sha256:" + hashlib.sha256("\n".join(digests).encode()).hexdigest()


def read_json(path):
    """What a JSON file holds."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refused(f"Cannot read {path}", str(error), "Give the path of a whole JSON file")


def read_windows(path, context, tokens):
    """Token ids from a file: a list of them, which is cut into windows, or the windows themselves.

    A .json file holds the list, or one list for each window; a .npy file an array [tokens] or
    [windows, tokens]; a .safetensors file such a tensor, the only one or "token_ids".
    """
    remedy = "Give token ids, [tokens] or [windows, tokens], in a .json, .npy or .safetensors file"
    try:
        if path.suffix == ".npy":
            import numpy

            ids = numpy.load(path).tolist()
        elif path.suffix == ".safetensors":
            tensors = load_file(str(path))
            ids = tensors.get("token_ids", next(iter(tensors.values()))).tolist()
        else:
            ids = read_json(path)
    except (ImportError, OSError, ValueError, StopIteration, SafetensorError) as error:
        raise Refused(f"Cannot read {path}", str(error) or "it is empty", remedy)
    one = isinstance(ids, list) and all(isinstance(token, int) for token in ids)
    windows = cut(ids, context, tokens) if one else ids
    if not isinstance(windows, list) or not all(
        isinstance(window, list) and window and all(isinstance(token, int) for token in window)
        for window in windows
    ):
        raise Refused(f"Cannot use {path}", "it holds anything but lists of token ids", remedy)
    return windows


def read_text(path, folder, context, tokens):
    """Windows of a text, in tokens of the model's tokenizer.json, without any that it would add."""
    if importlib.util.find_spec("tokenizers") is None:
        raise Refused(
            f"Cannot read the text {path}",
            "the package tokenizers is not installed",
            "Install it (pip install tokenizers), or pass token ids with --ids",
        )
    from tokenizers import Tokenizer

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise Refused(f"Cannot read the text {path}", str(error), "Give a text in UTF-8")
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise Refused(
            f"Cannot read the text {path}", f"{tokenizer} is not there", "Pass token ids with --ids"
        )
    ids = Tokenizer.from_file(str(tokenizer)).encode(text, add_special_tokens=False).ids
    return cut(ids, context, tokens)


def cut(ids, context, tokens):
    """Windows of `context` ids each, without overlap, spread evenly over all, as many as wanted."""
    count = min(math.ceil(tokens / context), len(ids) // context)
    if count < 1:
        raise Refused(
            "Cannot cut the text into windows",
            f"it has {len(ids)} tokens and one window takes {context}",
            "Give a longer text, or a smaller --context",
        )
    stride = len(ids) // count
    return [ids[i * stride : i * stride + context] for i in range(count)]


# The rotary embedding

#: Models of transformers whose rotary embedding pairs channel i with i + rotaryDim / 2, one for all
#: layers, and what their config leaves out.
ROTARY = {
    "llama": {},
    "mistral": {},
    "mixtral": {},
    "qwen2": {},
    "qwen3": {"head_dim": 128},
    "gemma": {"head_dim": 256},
    "gemma2": {"head_dim": 256},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {},
    "stablelm": {"partial_rotary_factor": 0.25},
    "olmo2": {},
}


def rope_of(config):
    """The rotary embedding that a config.json describes, as Couplet's RopeParameters.

    None where it is not known, or none fits all layers. Samples without it serve all schemes but
    those that code keys with their rotary embedding.
    """
    if config.get("model_type") not in ROTARY:
        return None
    config = {**ROTARY[config["model_type"]], **present(config)}
    # transformers 5 writes rope_parameters, earlier versions rope_theta beside rope_scaling.
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = scaling.get("rope_theta", config.get("rope_theta", 10000.0))
    share = scaling.get("partial_rotary_factor", config.get("partial_rotary_factor", 1))
    try:
        head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
        rotary_dim = int(head_dim * share)
        plain = [theta ** (-2 * i / rotary_dim) for i in range(rotary_dim // 2)]
        frequencies = scaled_frequencies(plain, scaling)
    except KeyError as error:
        raise Refused(
            "Cannot read the rotary embedding", f"the config lacks {error}", "Download it again"
        )
    if frequencies is None:
        return None
    rope = {"layout": "half", "theta": theta}
    if rotary_dim != head_dim:
        rope["rotaryDim"] = rotary_dim
    if frequencies is not plain:
        rope["inverseFrequencies"] = frequencies
    return rope


def scaled_frequencies(plain, scaling):
    """Frequencies in radians per position after a config's scaling; None where it is not known."""
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "default":
        return plain
    if kind == "linear":
        return [one / scaling["factor"] for one in plain]
    if kind != "llama3":
        return None
    # Short wavelengths are kept, those longer than the original context are stretched, and those
    # between are interpolated, as in llama_models/llama3/model.py.
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    context = scaling["original_max_position_embeddings"]

    def scaled(frequency):
        periods = context * frequency / (2 * math.pi)
        kept = min(1, max(0, (periods - low) / (high - low)))
        return kept * frequency + (1 - kept) * frequency / scaling["factor"]

    return [scaled(one) for one in plain]


# The Llama family, for machines without transformers. Modules and parameters have the names of
# transformers, so that checkpoints load as they are.


class RMSNorm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        exact = x.float()
        normed = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + self.epsilon)
        return self.weight * normed.to(x.dtype)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.heads, self.key_heads, self.head_dim = c["heads"], c["key_heads"], c["head_dim"]
        hidden, queries = c["hidden_size"], self.heads * self.head_dim
        keys = self.key_heads * self.head_dim
        self.q_proj = nn.Linear(hidden, queries, bias=c["bias"])
        self.k_proj = nn.Linear(hidden, keys, bias=c["bias"])
        self.v_proj = nn.Linear(hidden, keys, bias=c["bias"])
        self.o_proj = nn.Linear(queries, hidden, bias=c["output_bias"])
        if c["query_key_norm"]:
            self.q_norm = RMSNorm(self.head_dim, c["epsilon"])
            self.k_norm = RMSNorm(self.head_dim, c["epsilon"])

    def forward(self, x, turn):
        batch, tokens, _ = x.shape
        q = self.q_proj(x).view(batch, tokens, self.heads, self.head_dim)
        k = self.k_proj(x).view(batch, tokens, self.key_heads, self.head_dim)
        v = self.v_proj(x).view(batch, tokens, self.key_heads, self.head_dim)
        if hasattr(self, "k_norm"):
            q, k = self.q_norm(q), self.k_norm(k)
        q, k = rotate(q, turn), rotate(k, turn)
        shared = self.heads // self.key_heads
        k, v = k.repeat_interleave(shared, 2), v.repeat_interleave(shared, 2)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(self.head_dim)
        future = torch.ones(tokens, tokens, dtype=torch.bool, device=x.device).triu(1)
        weights = scores.float().masked_fill(future, -math.inf).softmax(-1).to(x.dtype)
        mixed = torch.einsum("bhqk,bkhd->bqhd", weights, v)
        return self.o_proj(mixed.reshape(batch, tokens, -1))


def rotate(x, turn):
    """The rotary embedding: channel i turns with channel i + head_dim / 2."""
    cos, sin = turn
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


class FeedForward(nn.Module):
    def __init__(self, c):
        super().__init__()
        hidden, inner = c["hidden_size"], c["intermediate_size"]
        self.gate_proj = nn.Linear(hidden, inner, bias=c["mlp_bias"])
        self.up_proj = nn.Linear(hidden, inner, bias=c["mlp_bias"])
        self.down_proj = nn.Linear(inner, hidden, bias=c["mlp_bias"])

    def forward(self, x):
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c["hidden_size"], c["epsilon"])
        self.self_attn = Attention(c)
        self.post_attention_layernorm = RMSNorm(c["hidden_size"], c["epsilon"])
        self.mlp = FeedForward(c)

    def forward(self, x, turn):
        x = x + self.self_attn(self.input_layernorm(x), turn)
        return x + self.mlp(self.post_attention_layernorm(x))


class Decoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c["vocab_size"], c["hidden_size"])
        self.layers = nn.ModuleList([Layer(c) for _ in range(c["num_hidden_layers"])])
        self.norm = RMSNorm(c["hidden_size"], c["epsilon"])

    def forward(self, ids, turn):
        x = self.embed_tokens(ids)
        for layer in self.layers:
            x = layer(x, turn)
        return self.norm(x)


class LlamaFamily(nn.Module):
    """A causal model of the Llama family: logits [batch, tokens, vocabulary]."""

    TYPES = ("llama", "mistral", "qwen2", "qwen3")

    def __init__(self, config):
        super().__init__()
        c = self._read(config)
        self.frequencies = torch.tensor(c["frequencies"], dtype=torch.float64)
        self.longest = c["longest"]
        self.model = Decoder(c)
        self.lm_head = None
        if not c["tied"]:
            self.lm_head = nn.Linear(c["hidden_size"], c["vocab_size"], bias=False)

    @staticmethod
    def _read(config):
        """What the modules need, after refusing what they would get wrong."""
        kind = config.get("model_type")
        if kind not in LlamaFamily.TYPES:
            raise unusable(f'model_type is "{kind}", not one of {", ".join(LlamaFamily.TYPES)}')
        if config.get("hidden_act", "silu") != "silu":
            raise unusable(f'hidden_act is "{config["hidden_act"]}", and only silu is implemented')
        if config.get("quantization_config") is not None:
            raise unusable("the weights are quantised")
        if config.get("use_sliding_window"):
            raise unusable("some layers have a sliding window")
        rope = rope_of(config)
        if rope is None or "rotaryDim" in rope:
            raise unusable("its rotary embedding is not known here")
        try:
            heads = config["num_attention_heads"]
            defaults = ROTARY[kind]
            head_dim = config.get("head_dim") or defaults.get("head_dim")
            head_dim = head_dim or config["hidden_size"] // heads
            bias = kind == "qwen2" or config.get("attention_bias", False)
            plain = [rope["theta"] ** (-2 * i / head_dim) for i in range(head_dim // 2)]
            windows = [config.get("sliding_window") if kind == "mistral" else None]
            windows.append(config.get("max_position_embeddings"))
            return {
                **{name: config[name] for name in ("vocab_size", "hidden_size")},
                **{name: config[name] for name in ("intermediate_size", "num_hidden_layers")},
                "heads": heads,
                "key_heads": config.get("num_key_value_heads") or heads,
                "head_dim": head_dim,
                "epsilon": config.get("rms_norm_eps", 1e-6),
                "bias": bias,
                "output_bias": bias and kind != "qwen2",
                "mlp_bias": config.get("mlp_bias", False),
                "query_key_norm": kind == "qwen3",
                "tied": config.get("tie_word_embeddings", False),
                "frequencies": rope.get("inverseFrequencies", plain),
                "longest": min((one for one in windows if one), default=None),
            }
        except KeyError as error:
            raise unusable(f"{error} is missing")

    def forward(self, ids):
        tokens = ids.shape[1]
        if self.longest is not None and tokens > self.longest:
            raise Refused(
                "Cannot run the model",
                f"a window has {tokens} tokens, and it sees {self.longest}",
                "Use shorter windows (--context)",
            )
        table = self.model.embed_tokens.weight
        angles = torch.arange(tokens, dtype=torch.float64)[:, None, None] * self.frequencies
        turn = [one.to(table) for one in (angles.cos(), angles.sin())]
        x = self.model(ids, turn)
        return functional.linear(x, table if self.lm_head is None else self.lm_head.weight)


def unusable(why):
    """The error of a config that the Llama family here is not for."""
    return Refused(
        "Cannot run the model without transformers", why, "Install it: pip install transformers"
    )


def present(config):
    """A config's entries without those that are null."""
    return {name: value for name, value in config.items() if value is not None}


def load_family(folder, dtype):
    """A model of the Llama family from its folder."""
    model = LlamaFamily(present(read_json(folder / "config.json")))
    weights = {}
    for path in weight_files(folder):
        try:
            weights.update(load_file(str(path)))
        except (OSError, SafetensorError) as error:
            raise Refused(f"Cannot read {path}", str(error), "Download it again")
    if model.lm_head is None:
        weights.pop("lm_head.weight", None)
    # Written by some versions of transformers, and computed from the config.
    weights = {name: one for name, one in weights.items() if not name.endswith("inv_freq")}
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise Refused(
            f"Cannot load the weights in {folder}", str(error), "Check that they are of this config"
        )
    return model.to(dtype)


def load_transformers(folder, dtype):
    """Any causal model that transformers loads."""
    import transformers

    version = [int(part) for part in transformers.__version__.split(".")[:2]]
    kind = {"dtype" if version >= [4, 56] else "torch_dtype": dtype}
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            str(folder), local_files_only=True, **kind
        )
    except (OSError, ValueError) as error:
        raise Refused(f"Cannot load the model in {folder}", str(error), "Check the folder")
    model.config.use_cache = False
    return model


# The command line


def parse_layers(text):
    """Indices such as 0,3 or 0-7."""
    try:
        ranges = [[int(end) for end in part.split("-")] for part in text.split(",")]
        return sorted({n for ends in ranges for n in range(ends[0], ends[-1] + 1)})
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list such as 0,3 or 0-7")


def positive(text):
    """A positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive integer")
    return int(text)


def parse_arguments(argv):
    """What the command line asks for."""
    parser = argparse.ArgumentParser(
        prog="couplet_samples.py",
        description="Captures a model's keys, values and squared gradients as it reads a text, "
        "for couplet calibrate samples.",
        epilog="The text is cut into windows that are spread evenly over it, and no token is added. "
        "Token ids in several lists, or in rows, are windows already, and taken as they are.",
    )
    add = parser.add_argument
    add("model", type=Path, help="Hugging Face folder with safetensors")
    read = parser.add_mutually_exclusive_group(required=True).add_argument
    read("--text", type=Path, metavar="FILE", help="text in UTF-8; needs the package tokenizers")
    read("--ids", type=Path, metavar="FILE", help="token ids: .json, .npy or .safetensors")
    add("--out", type=Path, metavar="FILE", required=True, help="file for the samples")
    add(
        "--weights",
        choices=["fisher", "none"],
        default="fisher",
        help="squared gradients of the loss, or no weights (default: fisher)",
    )
    counts = {"type": positive, "metavar": "N"}
    add("--tokens", default=12288, help="tokens to capture (default: 12288)", **counts)
    add("--context", default=512, help="tokens of a window (default: 512)", **counts)
    layers = "layers to keep, such as 0,3 or 0-7 (default: all)"
    add("--layers", type=parse_layers, metavar="LIST", help=layers)
    samples = "element type of keys and values in the file (default: f32)"
    add("--samples", choices=["f32", "f16", "bf16"], default="f32", help=samples)
    compute = "element type the model computes in (default: f32)"
    add("--compute", choices=["f32", "bf16"], default="f32", help=compute)
    device = "where torch computes (default: cuda if there is one, else cpu)"
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu", help=device)
    loader = "transformers, or the Llama family of this file (default: transformers if installed)"
    add("--loader", choices=["auto", "transformers", "own"], default="auto", help=loader)
    within = "the part of the model to capture, if several have attention"
    add("--within", default="", metavar="NAME", help=within)
    return parser.parse_args(argv)


TYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


def run(options):
    """Captures what the options ask for."""
    if not options.out.resolve().parent.is_dir():
        raise Refused(f"Cannot write {options.out}", "there is no such folder", "Make it first")
    config = read_json(options.model / "config.json")
    digest = model_digest(options.model)
    if options.text is not None:
        windows = read_text(options.text, options.model, options.context, options.tokens)
    else:
        windows = read_windows(options.ids, options.context, options.tokens)
    check_ids(windows, config)
    rope = rope_of(config)
    if rope is None:
        tell("The rotary embedding is not known here: VecInfer's schemes cannot use these keys.")

    installed = importlib.util.find_spec("transformers") is not None
    own = options.loader == "own" or (options.loader == "auto" and not installed)
    dtype = TYPES[options.compute]
    model = load_family(options.model, dtype) if own else load_transformers(options.model, dtype)
    tell(f"{options.model} on {options.device}, {'on its own' if own else 'by transformers'}")

    def report(done, loss):
        told = f", loss {loss:.4f} nats per token" if options.weights == "fisher" else ""
        tell(f"window {done} of {len(windows)}{told}")

    tensors, _ = capture(
        model.to(options.device),
        windows,
        gradients=options.weights == "fisher",
        layers=options.layers,
        dtype=TYPES[options.samples],
        within=options.within,
        on_window=report,
    )
    name = options.model.resolve().name
    read = options.text or options.ids
    save(
        options.out,
        tensors,
        model={"name": name, "digest": digest},
        rope=rope,
        source=f"{read.name}, {len(windows)} windows",
    )
    sides = [name for name in tensors if name.endswith((".keys", ".values"))]
    tell(
        f"{len(tensors['positions'])} tokens, {len(sides) // 2} layers, "
        f"{options.out.stat().st_size / 1e6:.1f} MB in {options.out}"
    )


def check_ids(windows, config):
    """Checks windows against the model's vocabulary and positions."""
    text = config.get("text_config") or config
    vocabulary, longest = text.get("vocab_size"), text.get("max_position_embeddings")
    worst = max(max(window) for window in windows)
    least = min(min(window) for window in windows)
    if least < 0 or (vocabulary is not None and worst >= vocabulary):
        raise Refused(
            "Cannot run the model",
            f"a token is {least if least < 0 else worst}, and the vocabulary has {vocabulary}",
            "Take token ids of the model's own tokenizer",
        )
    if longest is not None and max(map(len, windows)) > longest:
        raise Refused(
            "Cannot run the model",
            f"a window has {max(map(len, windows))} tokens, and the model positions for {longest}",
            "Use shorter windows (--context)",
        )


def tell(line):
    """Writes a line on the standard error."""
    print(line, file=sys.stderr, flush=True)


def main(argv=None):
    """Runs the command line, and returns the exit code: 1 if it could not be done."""
    try:
        run(parse_arguments(argv))
    except Refused as error:
        tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
