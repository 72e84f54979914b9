"""Rotary frequencies of published scalings, in float64, for tests/fixtures/rope_values.json.

It follows the papers and the models' own code pair by pair, and shares nothing with the library,
whose values are compared with these. Run it to write the file:

    python tools/python/rope_values.py > tests/fixtures/rope_values.json
    deno fmt tests/fixtures/rope_values.json
"""

import json
import math


def wavelength(theta, pair, dim):
    """Tokens in which a pair turns once, without scaling."""
    return 2 * math.pi * theta ** (2 * pair / dim)


def default(theta, dim, **_):
    return [2 * math.pi / wavelength(theta, pair, dim) for pair in range(dim // 2)], 1.0


def linear(theta, dim, factor, **_):
    # Positions are divided, as in kaiokendev's superhot.
    return [one / factor for one in default(theta, dim)[0]], 1.0


def dynamic(theta, dim, factor, length, max_positions, **_):
    # The base of "dynamically scaled RoPE", of bloc97 and emozilla.
    longest = max(length, max_positions)
    base = theta * (factor * longest / max_positions - factor + 1) ** (dim / (dim - 2))
    return default(base, dim)[0], 1.0


def alpha(theta, dim, alpha, **_):
    # Hunyuan's fixed base.
    return default(theta * alpha ** (dim / (dim - 2)), dim)[0], 1.0


def llama3(theta, dim, factor, low, high, original, **_):
    # As in llama_models/llama3/model.py, by wavelengths.
    found = []
    for pair in range(dim // 2):
        length = wavelength(theta, pair, dim)
        frequency = 2 * math.pi / length
        if length < original / high:
            found.append(frequency)
        elif length > original / low:
            found.append(frequency / factor)
        else:
            smooth = (original / length - low) / (high - low)
            found.append((1 - smooth) * frequency / factor + smooth * frequency)
    return found, 1.0


def yarn(theta, dim, factor, original, fast=32, slow=1, truncate=True, attention=None, of=None, **_):
    # arXiv 2309.00071, sections 3.2 and 3.4; the ramp is over pairs, as in the authors' code.
    def pair_of(turns):
        return dim / 2 * math.log(original / (2 * math.pi * turns), theta)

    low, high = pair_of(fast), pair_of(slow)
    if truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, dim - 1)
    found = []
    for pair in range(dim // 2):
        frequency = 2 * math.pi / wavelength(theta, pair, dim)
        gamma = 1 - min(max((pair - low) / (high - low), 0), 1)
        found.append((1 - gamma) * frequency / factor + gamma * frequency)
    if of is not None:
        # DeepSeek's weights of the logarithm, for rotated and for all channels.
        rotated, every = (0.1 * weight * math.log(factor) + 1 for weight in of)
        return found, rotated / every
    return found, 0.1 * math.log(factor) + 1 if attention is None else attention


def longrope(theta, dim, short, long, original, max_positions, length, **_):
    # arXiv 2402.13753, and modeling_phi3.py of microsoft/Phi-3-mini-128k-instruct.
    factors = long if length > original else short
    found = [
        1 / (factors[pair] * theta ** (2 * pair / dim)) for pair in range(dim // 2)
    ]
    stretch = max_positions / original
    return found, math.sqrt(1 + math.log(stretch) / math.log(original))


def proportional(theta, dim, share, **_):
    # Gemma 4: the first share of all pairs of a head turn, at a whole head's frequencies.
    turning = int(share * dim) // 2
    whole = default(theta, dim)[0]
    return whole[:turning] + [0.0] * (dim // 2 - turning), 1.0


LISTS = {
    "short": [1 + pair / 48 for pair in range(48)],
    "long": [1 + pair / 2 for pair in range(48)],
}

# Each with the entries that a file has for it, beside a head of `dim` channels.
CASES = [
    (default, {"theta": 10000, "dim": 128}, {}),
    (linear, {"theta": 1e6, "dim": 256, "factor": 8}, {"rope_type": "linear", "factor": 8}),
    (
        dynamic,
        {"theta": 1e6, "dim": 128, "factor": 2, "length": 4096, "max_positions": 32768},
        {"type": "dynamic", "factor": 2},
    ),
    (
        dynamic,
        {"theta": 1e6, "dim": 128, "factor": 2, "length": 50000, "max_positions": 32768},
        {"type": "dynamic", "factor": 2},
    ),
    (
        alpha,
        {"theta": 10000, "dim": 128, "alpha": 1000},
        {"type": "dynamic", "alpha": 1000, "factor": 1},
    ),
    (
        llama3,
        {"theta": 500000, "dim": 64, "factor": 32, "low": 1, "high": 4, "original": 8192},
        {
            "rope_type": "llama3",
            "factor": 32,
            "low_freq_factor": 1,
            "high_freq_factor": 4,
            "original_max_position_embeddings": 8192,
        },
    ),
    (
        llama3,
        {"theta": 500000, "dim": 128, "factor": 16, "low": 1, "high": 1, "original": 8192},
        {
            "rope_type": "llama3",
            "factor": 16,
            "low_freq_factor": 1,
            "high_freq_factor": 1,
            "original_max_position_embeddings": 8192,
        },
    ),
    (
        yarn,
        {"theta": 1e6, "dim": 128, "factor": 4, "original": 32768},
        {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32768},
    ),
    (
        yarn,
        {"theta": 150000, "dim": 64, "factor": 32, "original": 4096, "truncate": False},
        {
            "rope_type": "yarn",
            "factor": 32,
            "beta_fast": 32,
            "beta_slow": 1,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    ),
    (
        yarn,
        {
            "theta": 10000,
            "dim": 128,
            "factor": 20,
            "original": 4096,
            "fast": 128,
            "slow": 2,
            "attention": 1.25,
        },
        {
            "rope_type": "yarn",
            "factor": 20,
            "beta_fast": 128,
            "beta_slow": 2,
            "attention_factor": 1.25,
            "original_max_position_embeddings": 4096,
        },
    ),
    (
        yarn,
        {"theta": 10000, "dim": 64, "factor": 40, "original": 4096, "of": (1, 0.5)},
        {
            "rope_type": "yarn",
            "factor": 40,
            "mscale": 1,
            "mscale_all_dim": 0.5,
            "original_max_position_embeddings": 4096,
        },
    ),
    (
        # One weight alone says nothing.
        yarn,
        {"theta": 10000, "dim": 64, "factor": 40, "original": 4096},
        {
            "rope_type": "yarn",
            "factor": 40,
            "mscale": 0.7,
            "original_max_position_embeddings": 4096,
        },
    ),
    *(
        (
            longrope,
            {
                "theta": 10000,
                "dim": 96,
                **LISTS,
                "original": 4096,
                "max_positions": 131072,
                "length": length,
            },
            {
                "type": "longrope",
                "short_factor": LISTS["short"],
                "long_factor": LISTS["long"],
                "original_max_position_embeddings": 4096,
            },
        )
        for length in (4096, 4097)
    ),
    (
        proportional,
        {"theta": 1e6, "dim": 512, "share": 0.25},
        {"rope_type": "proportional", "partial_rotary_factor": 0.25},
    ),
]


def row(function, given, parameters):
    frequencies, factor = function(**given)
    return {
        "name": function.__name__,
        "theta": given["theta"],
        "headDim": given["dim"],
        "maxPositions": given.get("max_positions"),
        "length": given.get("length"),
        "parameters": parameters,
        "frequencies": frequencies,
        "attentionFactor": factor,
    }


if __name__ == "__main__":
    print(json.dumps([row(*case) for case in CASES], indent=1))
