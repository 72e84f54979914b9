/**
 * Templates of kernels.
 *
 * @module
 */
import { inFile, type Mutation } from "./mutation.ts";

const ATTENTION = "{attend,score,mix}_*_d64*";
/** Attention whose keys have anchors and are scored in integers. */
const INTEGERS = "attend_*_anchored_int*";

/** Mutations of `templates/`, each with the kernels that it is noticed by. */
export const KERNELS: readonly Mutation[] = [
  ...inFile("block", "templates/attention/block.hbs", ["cache/cache /tables of q.centroid/"], [
    [
      "table-without-first-token",
      "entry.first * layer.group / ROWS + workgroup.z / blocks_per_entry() + index,",
      "workgroup.z / blocks_per_entry() + index,",
      { generate: "{table,score,attend}_*_d64*" },
    ],
    [
      "table-without-entry",
      "entry.first * layer.group / ROWS + workgroup.z / blocks_per_entry() + index,",
      "entry.first * layer.group / ROWS + index,",
      { generate: "{table,score,attend}_*_d64*" },
    ],
    [
      "last-row-of-whole-block",
      "let last_row = min(first_row + ROWS, rows) - 1u;",
      "let last_row = first_row + ROWS - 1u;",
      { generate: ATTENTION, tests: ["cache/cache /codes alone|three query|a window without/"] },
    ],
    [
      "blocks-round-down",
      "return (step.max_count * layer.group + ROWS - 1u) / ROWS;",
      "return max(1u, step.max_count * layer.group / ROWS);",
      { generate: ATTENTION, tests: ["cache/cache /three query|codes alone/"] },
    ],
    [
      "rows-by-first-head",
      "(layer.first_head + block.head) * layer.group + at % layer.group;",
      "block.head * layer.group + at % layer.group;",
      { generate: ATTENTION, tests: ["cache/cache /several buffers/"] },
    ],
  ]),
  ...inFile("tiles", "templates/attention/tiles.hbs", ["cache/cache /sliding/"], [
    [
      "sliding-window-one-more",
      "return position + 1u - min(layer.sliding_window, position + 1u);",
      "return position - min(layer.sliding_window, position);",
      { generate: ATTENTION },
    ],
    [
      "coded-tiles-unbounded-below",
      "let oldest = max(select(0u, coded_end, tile.ring), oldest_seen(position));",
      "let oldest = select(0u, max(coded_end, oldest_seen(position)), tile.ring);",
      { generate: ATTENTION },
    ],
    [
      "coded-from-any-page",
      "(max(seen, layer.sinks) - layer.sinks) / NEAR * NEAR, coded_tokens);",
      "(max(seen, layer.sinks) - layer.sinks) / PAGE_TOKENS * PAGE_TOKENS, coded_tokens);",
      { generate: ATTENTION, tests: ["cache/cache /sliding|eight pages/"] },
    ],
    [
      "sinks-behind-window",
      "tiles.sinks_end = select(min(layer.sinks, next), 0u, seen >= layer.sinks);",
      "tiles.sinks_end = min(layer.sinks, next);",
      {
        generate: ATTENTION,
        unnoticed: "they are hidden row by row; the tile costs time",
      },
    ],
    [
      "ring-from-last-row",
      "tiles.ring_first = max(layer.sinks + coded_visible(entry, first_position), seen);",
      "tiles.ring_first = max(layer.sinks + coded_visible(entry, last_position), seen);",
      { generate: ATTENTION, tests: ["cache/cache /a window without/"] },
    ],
    [
      "coded-to-first-row",
      "tiles.coded_end = layer.sinks + coded_visible(entry, last_position);",
      "tiles.coded_end = layer.sinks + coded_visible(entry, first_position);",
      { generate: ATTENTION, tests: ["cache/cache /codes alone/"] },
    ],
    [
      "coded-tiles-round-down",
      "tiles.coded = (coded_tokens - tiles.coded_first + TILE - 1u) / TILE;",
      "tiles.coded = (coded_tokens - tiles.coded_first) / TILE;",
      { generate: ATTENTION, tests: ["cache/cache /codes alone/"] },
    ],
    [
      "sinks-of-one-tile",
      "tiles.sinks = (tiles.sinks_end + EXACT_TILE - 1u) / EXACT_TILE;",
      "tiles.sinks = min(1u, tiles.sinks_end);",
      { generate: ATTENTION, tests: ["cache/cache /sinks beyond/"] },
    ],
  ]),
  ...inFile("tiers", "templates/frame/tiers.hbs", ["cache/lifecycle /rollback/"], [
    [
      "ring-counts-sinks",
      "return layer.sinks + (position - layer.sinks) % layer.ring;",
      "return layer.sinks + position % layer.ring;",
      {
        generate: "{store,load,attend,score,mix,encode,decode}_*d{64,80}*",
        tests: ["snapshots/snapshot /smaller steps|sliding window's|bit for bit/"],
      },
    ],
    [
      "lost-tokens-seen",
      "return max(aged - aged % layer.block, lost - min(layer.sinks, lost));",
      "return aged - aged % layer.block;",
      { generate: "{attend,score,mix,encode}_*d64*" },
    ],
    [
      "block-ignored",
      "return max(aged - aged % layer.block, lost - min(layer.sinks, lost));",
      "return max(aged, lost - min(layer.sinks, lost));",
      { generate: "{attend,score,mix,encode}_*d64*", tests: ["cache/blocks"] },
    ],
    [
      "values-in-keys-place",
      "let first = slot * layer.slot_words + side * layer.side_words;",
      "let first = slot * layer.slot_words;",
      {
        generate: "{store,load,attend,score,mix,encode}_*d64*",
        tests: ["cache/cache /a window without/"],
      },
    ],
  ]),
  ...inFile("encode", "templates/schemes/coupled/encode_coupled.wgsl.hbs", [
    "cache/lifecycle /rollback/",
  ], [
    [
      "tie-to-first-lane",
      "let tie = distances[other] == shortest && nearest[other] < winner;",
      "let tie = false;",
      { generate: "encode_c*_d64", tests: ["cache/cache /codes alone/"] },
    ],
    [
      "scale-of-first-head",
      "let head_scale = select(first_scale + model_head * HEAD_DIM, 0u, first_scale == 0u);",
      "let head_scale = first_scale;",
      { generate: "encode_c*_d64", tests: ["cache/cache /channel scales/"] },
    ],
    [
      "codebook-of-part-head",
      "let model_head = layer.first_head + head;",
      "let model_head = head;",
      { generate: "encode_c*_d64", tests: ["cache/cache /several buffers/"] },
    ],
  ]),
  ...inFile("encode", "templates/schemes/codes/write_codes.hbs", ["cache/lifecycle /rollback/"], [
    [
      "kept-codes-not-masked",
      "bits = records[at] & kept_mask(word, kept);",
      "bits = records[at];",
      { generate: "encode_c{8b10,2b4}_d64" },
    ],
    [
      "kept-codes-lost",
      "bits = records[at] & kept_mask(word, kept);",
      "bits = 0u;",
      { generate: "encode_c{8b10,2b4}_d64" },
    ],
    [
      "codes-behind-end-kept",
      "let written = min(encode_end - record_first, RECORD_TOKENS) * CODES;",
      "let written = RECORD_TOKENS * CODES;",
      { generate: "encode_c{8b10,2b4}_d64" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/vecinfer/encode_shared.wgsl.hbs", [
    "kernels/kernels_d64 /v4b8/",
  ], [
    [
      "mean-kept",
      "group * QUADS + {{index}}u] - means(group * QUADS + {{index}}u);",
      "group * QUADS + {{index}}u];",
      { generate: "encode_v4b8_d64" },
    ],
    [
      "plain-heads-rotated",
      "vectors[at] = select(a, a + b, rotated);",
      "vectors[at] = a + b;",
      { generate: "encode_v4b8_d64" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/blocks/level_code.hbs", ["cache/blocks /any binary16/"], [
    [
      "level-not-corrected-down",
      "  if (code > 0.0 && 2.0 * difference < (2.0 * (code - zero) - 1.0) * scale) {\n    return u32(code) - 1u;\n  }\n",
      "",
      { generate: "encode_{kc,kt,q}*_d64" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/blocks/float16_quotient.hbs", [
    "cache/blocks /any binary16/",
  ], [
    [
      "scale-of-negative-zero",
      "var bits = pack2x16float(vec2<f32>(extent / divisor, 0.0)) & 0x7fffu; // extent may be the negative zero",
      "var bits = pack2x16float(vec2<f32>(extent / divisor, 0.0)) & 0xffffu;",
      { generate: "encode_{kc,kt,q}*_d64" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/blocks/exact_units.hbs", ["cache/blocks /any binary16/"], [
    ["sums-not-carried", "vec2<i32>(sum.x + (sum.y >> 20u), sum.y & 0xfffff)", "sum", {
      generate: "encode_kc1p*_d64",
    }],
  ]),
  ...inFile("encode", "templates/schemes/blocks/exact_sums.hbs", ["cache/blocks /any binary16/"], [
    ["means-halve-to-odd", "(is_tie && (bits & 1u) == 1u)", "(is_tie && (bits & 1u) == 0u)", {
      generate: "encode_kc1p*_d64",
    }],
  ]),
  ...inFile("encode", "templates/schemes/promoted/encode_promoted.wgsl.hbs", [
    "cache/blocks /any binary16/",
  ], [
    [
      "ranges-not-limited",
      "let limits = channel_limits(channel);\n    ranges[channel] = limits.high - limits.low;",
      "ranges[channel] = extremes[channel].w - extremes[channel].x;",
      { generate: "encode_kc2p*_d64" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/additive/encode_additive.wgsl.hbs", ["cache/additive"], [
    [
      "ties-of-sums-to-any",
      "moved > other_{{index}} || (moved == other_{{index}} && moved_key < other_key_{{index}})",
      "moved > other_{{index}}",
      { generate: "encode_n8b8x2_d64", tests: ["cache/additive /equally near/"] },
    ],
    [
      "best-kept-at-every-stage",
      "select(score_{{last}}, score_0, is_last)",
      "score_0 + 0.0 * score_{{last}}",
      { generate: "encode_n16b8x2_d64", tests: ["cache/additive /n16b8x2/"] },
    ],
    [
      "sizes-of-what-was-to-be-coded",
      "size_level(energy, square)",
      "size_level(energy, f32(HEAD_DIM))",
      {
        generate: "encode_n4b8_d64",
        tests: ["cache/additive /n4b8/"],
      },
    ],
    [
      "mean-of-all-tokens-above",
      "f32(above) - 0.5",
      "f32(above)",
      {
        generate: "encode_n4b8_d64",
        tests: ["cache/additive /n4b8/"],
      },
    ],
    [
      "means-of-tokens-kept",
      "mean_levels(sums[pair] - coded_sums(pair), mean_grid(pair))",
      "mean_levels(sums[pair], mean_grid(pair))",
      { generate: "encode_n4b8_d64", tests: ["cache/additive /n4b8/"] },
    ],
    [
      "coded-sums-of-first-group",
      "let group = 2u * pair / CHANNELS;",
      "let group = 0u;",
      { generate: "encode_n4b8_d64", tests: ["cache/additive /n4b8/"] },
    ],
    [
      "coded-sums-without-sizes",
      "level_sums += size * vec2<f32>",
      "level_sums += vec2<f32>",
      { generate: "encode_n4b8_d64", tests: ["cache/additive /n4b8/"] },
    ],
    [
      "added-scale-of-first-head",
      "first_scale + (layer.first_head + head) * HEAD_DIM",
      "first_scale",
      {
        generate: "encode_n4b8_d64",
        tests: ["cache/additive /n4b8/"],
      },
    ],
    [
      "shared-centroids-apart",
      "side_codebook + codebook_word(",
      "codebook - side_codebook + codebook_word(",
      {
        generate: "encode_n16b8x2_d64",
        tests: ["cache/additive /share centroids/"],
      },
    ],
  ]),
  ...inFile("encode", "templates/schemes/additive/group_numbers.hbs", ["cache/additive /n4b8/"], [
    [
      "means-not-subtracted",
      "(token_part(token, part) - mean_of(part))",
      "token_part(token, part) + 0.0 * mean_of(part)",
      {
        generate: "encode_n4b8_d64",
      },
    ],
  ]),
  ...inFile("encode", "templates/schemes/ternary/encode_ternary.wgsl.hbs", [
    "cache/blocks /any binary16/",
  ], [
    [
      "ties-of-scales-to-any",
      "let equal = carry == 0 && rest == 0;",
      "let equal = false;",
      { generate: "encode_zc3_d64" },
    ],
    ["lowest-digits-not-compared", "rest |= carry & 2047;", "", { generate: "encode_zc3_d64" }],
  ]),
  ...inFile("encode", "templates/schemes/uniform/encode_levels.wgsl.hbs", [
    "cache/blocks /any binary16/",
  ], [
    [
      "levels-of-first-token",
      "let own = unpack2x16float(levels[group_of(token - record_first, first + i)]);",
      "let own = unpack2x16float(levels[group_of(0u, first + i)]);",
      { generate: "encode_{kt,q}*_d{64,96}", tests: ["cache/blocks /q4 keys|f16 keys/"] },
    ],
  ]),
  ...inFile("encode", "templates/schemes/blocks/member_of.hbs", ["cache/blocks /any binary16/"], [
    [
      "members-not-clamped",
      "let token = clamp(record_first + member_token(group, i), entry.encode_from, encode_end - 1u);",
      "let token = record_first + member_token(group, i);",
      {
        generate: "encode_{kc,kt,q}*_d{64,96}",
        unnoticed: "groups of tokens come whole, and those of other tokens are not written",
      },
    ],
  ]),
  ...inFile("encode", "templates/schemes/hadamard/encode_rotated.wgsl.hbs", [
    "cache/hadamard /the cache agrees/",
  ], [
    [
      "codes-written-over",
      "      if (token >= entry.encode_from) {\n        let at = record + METADATA_WORDS",
      "      if (true) {\n        let at = record + METADATA_WORDS",
      { generate: "encode_{u,t}*_d{64,128}*", tests: ["cache/hadamard", "cache/random"] },
    ],
    [
      "position-without-sinks",
      "let position = layer.sinks + token;",
      "let position = token;",
      { generate: "encode_{u,t}*_d64*" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/hadamard/write_means.hbs", [
    "cache/hadamard /the cache agrees/",
  ], [
    [
      "means-of-a-step-twice-as-large",
      "select(14u, 6u, short)",
      "select(13u, 5u, short)",
      { generate: "encode_u*_d{64,128}*" },
    ],
  ]),
  ...inFile("encode", "templates/schemes/hadamard/key_noise.hbs", [
    "schemes/key_bias /readCounters/",
  ], [
    [
      "keys-never-drown",
      "const DROWNED: f32 = 16.0;",
      "const DROWNED: f32 = 1e9;",
      { generate: "encode_u*_d{64,128}" },
    ],
    [
      "constants-count-as-noise",
      "let rest = max(found.sums - factor * found.products, vec4<f32>());",
      "let rest = found.sums;",
      { generate: "encode_u*_d{64,128}" },
    ],
  ]),
  ...inFile("store", "templates/exact_tier/store.wgsl.hbs", ["cache/cache /codes alone/"], [
    [
      "of-first-entry",
      "let token = entry.first + item.y;",
      "let token = item.y;",
      { generate: "store_d64" },
    ],
    [
      "values-in-keys-strides",
      "at = token * layer.value_token_stride + host_head * layer.value_head_stride + pair * 2u;",
      "at = token * layer.key_token_stride + host_head * layer.key_head_stride + pair * 2u;",
      { generate: "store_d64", tests: ["cache/read"] },
    ],
    [
      "head-of-part",
      "let host_head = layer.first_head + head;",
      "let host_head = head;",
      { generate: "store_d64", tests: ["cache/cache /several buffers/"] },
    ],
  ]),
  ...inFile("load", "templates/exact_tier/load.wgsl.hbs", ["cache/read"], [
    [
      "head-of-part",
      "write_vector(entry.first + item.y, layer.first_head + head, chunk, vector);",
      "write_vector(entry.first + item.y, head, chunk, vector);",
      { generate: "load_d64" },
    ],
    [
      "of-first-entry",
      "write_vector(entry.first + item.y, layer.first_head + head, chunk, vector);",
      "write_vector(item.y, layer.first_head + head, chunk, vector);",
      { generate: "load_d64" },
    ],
  ]),
  ...inFile("decode", "templates/schemes/decoded_as_coded.hbs", [
    "cache/read",
    "cache/cache /several buffers/",
  ], [
    [
      "head-of-part",
      "write_vector(entry.first + item.y, model_head, chunk, vector);",
      "write_vector(entry.first + item.y, head, chunk, vector);",
      { generate: "decode_{c,f,k,q}*_d64*" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/anchored_chunk.hbs", ["cache/anchored"], [
    [
      "always-ahead",
      "return value * cosine + select(-way, way, ahead) * other * sine;",
      "return value * cosine + way * other * sine;",
      { generate: "{encode,decode}_*_anchored" },
    ],
    [
      "first-band-too",
      "pair < 2u * explicit_bands()",
      "pair + 2u < 2u * explicit_bands()",
      { generate: "{encode,decode}_*_anchored" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/anchor_tokens.hbs", ["cache/anchored"], [
    [
      "in-three-bits",
      "(band % 8u * 4u)) & 15u;",
      "(band % 8u * 4u)) & 7u;",
      { generate: "{encode,decode,score,attend}_*_anchored" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/anchored_angles.hbs", ["cache/anchored"], [
    [
      "middle-ahead",
      "Pairs(angle.even, select(-1.0, 1.0, ahead) * angle.odd);",
      "Pairs(angle.even, angle.odd);",
      { generate: "{score,attend}_*_anchored" },
    ],
    [
      "counted-with-sinks",
      "let tile_first = tile.first - layer.sinks;",
      "let tile_first = tile.first;",
      { generate: "{score,attend}_*_anchored" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/anchor_digits.hbs", ["cache/anchored"], [
    [
      "steps-of-no-range",
      "return grid.step + 0x1p-60f;",
      "return grid.step;",
      { generate: INTEGERS },
    ],
    [
      "exact-rows-in-units",
      "tile.coded && pair >= 2u * explicit_bands()",
      "pair >= 2u * explicit_bands()",
      { generate: INTEGERS },
    ],
    [
      "all-pairs-in-units",
      "tile.coded && pair >= 2u * explicit_bands()",
      "tile.coded",
      { generate: INTEGERS },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/digit_bands.hbs", ["cache/anchored"], [
    ["middles-in-units", "base *= query_unit;", "", { generate: INTEGERS }],
  ]),
  ...inFile("anchored", "templates/attention/anchored/lane_digits.hbs", ["cache/anchored"], [
    [
      "lanes-at-first-anchor",
      "anchor_middle(tile, anchor, pair / 2u)",
      "anchor_middle(tile, 0u, pair / 2u)",
      { generate: INTEGERS },
    ],
  ]),
  ...inFile("anchored", "templates/schemes/additive/score_added_anchored_integers.hbs", [
    "cache/anchored /n16b8x2 keys/",
  ], [
    [
      "means-in-units",
      "mean_score *= query_unit;",
      "",
      { generate: "attend_n16b8x2_*_anchored_int*" },
    ],
  ]),
  ...inFile("anchored", "templates/schemes/additive/sums_turned.hbs", [
    "cache/anchored /n16b8x2 keys/",
  ], [
    [
      "means-of-other-channels",
      "select(turned.xy, turned.zw, pair % 2u == 1u)",
      "turned.xy",
      { generate: "encode_n16b8x2_*_anchored" },
    ],
  ]),
  ...inFile("anchored", "templates/schemes/additive/turned_means.hbs", [
    "cache/anchored /n16b8x2 keys/",
  ], [
    [
      "means-at-first-anchor",
      "anchor_angle(tile, anchors_before(tile, pair / 2u, token), pair)",
      "anchor_angle(tile, 0u, pair)",
      { generate: "attend_n16b8x2_*_anchored_int*" },
    ],
  ]),
  ...inFile("decode", "templates/schemes/decode.wgsl.hbs", [
    "cache/read",
    "cache/cache /several buffers/",
  ], [
    [
      "codebook-of-keys",
      "let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODED_CODEBOOK_WORDS;",
      "let codebook = model_head * CODED_CODEBOOK_WORDS;",
      { generate: "decode_c*_d64*" },
    ],
  ]),
  ...inFile("table", "templates/attention/tables/table.wgsl.hbs", [
    "cache/cache /tables of q.centroid/",
  ], [
    [
      "query-of-first-entry",
      "(entry.first + row_at / layer.group) * layer.query_token_stride +",
      "(row_at / layer.group) * layer.query_token_stride +",
      { generate: "table_*_d64*" },
    ],
    [
      "without-scale",
      "let q = layer.scale * query;",
      "let q = query;",
      { generate: "table_*_d64*" },
    ],
    [
      "rows-beyond-last",
      "let row_at = min(block.first_row + row, block.rows - 1u);",
      "let row_at = block.first_row + row;",
      {
        generate: "table_*_d64*",
        unnoticed: "rows that there are not are left out when results are written",
      },
    ],
  ]),
  ...inFile("table", "templates/attention/tables/table_place.hbs", [
    "cache/cache /tables of q.centroid/",
  ], [
    [
      "head-of-part",
      "return block.table * (layer.query_heads / layer.group) + layer.first_head + block.head;",
      "return block.table * (layer.query_heads / layer.group) + block.head;",
      { generate: "{table,score,attend}_*_d64*" },
    ],
    [
      "heads-of-part",
      "return block.table * (layer.query_heads / layer.group) + layer.first_head + block.head;",
      "return block.table * layer.kv_heads + layer.first_head + block.head;",
      { generate: "{table,score,attend}_*_d64*" },
    ],
  ]),
  ...inFile("combine", "templates/attention/combine.wgsl.hbs", [
    "cache/cache /learned sinks|codes alone/",
  ], [
    [
      "sink-by-token",
      "let sink = sink_logits[workgroup.x];",
      "let sink = sink_logits[workgroup.y % layer.query_heads];",
      { generate: "combine_d64" },
    ],
    [
      "sink-not-in-top",
      "  var top = sink;",
      "  var top = -3.0e38;",
      { generate: "combine_d64" },
    ],
    [
      "sums-not-rescaled",
      "sum += weight * partials[at + CHUNKS].y;",
      "sum += partials[at + CHUNKS].y;",
      {
        generate: "combine_d64",
        tests: ["plan/steps /for decoding/", "cache/cache /codes alone/"],
      },
    ],
    [
      "output-as-queries-lie",
      "let at = token * layer.output_token_stride + workgroup.x * layer.output_head_stride +",
      "let at = token * layer.query_token_stride + workgroup.x * layer.query_head_stride +",
      { generate: "combine_d64", tests: ["cache/cache"] },
    ],
  ]),
  ...inFile("mix", "templates/schemes/additive/unit_sized.hbs", ["cache/additive /tiles/"], [
    ["lowest-levels-kept", "sized_sum *= rescale;", "", { generate: "attend_n8b8_n8b8_d64_*" }],
  ]),
  ...inFile("mix", "templates/schemes/additive/finish_added.hbs", [
    "kernels/kernels_d64 /n8b8_d64_rope/",
  ], [
    ["no-lowest-levels", "grids[0] * sized +", "", { generate: "attend_n8b8_n8b8_d64_rope" }],
    [
      "means-from-the-middle",
      "grids[3] - 7.5 * grids[2]",
      "grids[3]",
      { generate: "attend_n8b8_n8b8_d64_rope" },
    ],
  ]),
  ...inFile("mix", "templates/schemes/additive/mix_tile_added.hbs", ["cache/skip /n8b8/"], [
    [
      "lowest-levels-of-skipped",
      "tile.coded && !skipped",
      "tile.coded",
      { generate: "attend_n8b8_n8b8_d64_plain" },
    ],
  ]),
  ...inFile("mix", "templates/schemes/additive/mix_page_means.hbs", [
    "kernels/kernels_d64 /n16b8x2_d64_anchored_int16/",
  ], [
    [
      "shares-of-no-tile",
      '{{> (lookup . "tileSharesPartial")}}',
      "",
      { generate: "attend_n16b8x2_n16b8x2_d64_anchored_int16" },
    ],
  ]),
  ...inFile("score", "templates/schemes/additive/base_means.hbs", [
    "kernels/kernels_d64 /attend_n16b8x2_n16b8x2_d64_table/",
  ], [
    [
      "means-from-the-middle",
      "grids[3] - 7.5 * grids[2]",
      "grids[3]",
      { generate: "attend_n16b8x2_n16b8x2_d64_table" },
    ],
    [
      "means-of-levels",
      "key_grids(codebook, lane)[2]",
      "key_grids(codebook, lane)[1]",
      { generate: "attend_n16b8x2_n16b8x2_d64_table" },
    ],
  ]),
  ...inFile("score", "templates/schemes/additive/places_paged.hbs", [
    "kernels/kernels_d64 /n8b8_d64_rope/",
  ], [
    [
      "size-of-first-lane",
      "first_place % 8u * 4u);",
      "0u);",
      { generate: "attend_n8b8_n8b8_d64_rope" },
    ],
  ]),
  ...inFile("score", "templates/schemes/additive/places_consecutive.hbs", [
    "kernels/kernels_d64 /n16b8x2_d64_anchored/",
  ], [
    [
      "size-of-first-token",
      "(first_place % 8u + i) * 4u);",
      "first_place % 8u * 4u);",
      { generate: "attend_n16b8x2_n16b8x2_d64_anchored" },
    ],
  ]),
  ...inFile("mix", "templates/attention/mix_tile.hbs", ["cache/cache /sinks beyond|codes alone/"], [
    [
      "page-counts-sinks",
      "let first_page = (tile.first - min(layer.sinks, tile.first)) / PAGE_TOKENS;",
      "let first_page = tile.first / PAGE_TOKENS;",
      { generate: ATTENTION },
    ],
    [
      "hidden-tokens-weigh",
      "let seen = max(next, vec4<f32>(0.5 * HIDDEN));",
      "let seen = next;",
      { generate: ATTENTION },
    ],
    [
      "codebook-of-part-head",
      "let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;",
      "let codebook = layer.value_codebook + block.head * VALUE_CODEBOOK_WORDS;",
      { generate: ATTENTION, tests: ["cache/cache /several buffers/"] },
    ],
    [
      "partials-of-first-split",
      "return (global_row(entry, block, row) * step.partial_stride + entry.first_partial + split) * (CHUNKS + 1u);",
      "return (global_row(entry, block, row) * step.partial_stride + entry.first_partial) * (CHUNKS + 1u);",
      { generate: ATTENTION, tests: ["plan/steps /for decoding/"] },
    ],
  ]),
  ...inFile("spans", "templates/schemes/span/fit_span.wgsl.hbs", ["cache/spans"], [
    [
      "fit-first-slice",
      "for (var other = 1u; other < SLICES; other += 1u) {",
      "for (var other = SLICES; other < SLICES; other += 1u) {",
      { generate: "fit_sc*_d64" },
    ],
    [
      "fit-keys-alone",
      "(entry.slot * 2u + SIDE) * layer.kv_heads",
      "entry.slot * 2u * layer.kv_heads",
      {
        generate: "fit_sc*_d64",
      },
    ],
  ]),
  ...inFile("spans", "templates/schemes/span/score_span.hbs", ["cache/spans"], [
    ["span-without-minimum", "    scores[i] += row_biases;\n", "", {
      generate: "{score,attend}_sc*_d64*",
    }],
  ]),
  ...inFile("spans", "templates/schemes/span/planes.hbs", ["kernels/kernels_d64 /attend_sc/"], [
    [
      "planes-one-after-another",
      "chunk / PLANES * (4u * PLANES) + chunk % PLANES",
      "chunk * 4u",
      { generate: "attend_sc*_d64_plain_int*" },
    ],
    ["plane-steps-of-whole-codes", "grid.step * PLANE_STEP", "grid.step", {
      generate: "attend_sc*_d64_plain_int*",
    }],
  ]),
  ...inFile(
    "spans",
    "templates/schemes/span/channels_of_four_planes.hbs",
    ["kernels/kernels_d64 /attend_sc/"],
    [["planes-not-put-back", "sums = transpose(sums);", "", {
      generate: "attend_sc*_d64_plain_int*",
    }]],
  ),
  ...inFile("spans", "templates/attention/remap.wgsl.hbs", ["cache/spans /narrowed/"], [
    ["remap-of-first-lane", "low = min(low, lows[other]);", "low = min(low, lows[0]);", {
      generate: "remap",
    }],
    [
      "remap-may-turn",
      "max(0.0, 1.0 - layer.remap / (high - low))",
      "1.0 - layer.remap / (high - low)",
      {
        generate: "remap",
      },
    ],
  ]),
  ...inFile("scores", "templates/attention/score.wgsl.hbs", [
    "cache/cache /a window without|sinks beyond/",
  ], [
    [
      "places-by-page",
      "let first = global_row(entry, block, row) * step.score_stride + at * TILE + {{lanePlace}};",
      "let first = global_row(entry, block, row) * step.score_stride + at * PAGE_TOKENS + {{lanePlace}};",
      { generate: "score_*_d64*" },
    ],
    [
      "rows-beyond-last-written",
      "for (var row = 0u; row < min(ROWS, block.rows - block.first_row); row += 1u) {",
      "for (var row = 0u; row < ROWS; row += 1u) {",
      { generate: "score_*_d64*", tests: ["cache/cache /query head|codes alone/"] },
    ],
  ]),
  ...inFile("queries", "templates/attention/query_vector.hbs", [
    "cache/cache /codes alone|several buffers/",
  ], [
    [
      "of-first-entry",
      "let token = entry.first + row / layer.group;",
      "let token = row / layer.group;",
      { generate: ATTENTION },
    ],
    [
      "head-of-part",
      "let query_head = (layer.first_head + head) * layer.group + row % layer.group;",
      "let query_head = head * layer.group + row % layer.group;",
      { generate: ATTENTION },
    ],
  ]),
  ...inFile("mrope", "templates/attention/mrope/positions.hbs", [
    "cache/mrope /f16 keys|c8b8 keys/",
  ], [
    [
      "one-position-for-all",
      "return vec3<u32>(pages[at], pages[at + stride], pages[at + 2u * stride]);",
      "return vec3<u32>(pages[at], pages[at], pages[at]);",
      { generate: "{score,attend}_*_d64_mrope" },
    ],
    [
      "of-first-slot",
      "let at = arrayLength(&pages) - 3u * (slot + 1u) * stride + token;",
      "let at = arrayLength(&pages) - 3u * stride + token;",
      { generate: "{score,attend}_*_d64_mrope" },
    ],
    [
      "four-pairs-alike",
      "if (any(sections != vec4<f32>(sections.x))) {",
      "if (any(sections != sections)) {",
      { generate: "{score,attend}_*_d64_mrope" },
    ],
  ]),
  ...inFile("rope", "templates/attention/rope/angle_by_distance.hbs", [
    "cache/cache /codes alone|tiles of/",
  ], [
    [
      "far-sine-negative",
      "let sine = rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u];",
      "let sine = rope[near + 1u] * rope[far] - rope[near] * rope[far + 1u];",
      { generate: "{score,attend}_*_d64_rope*" },
    ],
  ]),
  ...inFile("rope", "templates/attention/rope/rotate_queries.hbs", [
    "cache/cache /codes alone|tiles of/",
  ], [
    [
      "pairs-of-whole-head",
      "let second = select((pair + ROTARY_CHUNKS) * 4u, pair * 8u + 1u, INTERLEAVED);",
      "let second = select((pair + CHUNKS / 2u) * 4u, pair * 8u + 1u, INTERLEAVED);",
      { generate: "{score,attend}_*_d64_rope*", tests: ["cache/cache /partial/"] },
    ],
  ]),
  ...inFile("pages", "templates/frame/pages.hbs", ["cache/cache /codes alone|sliding and full/"], [
    [
      "of-first-sequence",
      "pages[layer.page_table + slot * layer.sequence_pages + page]",
      "pages[layer.page_table + page]",
      { generate: "*_d64*" },
    ],
    [
      "of-first-table",
      "pages[layer.page_table + slot * layer.sequence_pages + page]",
      "pages[slot * layer.sequence_pages + page]",
      { generate: "*_d64*" },
    ],
  ]),
  ...inFile("share", "templates/attention/workgroup_share.hbs", ["plan/steps /for decoding/"], [
    [
      "rounds-down",
      "let share = (total + step.splits - 1u) / step.splits;",
      "let share = max(1u, total / step.splits);",
      { generate: ATTENTION },
    ],
    [
      "beyond-last-tile",
      "let end = min((workgroup.x + 1u) * share, total);",
      "let end = (workgroup.x + 1u) * share;",
      { generate: ATTENTION },
    ],
  ]),
  ...inFile("copy", "templates/sequences/copy.wgsl.hbs", ["cache/lifecycle /encodeFork/"], [
    ["one-word-short", "word < UNIT; word", "word < UNIT - 1u; word", { generate: "copy" }],
    [
      "the-other-way",
      "records[entry.start * UNIT + word] = records[entry.slot * UNIT + word];",
      "records[entry.slot * UNIT + word] = records[entry.start * UNIT + word];",
      { generate: "copy" },
    ],
    [
      "of-first-entry",
      "let entry = step.entries[item.y];",
      "let entry = step.entries[0];",
      { generate: "copy", tests: ["cache/lifecycle", "cache/random"] },
    ],
  ]),
  ...inFile(
    "kmeans",
    "templates/kmeans/kmeans_assign.wgsl.hbs",
    ["calibrate/kmeans /moves empty/"],
    [
      [
        "ties-to-the-highest",
        "score_{{quad}} > best_{{quad}}",
        "score_{{quad}} >= best_{{quad}}",
        { generate: "kmeans_assign_*" },
      ],
      [
        "later-turns-begin-anew",
        "select(scores[own + {{quad}}u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u)",
        "vec4<f32>(-3.0e38)",
        { generate: "kmeans_assign_*", tests: ["calibrate/kmeans /agrees with kmeans/"] },
      ],
    ],
  ),
  ...inFile(
    "kmeans",
    "templates/kmeans/kmeans_search.wgsl.hbs",
    ["calibrate/stage_search"],
    [
      [
        "extends-first-sum",
        "keep(best, (sum + extended) * CODES + code + place);",
        "keep(best, sum * CODES + code + place);",
        { generate: "kmeans_search_*" },
      ],
      [
        "rests-count-once",
        "rest_{{channel}} -= vec4<f32>(",
        "rest_{{channel}} = vec4<f32>(x_{{channel}}) - vec4<f32>(",
        { generate: "kmeans_search_*" },
      ],
      [
        "sums-of-equal-base",
        "select(vec4<f32>(SPENT), -0.5 * squares, is_kept)",
        "select(vec4<f32>(SPENT), 0.0 * squares, is_kept)",
        { generate: "kmeans_search_*" },
      ],
    ],
  ),
  ...inFile("mrope", "templates/attention/mrope/positions.hbs", [
    "cache/mrope /f16 keys|c8b8 keys/",
  ], [
    [
      "far-without-near-tokens",
      "let far = ((NEAR + position / NEAR) * ROTARY_CHUNKS + pair) * 2u;",
      "let far = (NEAR * ROTARY_CHUNKS + pair) * 2u;",
      { generate: "{score,attend}_*_d64_mrope" },
    ],
    [
      "sections-of-two",
      "for (var i = 1u; i < 3u; i += 1u) {",
      "for (var i = 1u; i < 2u; i += 1u) {",
      { tests: ["cache/mrope /c4b8 keys/"], generate: "{score,attend}_*_d128_mrope" },
    ],
  ]),
  ...inFile("skip", "templates/attention/mix_tile.hbs", ["cache/skip"], [
    ["at-half-the-distance", "(top < row_max - SKIP_BELOW)", "(top < row_max - 0.5 * SKIP_BELOW)", {
      generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*",
    }],
    ["where-any-row-is-low", "tile.coded && all(is_low);", "tile.coded && any(is_low);", {
      generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*",
    }],
    [
      "exact-tiles-as-well",
      "skipped = SKIP_BELOW > 0.0 && tile.coded && all(is_low);",
      "skipped = SKIP_BELOW > 0.0 && all(is_low);",
      { generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*" },
    ],
    [
      "counts-swapped",
      "counts += vec2<f32>(f32(skipped), 1.0);",
      "counts += vec2<f32>(1.0, f32(skipped));",
      { generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*" },
    ],
    ["last-peek-alone", "row_max = max(row_max, tile_top(lane));", "row_max = tile_top(lane);", {
      generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*",
    }],
    ["counts-in-every-row", "select(vec2<f32>(), counts, lane == 0u)", "counts", {
      generate: "{attend_{c8b8,f16}_*,mix_{c8b8,f16}}_d64*",
    }],
  ]),
  ...inFile("staged", "templates/attention/staged/staging.hbs", [
    "kernels/kernels_d64 /mix_.*_staged/",
  ], [
    [
      "behind-no-grids",
      "first_staged = (codebook + HEAD_DIM) / {{unitWords}}u",
      "first_staged = codebook / {{unitWords}}u",
      { generate: "mix_*_d64_staged" },
    ],
    ["of-first-part", " + first_chunk / (CHUNKS / PARTS) * STAGED;", ";", {
      generate: "mix_*_d64_staged",
    }],
    [
      "of-part-head",
      "layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;",
      "layer.value_codebook + block.head * VALUE_CODEBOOK_WORDS;",
      { tests: ["cache/cache /workgroup memory and layers/"], generate: "mix_*_d64_staged" },
    ],
  ]),
  ...inFile("mrope", "templates/attention/mrope/mrope_dot.hbs", ["cache/mrope /c4b8 keys/"], [
    [
      "sections-of-first-pairs",
      "let second_sections = sections_of(pair + 1u);",
      "let second_sections = sections_of(pair);",
      { generate: "{score,attend}_*_d128_mrope" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/explicit_bands.hbs", ["cache/anchored"], [
    ["keys-not-turned", "{{index}}u,\n        pair,", "0u,\n        pair,", {
      generate: "{score,attend}_*_anchored",
    }],
  ]),
  ...inFile("anchored", "templates/attention/anchored/turned_wide.hbs", [
    "cache/anchored /c8b8 keys, c8b8 values at d64, half/",
  ], [
    [
      "scale-of-first-chunk",
      "vectors[token * CHANNELS + 4u * quad + 1u] = turned.y * scale[4u * quad + 1u];",
      "vectors[token * CHANNELS + 4u * quad + 1u] = turned.y * scale[1u];",
      { generate: "encode_c8b8_*_anchored" },
    ],
  ]),
  ...inFile("anchored", "templates/attention/anchored/turned_narrow.hbs", [
    "cache/anchored /c2b8 keys, c2b8/",
  ], [
    [
      "scale-left-out",
      "turned[(group * CHANNELS + i) % 4u] * scale[i];",
      "turned[(group * CHANNELS + i) % 4u];",
      { generate: "encode_c2b*_anchored" },
    ],
    ["channels-of-first-group", "turned[(group * CHANNELS + i) % 4u]", "turned[i]", {
      generate: "encode_c2b*_anchored",
    }],
  ]),
];
