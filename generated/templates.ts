// Generated from templates/ by `deno task generate`. Do not edit: change the templates.

/** The texts of templates/ by path, for generation outside of the repository. */
export const templates: ReadonlyMap<string, string> = new Map([
  ["attention/anchored/anchor_digits.hbs", `// Bands that have anchors are scored in integers: queries times the steps of levels, turned for each anchor. Levels count from
// 128. Where anchors are whole pages, all lanes share their queries; else each lane turns its own.
{{> query_bytes}}

var<workgroup> query_unit: vec4<f32>; // what 1 stands for, in which the rows of a coded tile hold pairs that have anchors

var<workgroup> level_middles: array<vec4<f32>, CHUNKS>; // what levels of 128 stand for, in steps
// Until weights are there, their memory holds queries: packed a byte of four channels of each row, for each anchor of a band
// in the tile, and weights the scores of the levels' middles, by four pairs.

// Bands before those whose anchors are whole pages.
fn turned_bands() -> u32 {
  var band = 0u;
  while (band < ROTARY_CHUNKS / 2u && anchor_tokens(band) < PAGE_TOKENS) {
    band += 1u;
  }
  return band;
}

// What pair to pair + 3 of a row of the block are taken times.
fn row_factor(tile: Tile, row: u32, pair: u32) -> f32 {
  return select(1.0, 1.0 / query_unit[row], tile.coded && pair >= 2u * explicit_bands());
}

// Anchors of a band in the tile before a token of it, which is counted from behind the sinks.
fn anchors_before(tile: Tile, band: u32, token: u32) -> u32 {
  let shift = anchor_shift(band);
  return (token >> shift) - ((tile.first - layer.sinks) >> shift);
}

fn anchors_in(tile: Tile, band: u32) -> u32 {
  return anchors_before(tile, band, tile.first - layer.sinks + TILE - 1u) + 1u;
}

// The chunks that four pairs lie in.
fn first_chunk(pair: u32) -> u32 {
  return select(pair, 2u * pair, INTERLEAVED);
}
fn second_chunk(pair: u32) -> u32 {
  return select(pair + ROTARY_CHUNKS, 2u * pair + 1u, INTERLEAVED);
}

// Four pairs of two chunks, even channels and odd ones.
fn paired(first: vec4<f32>, second: vec4<f32>) -> mat2x4<f32> {
  if (INTERLEAVED) {
    return mat2x4<f32>(vec4<f32>(first.xz, second.xz), vec4<f32>(first.yw, second.yw));
  }
  return mat2x4<f32>(first, second);
}

// The two chunks of four pairs.
fn unpaired(even: vec4<f32>, odd: vec4<f32>) -> mat2x4<f32> {
  if (INTERLEAVED) {
    return mat2x4<f32>(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
  }
  return mat2x4<f32>(even, odd);
}

// The token in the middle of an anchor, counted from behind the sinks.
fn anchor_middle(tile: Tile, anchor: u32, band: u32) -> u32 {
  let shift = anchor_shift(band);
  return ((((tile.first - layer.sinks) >> shift) + anchor) << shift) + (anchor_tokens(band) >> 1u);
}

// The cosines and sines of four pairs at a distance behind the tile's first token.
fn angle_behind(distance: u32, pair: u32) -> mat2x4<f32> {
  let near = ((distance % NEAR) * ROTARY_CHUNKS + pair) * 2u;
  let far = ((NEAR + distance / NEAR) * ROTARY_CHUNKS + pair) * 2u;
  return mat2x4<f32>(
    rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u],
    rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u],
  );
}

// The same at the middle of an anchor, which may lie before the tile.
fn anchor_angle(tile: Tile, anchor: u32, pair: u32) -> mat2x4<f32> {
  let tile_first = tile.first - layer.sinks;
  let middle = anchor_middle(tile, anchor, pair / 2u);
  let ahead = middle >= tile_first;
  let angle = angle_behind(select(tile_first - middle, middle - tile_first, ahead), pair);
  return mat2x4<f32>(angle[0], select(-1.0, 1.0, ahead) * angle[1]);
}

// Steps of levels. What is added vanishes, but where channels have no range, and so no step: queries times it are integers of 0.
fn level_steps(grid: Grid) -> vec4<f32> {
  return grid.step + 0x1p-60f;
}

// Four channels of all rows in integers, and the score of the levels' middles.
struct Digits {
  bytes: array<vec4<u32>, QUERY_DIGITS>, // by row
  base: vec4<f32>,
}

// One of the two chunks of four pairs, turned back by an angle.
fn turned_digits(angle: mat2x4<f32>, grid: Grid, pair: u32, half: u32) -> Digits {
  let upper = half == 1u;
  let step = level_steps(grid);
  let middle = level_middles[select(first_chunk(pair), second_chunk(pair), upper)];
  var cosine = angle[0];
  var sine = select(1.0, -1.0, upper) * angle[1];
  if (INTERLEAVED) {
    cosine = select(angle[0].xxyy, angle[0].zzww, upper);
    sine = select(angle[1].xxyy, angle[1].zzww, upper) * vec4<f32>(1.0, -1.0, 1.0, -1.0);
  }
  cosine *= step;
  sine *= step;
  var digits: Digits;
  for (var row = 0u; row < ROWS; row += 1u) {
    var own = query_tile[row * CHUNKS + 2u * pair + half];
    var other = query_tile[row * CHUNKS + 2u * pair + 1u - half];
    if (INTERLEAVED) {
      let chunks = unpaired(query_tile[row * CHUNKS + 2u * pair], query_tile[row * CHUNKS + 2u * pair + 1u]);
      own = select(chunks[0], chunks[1], upper);
      other = own.yxwz;
    }
    let turned = own * cosine + other * sine;
    digits.base[row] = dot(turned, middle);
    let bytes = query_bytes(turned);
{{#each queryDigits}}
    digits.bytes[{{digit}}][row] = bytes[{{digit}}];
{{/each}}
  }
  return digits;
}

// What pairs of channels score that all keys share, turned by an angle: less than turning all rows back.
fn turned_score(angle: mat2x4<f32>, shared_pairs: mat2x4<f32>, pair: u32) -> vec4<f32> {
  let even = shared_pairs[0] * angle[0] - shared_pairs[1] * angle[1];
  let odd = shared_pairs[1] * angle[0] + shared_pairs[0] * angle[1];
  return add_products(add_products(vec4<f32>(), even, query_rows(2u * pair)), odd, query_rows(2u * pair + 1u));
}

fn middles_of(grid: Grid) -> vec4<f32> {
  return grid.low + 128.0 * grid.step;
}

// Turns a chunk of four pairs of all rows to an anchor, for all lanes.
fn digit_anchor(tile: Tile, codebook: u32, anchor: u32, pair: u32, half: u32) {
  let angle = anchor_angle(tile, anchor, pair);
  let chunks = vec2<u32>(first_chunk(pair), second_chunk(pair));
  let own = select(chunks.x, chunks.y, half == 1u);
  packed[anchor * CHUNKS + own] = turned_digits(angle, key_grid(codebook, own), pair, half).bytes;
  let middles = paired(middles_of(key_grid(codebook, chunks.x)), middles_of(key_grid(codebook, chunks.y)));
  let base = turned_score(angle, middles, pair);
  if (half == 0u) {
    weights[anchor * ROTARY_CHUNKS + pair] = base;
  }
}
`],
  ["attention/anchored/anchor_overrides.hbs", `override ANCHORS_LOW: u32 = 0u; // the logarithm of an anchor's tokens, four bits for each of the first eight bands of pairs
override ANCHORS_HIGH: u32 = 0u; // the same of the others
`],
  ["attention/anchored/anchor_tokens.hbs", `// Bands that have no anchors: the first ones.
fn explicit_bands() -> u32 {
  return (select(countTrailingZeros(ANCHORS_LOW), 32u + countTrailingZeros(ANCHORS_HIGH), ANCHORS_LOW == 0u)) / 4u;
}

// The logarithm of the tokens of an anchor of a band that has some: a division by them is a shift.
fn anchor_shift(band: u32) -> u32 {
  return (select(ANCHORS_LOW, ANCHORS_HIGH, band >= 8u) >> (band % 8u * 4u)) & 15u;
}

fn anchor_tokens(band: u32) -> u32 {
  return 1u << anchor_shift(band);
}
`],
  ["attention/anchored/anchored_angles.hbs", `// Turns pairs as the token that is so far behind the lane's first is turned.
fn turned_behind(pairs: Pairs, distance: u32, pair: u32) -> Pairs {
  if (distance == 0u) {
    return pairs;
  }
  return turn(pairs, angle_at(distance, pair));
}

// The angle of eight pairs at a distance from the tile's first token.
fn angle_far(distance: u32, pair: u32) -> Pairs {
  return turn(angle_at(distance % NEAR, pair), angle_at(NEAR + distance / NEAR, pair));
}

// The same at the middle of the anchor of the lane's tokens, which may lie before the tile.
fn middle_angle(tile: Tile, pair: u32) -> Pairs {
  let shift = anchor_shift(pair / 2u);
  let tile_first = tile.first - layer.sinks;
  let middle = (((tile_first + first_place) >> shift) << shift) + (anchor_tokens(pair / 2u) >> 1u);
  let ahead = middle >= tile_first;
  let angle = angle_far(select(tile_first - middle, middle - tile_first, ahead), pair);
  return Pairs(angle.even, select(-1.0, 1.0, ahead) * angle.odd);
}

// Four pairs of all rows.
struct RowPairs {
  even: Rows,
  odd: Rows,
}

// The rows' pairs pair to pair + 3 in fours, turned back by an angle.
fn turned_rows(pair: u32, cosines: vec4<f32>, sines: vec4<f32>) -> RowPairs {
  let even = query_rows(2u * pair);
  let odd = query_rows(2u * pair + 1u);
  let cosine = Chunk(cosines);
  let sine = Chunk(sines);
  return RowPairs(
    Rows(
      even[0] * cosine + odd[0] * sine,
      even[1] * cosine + odd[1] * sine,
      even[2] * cosine + odd[2] * sine,
      even[3] * cosine + odd[3] * sine,
    ),
    Rows(
      odd[0] * cosine - even[0] * sine,
      odd[1] * cosine - even[1] * sine,
      odd[2] * cosine - even[2] * sine,
      odd[3] * cosine - even[3] * sine,
    ),
  );
}
`],
  ["attention/anchored/anchored_chunk.hbs", `{{> anchor_tokens}}

{{> angle_rope}}

// The chunk of the channels that turn with those of a chunk.
fn partner_chunk(chunk: u32) -> u32 {
  let apart = select(chunk + ROTARY_CHUNKS, chunk - ROTARY_CHUNKS, chunk >= ROTARY_CHUNKS);
  return select(apart, chunk, INTERLEAVED || chunk >= 2u * ROTARY_CHUNKS);
}

// Chunk chunk of coded token coded, turned by way times what the token is off the middle of its anchor.
fn anchored_chunk(value: vec4<f32>, partner: vec4<f32>, coded: u32, chunk: u32, way: f32) -> vec4<f32> {
  let pair = select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED);
  if (chunk >= 2u * ROTARY_CHUNKS || pair < 2u * explicit_bands()) {
    return value;
  }
  let tokens = anchor_tokens(pair / 2u);
  let place = coded % tokens;
  let ahead = place >= tokens / 2u;
  let angle = angle_of(select(tokens / 2u - place, place - tokens / 2u, ahead), pair);
  let second_half = chunk >= ROTARY_CHUNKS;
  let other = select(select(-partner, partner, second_half), value.yxwz * vec4<f32>(-1.0, 1.0, -1.0, 1.0), INTERLEAVED);
  let odd_chunk = chunk % 2u == 1u;
  let cosine = select(angle.cosine, select(angle.cosine.xxyy, angle.cosine.zzww, odd_chunk), INTERLEAVED);
  let sine = select(angle.sine, select(angle.sine.xxyy, angle.sine.zzww, odd_chunk), INTERLEAVED);
  return value * cosine + select(-way, way, ahead) * other * sine;
}
`],
  ["attention/anchored/anchored_constants.hbs", `{{> (lookup . "plainConstantsPartial")}}
{{> header_angle}}
{{> anchor_overrides}}
`],
  ["attention/anchored/consecutive_keys.hbs", `// The lane's coded token i behind its first, in the same page. What lies past the tile's end is read as well, and hidden.
fn key_behind(i: u32) -> KeyAt {
  let token = key_at[0].token % KEY_RECORD_TOKENS + i;
  return KeyAt(key_at[0].word + token / KEY_RUN_TOKENS * KEY_RECORD_WORDS, token % KEY_RUN_TOKENS);
}
`],
  ["attention/anchored/decoded_anchored.hbs", `  let other = partner_chunk(chunk);
  let partner = coded_load4(coded_grid(codebook, other), codebook, record, token % CODED_RECORD_TOKENS, other);
  write_vector(entry.first + item.y, model_head, chunk, anchored_chunk(vector, partner, token, chunk, -1.0));
`],
  ["attention/anchored/digit_anchors.hbs", `{{> rotate_queries atTile}}
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let first_band = turned_bands();
  var total = 0u;
  for (var band = first_band; band < select(0u, ROTARY_CHUNKS / 2u, tile.coded); band += 1u) {
    total += 4u * anchors_in(tile, band);
  }
  for (var item = lane; item < total; item += WORKGROUP) {
    // The item's band is the one whose anchors it is among.
    var band = first_band;
    var left = item;
    for (var next = 4u * anchors_in(tile, band); left >= next; next = 4u * anchors_in(tile, band)) {
      left -= next;
      band += 1u;
    }
    digit_anchor(tile, codebook, left / 4u, 2u * band + left / 2u % 2u, left % 2u);
  }
`],
  ["attention/anchored/digit_bands.hbs", `{{#each digitSums}}
{{#each terms}}
  var {{name}} = vec4<i32>();
{{/each}}
{{/each}}
  let first_token = tile.first - min(layer.sinks, tile.first) + first_place;
  var base = vec4<f32>();
  for (var pair = first_anchored; pair < coded_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let anchor = anchors_before(tile, pair / 2u, first_token);
{{#each digitChunks}}
{{#each queries}}
    var {{name}}: vec4<u32>;
{{/each}}
{{/each}}
    if (pair < turned_pairs) {
      let angles = lane_angles(tile, anchor, pair);
      let own = lane_digits(codebook, angles, pair);
      base += own[0].base + own[1].base + own[2].base + own[3].base;
{{#each digitChunks}}
{{#each queries}}
      {{name}} = own[{{../chunk}}].bytes[{{digit}}];
{{/each}}
{{/each}}
{{> (lookup . "laneMeansPartial")}}
    } else {
      base += weights[anchor * ROTARY_CHUNKS + pair] + weights[anchor * ROTARY_CHUNKS + pair + 1u];
{{#each digitChunks}}
{{#each queries}}
      {{name}} = packed[anchor * CHUNKS + {{../half}} + {{../part}}u][{{digit}}];
{{/each}}
{{/each}}
    }
    let first_row = key_row(centroids, first);
    let second_row = key_row(centroids, second);
{{#each digitSums}}
    if ({{page}}u < SPAN) {
      let first_words = key_words(first_row, {{codes}}, {{place}}.token, first);
      let second_words = key_words(second_row, {{codes}}, {{place}}.token, second);
{{#each products}}
      let levels_{{chunk}} = {{half}}_words[{{part}}] ^ 0x80808080u;
{{#each sums}}
      {{name}} += digit_products(levels_{{../chunk}}, {{query}});
{{/each}}
{{/each}}
    }
{{/each}}
  }
  base *= query_unit;
{{#each digitSums}}
  if ({{page}}u < SPAN) {
    let sum = vec4<f32>({{#each terms}}({{name}} << vec4<u32>({{shift}}u)){{joint}}{{/each}});
    scores[{{page}}] = fma(query_unit, sum, base);
  }
{{/each}}
`],
  ["attention/anchored/explicit_bands.hbs", `  for (var pair = 0u; pair < explicit_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = coded_grids(block, first);
    let second_grids = coded_grids(block, second);
    // The query is turned to the lane's first token, and each key by what it is behind that: the same in all lanes.
    let angle = angle_far(first_place, pair);
    let queries_0 = turned_rows(pair, angle.even[0], angle.odd[0]);
    let queries_1 = turned_rows(pair + 1u, angle.even[1], angle.odd[1]);
{{#each coded.pages}}
    if ({{index}}u < SPAN) {
      let key = turned_behind(
        pairs_of(
          coded_key8(first_grids, block, {{place}}, first),
          coded_key8(second_grids, block, {{place}}, second),
        ),
        {{index}}u,
        pair,
      );
      let first_pairs = add_products(add_products(scores[{{index}}], key.even[0], queries_0.even), key.odd[0], queries_0.odd);
      scores[{{index}}] = add_products(add_products(first_pairs, key.even[1], queries_1.even), key.odd[1], queries_1.odd);
    }
{{/each}}
  }
`],
  ["attention/anchored/find_places_anchored.hbs", `  first_place = select(lane, lane * SPAN, tile.coded);
  place_step = select(PAGE_TOKENS, 1u, tile.coded);
`],
  ["attention/anchored/group_anchored.hbs", `{{> (lookup . "plainGroupPartial")}}

{{> turned_chunk}}

{{> (lookup . "turnedPartial")}}
`],
  ["attention/anchored/header_anchored.hbs", `// Keys were coded before the rotary embedding, but with what their slow bands turn from their anchors' middles.
{{> rope_overrides}}
{{> anchor_overrides}}
`],
  ["attention/anchored/header_turned.hbs", `const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
{{> header_angle}}
{{> anchor_overrides}}
`],
  ["attention/anchored/lane_digits.hbs", `// The angles of eight pairs at the middle of an anchor of the lane: it is shorter than a page, so that it does not begin before the tile.
fn lane_angles(tile: Tile, anchor: u32, pair: u32) -> array<mat2x4<f32>, 2> {
  let distance = anchor_middle(tile, anchor, pair / 2u) - (tile.first - layer.sinks);
  return array<mat2x4<f32>, 2>(angle_behind(distance, pair), angle_behind(distance, pair + 1u));
}

// Eight pairs of all rows, turned back by angles, in the order of their chunks.
fn lane_digits(codebook: u32, angles: array<mat2x4<f32>, 2>, pair: u32) -> array<Digits, 4> {
  let lower_0 = turned_digits(angles[0], key_grid(codebook, first_chunk(pair)), pair, 0u);
  let upper_0 = turned_digits(angles[0], key_grid(codebook, second_chunk(pair)), pair, 1u);
  let lower_1 = turned_digits(angles[1], key_grid(codebook, first_chunk(pair + 1u)), pair + 1u, 0u);
  let upper_1 = turned_digits(angles[1], key_grid(codebook, second_chunk(pair + 1u)), pair + 1u, 1u);
  if (INTERLEAVED) {
    return array<Digits, 4>(lower_0, upper_0, lower_1, upper_1);
  }
  return array<Digits, 4>(lower_0, lower_1, upper_0, upper_1);
}
`],
  ["attention/anchored/lane_means_none.hbs", `{{!-- Tokens have no means. --}}
`],
  ["attention/anchored/load_anchored.hbs", `{{> (lookup . "plainLoadPartial")}}

{{> anchored_chunk}}
`],
  ["attention/anchored/loaded_turned.hbs", `        load_turned(token, exact_word(entry.slot, SIDE, position, head), position - layer.sinks, share);
`],
  ["attention/anchored/places_anchored.hbs", `
// Of a coded tile, a lane has consecutive tokens, which share their anchors: it turns a query once for all of them.
var<private> first_place: u32; // of the lane's tokens in the tile
var<private> place_step: u32; // from each to the next
`],
  ["attention/anchored/prepare_digits.hbs", `// Finds what one in digits stands for: a rotation keeps a pair's length, so that it serves all tiles.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> (lookup . "prepareSizesPartial")}}
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let stride = select(1u, 2u, INTERLEAVED);
  for (var pair = 2u * explicit_bands() + lane; pair < ROTARY_CHUNKS; pair += WORKGROUP) {
    let grids = array<Grid, 2>(key_grid(codebook, first_chunk(pair)), key_grid(codebook, second_chunk(pair)));
    level_middles[first_chunk(pair)] = grids[0].low / level_steps(grids[0]) + 128.0;
    level_middles[second_chunk(pair)] = grids[1].low / level_steps(grids[1]) + 128.0;
    let steps = paired(grids[0].step, grids[1].step);
    let first = select(pair * 4u, pair * 8u, INTERLEAVED);
    let second = select((pair + ROTARY_CHUNKS) * 4u, pair * 8u + 1u, INTERLEAVED);
    var top: vec4<f32>;
    for (var at = 0u; at < ROWS; at += 1u) {
      let row = min(block.first_row + at, block.rows - 1u);
      let even = query_load4(entry, block.head, row, first, stride);
      let odd = query_load4(entry, block.head, row, second, stride);
      let lengths = sqrt(even * even + odd * odd) * max(steps[0], steps[1]);
      top[at] = max(max(lengths.x, lengths.y), max(lengths.z, lengths.w));
    }
    weights[pair] = top;
  }
  workgroupBarrier();
  var top = vec4<f32>(1.0e-18); // so that what it divides stays finite
  for (var pair = 2u * explicit_bands(); pair < ROTARY_CHUNKS; pair += 1u) {
    top = max(top, weights[pair]);
  }
  if (lane == 0u) {
    query_unit = top / QUERY_WHOLE;
  }
  workgroupBarrier();
}
`],
  ["attention/anchored/prepare_sizes_none.hbs", `{{! Keys have no sizes. }}
`],
  ["attention/anchored/score_anchored.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> consecutive_keys}}

{{> pairs}}

{{> anchor_tokens}}

{{> anchored_angles}}

fn prepare_block(entry: Entry, block: Block, lane: u32) {}

{{> (lookup . "preparePartial")}}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
  let first_anchored = 2u * explicit_bands();
  let explicit_pairs = min(coded_pairs, first_anchored);
  let turned_pairs = coded_pairs;
{{> explicit_bands}}
{{> turned_bands}}
{{#with coded}}
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
{{/with}}
{{> rope_dot exactly}}
}
`],
  ["attention/anchored/score_anchored_integers.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> consecutive_keys}}

{{> pairs}}

{{> anchor_tokens}}

{{> anchored_angles}}

{{> anchor_digits}}

{{> lane_digits}}

{{> digit_products}}

{{> prepare_digits}}

// Puts the block's rows, rotated to the tile's origin, into query_tile, and their digits for each anchor.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
{{> digit_anchors}}
  workgroupBarrier();
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
  let first_anchored = 2u * explicit_bands();
  let explicit_pairs = min(coded_pairs, first_anchored);
  let turned_pairs = min(coded_pairs, 2u * turned_bands());
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let centroids = codebook;
{{> digit_bands}}
{{> explicit_bands}}
{{#with coded}}
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
{{/with}}
{{> rope_dot exactly}}
}
`],
  ["attention/anchored/turned_bands.hbs", `  for (var pair = first_anchored; pair < turned_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = coded_grids(block, first);
    let second_grids = coded_grids(block, second);
    let angle = middle_angle(tile, pair);
    let queries_0 = turned_rows(pair, angle.even[0], angle.odd[0]);
    let queries_1 = turned_rows(pair + 1u, angle.even[1], angle.odd[1]);
{{#each coded.pages}}
    if ({{index}}u < SPAN) {
      let key = pairs_of(
        coded_key8(first_grids, block, {{place}}, first),
        coded_key8(second_grids, block, {{place}}, second),
      );
      let first_pairs = add_products(add_products(scores[{{index}}], key.even[0], queries_0.even), key.odd[0], queries_0.odd);
      scores[{{index}}] = add_products(add_products(first_pairs, key.even[1], queries_1.even), key.odd[1], queries_1.odd);
    }
{{/each}}
  }
`],
  ["attention/anchored/turned_chunk.hbs", `{{> anchored_chunk}}

// Chunk chunk of the exact vector at word word, turned as coded token coded.
fn turned_chunk(word: u32, coded: u32, chunk: u32) -> vec4<f32> {
  return anchored_chunk(exact_chunk(word, chunk), exact_chunk(word, partner_chunk(chunk)), coded, chunk, 1.0);
}

fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}
`],
  ["attention/anchored/turned_narrow.hbs", `// Loads group group of the exact vector at word word, turned as coded token coded: a part of a chunk.
fn load_turned(token: u32, word: u32, coded: u32, group: u32) {
  let turned = turned_chunk(word, coded, group * CHANNELS / 4u);
  for (var i = 0u; i < CHANNELS; i += 1u) {
    vectors[token * CHANNELS + i] = turned[(group * CHANNELS + i) % 4u] * scale[i];
  }
}
`],
  ["attention/anchored/turned_wide.hbs", `// Loads group group of the exact vector at word word, turned as coded token coded.
fn load_turned(token: u32, word: u32, coded: u32, group: u32) {
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let turned = turned_chunk(word, coded, group * (CHANNELS / 4u) + quad);
    vectors[token * CHANNELS + 4u * quad] = turned.x * scale[4u * quad];
    vectors[token * CHANNELS + 4u * quad + 1u] = turned.y * scale[4u * quad + 1u];
    vectors[token * CHANNELS + 4u * quad + 2u] = turned.z * scale[4u * quad + 2u];
    vectors[token * CHANNELS + 4u * quad + 3u] = turned.w * scale[4u * quad + 3u];
  }
}
`],
  ["attention/attend.wgsl.hbs", `{{> (lookup . "enablePartial")}}
{{> attention_constants}}
override IO_HALF: bool = false; // the host's tensors hold f16, not f32
{{> mix_state}}
{{#with key}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}
{{#with value}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> (lookup . "chunkPartial")}}

var<workgroup> query_tile: array<Chunk, ROWS * CHUNKS>;
{{> mix_variables}}
var<private> scores: array<vec4<f32>, MAX_SPAN>;

{{> tiers}}

{{> pages}}

{{> tiles}}
{{> (lookup . "placesPartial")}}

{{> block}}

{{> load_exact}}

{{> grid}}

{{> (lookup . "codebookPartial")}}

{{#with key}}
{{> (lookup . "chunksPartial")}}
{{/with}}

{{#with value}}
{{> (lookup . "chunksPartial")}}
{{/with}}

{{> (lookup . "queryPartial")}}

{{> query_rows atQuery}}

{{> key_sources}}

{{> (lookup . "scorePartial")}}

{{> score_tile}}

{{> mix_tile}}

{{> (lookup . "rotationPartial")}}

// Grid: (splits, KV heads, entries x row blocks).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
{{> (lookup . "builtinsPartial")}}
) {
{{> (lookup . "beginPartial")}}
{{> workgroup_share}}
{{> (lookup . "scalePartial")}}
{{> (lookup . "prepareValuesPartial")}}
  prepare_block(entry, block, lane);
{{> peeks}}
  for (var turn = own; turn < end + peeks; turn += 1u) {
{{> peeked}}
    prepare_tile(entry, block, tile, lane);
    score_tile(entry, block, tile, lane);
    if (peeking) {
      peek_tile(lane);
      continue;
    }
    soften_tile(tile, lane);
    mix_tile(entry, block, tile, lane);
    finish_tile(entry, block, tiles, tile, at, end, workgroup.x, lane);
  }
}
`],
  ["attention/attention_constants.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u; // as many as lanes, so that a lane holds the same token of each page
const ROWS: u32 = {{rows}}u; // query rows of one workgroup: the components of one vec4
const LANE_CHUNKS: u32 = {{laneChunks}}u; // chunks of a lane that shares a vector with others{{laneColumns}}
const CHUNK_LANES: u32 = {{sharedChunks}} / LANE_CHUNKS;
const ROW_LANES: u32 = ROWS * CHUNK_LANES; // lanes that share all rows' vectors, the first CHUNK_LANES the first row's
const HIDDEN: f32 = -2.0e38; // the score of a token that a row does not see
const NEAR: u32 = {{nearTokens}}u; // distances the rotary table has one by one
const EXACT_SPAN: u32 = {{exactSpan}}u; // tokens of an exact tile that a lane scores
const EXACT_TILE: u32 = EXACT_SPAN * PAGE_TOKENS;
const MAX_SPAN: u32 = {{span}}u;

override SOFTCAP: bool = false; // scores are capped
override SPAN: u32 = MAX_SPAN; // pages of a coded tile: tokens a lane scores at once, for each query it loads
override TILE: u32 = SPAN * PAGE_TOKENS;
`],
  ["attention/block.hbs", `// A workgroup serves ROWS query rows of one KV head: row = token * group + query head of the group.
struct Block {
  head: u32, // among those bound
  table: u32, // place of its lookup table among those of one KV head
  first_row: u32,
  rows: u32, // rows the entry has in all
  first_position: u32,
  last_position: u32,
}

fn blocks_per_entry() -> u32 {
  return (step.max_count * layer.group + ROWS - 1u) / ROWS;
}

fn block_of(entry: Entry, index: u32, workgroup: vec3<u32>) -> Block {
  let rows = entry.count * layer.group;
  let first_row = index * ROWS;
  let last_row = min(first_row + ROWS, rows) - 1u;
  return Block(
    workgroup.y,
    entry.first * layer.group / ROWS + workgroup.z / blocks_per_entry() + index,
    first_row,
    rows,
    entry.start + first_row / layer.group,
    entry.start + last_row / layer.group,
  );
}

// Row row of the block, in the order of the host's buffers: token by token, head by head.
fn global_row(entry: Entry, block: Block, row: u32) -> u32 {
  let at = block.first_row + row;
  return (entry.first + at / layer.group) * layer.query_heads +
    (layer.first_head + block.head) * layer.group + at % layer.group;
}
`],
  ["attention/chunks_loaded.hbs", `{{> (lookup . "loadPartial")}}

// Channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk a column.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  return mat{{chunkCount}}x4<f32>(
{{#each chunks}}
    {{../side}}_load4(Grid(), codebook, record, token, chunk + {{index}}u),
{{/each}}
  );
}
`],
  ["attention/coded_keys_loaded.hbs", `fn coded_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn coded_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  return key_chunks(0u, at.word, at.token, chunk);
}
`],
  ["attention/combine.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;

override IO_HALF: bool = false; // the host's tensors hold f16, not f32
override SKIP_BELOW: f32 = 0.0; // 0 where no tile is skipped

{{> uniforms}}

{{> bindings}}

{{> bounded}}

// Merges the splits of one row exactly, by log-sum-exp, and the head's learned sink, which has a logit and no value.
// Grid: (query heads, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) chunk: u32,
) {
  let entry = step.entries[workgroup.z];
  if (chunk >= CHUNKS || workgroup.y >= entry.count) {
    return;
  }
  let token = entry.first + workgroup.y;
  let row = token * layer.query_heads + workgroup.x;
  let first = row * step.partial_stride * (CHUNKS + 1u);
  let sink = sink_logits[workgroup.x];
  var top = sink;
  for (var split = 0u; split < entry.partials; split += 1u) {
    top = max(top, partials[first + split * (CHUNKS + 1u) + CHUNKS].x);
  }
  var sum = exp(sink - top);
  var total = vec4<f32>();
  for (var split = 0u; split < entry.partials; split += 1u) {
    let at = first + split * (CHUNKS + 1u);
    let weight = exp(partials[at + CHUNKS].x - top);
    sum += weight * partials[at + CHUNKS].y;
    total += weight * partials[at + chunk];
  }
  if (SKIP_BELOW > 0.0 && chunk == 0u) {
    for (var split = 0u; split < entry.partials; split += 1u) {
      let tiles = vec2<u32>(partials[first + split * (CHUNKS + 1u) + CHUNKS].zw);
      atomicAdd(&counters[3], tiles.x);
      atomicAdd(&counters[4], tiles.y);
    }
  }
  let mean = total / sum;
  let at = token * layer.output_token_stride + workgroup.x * layer.output_head_stride +
    chunk * 4u;
  if (IO_HALF) {
    let halves = bounded(mean);
    output[at / 2u] = pack2x16float(halves.xy);
    output[at / 2u + 1u] = pack2x16float(halves.zw);
  } else {
    output[at] = bitcast<u32>(mean.x);
    output[at + 1u] = bitcast<u32>(mean.y);
    output[at + 2u] = bitcast<u32>(mean.z);
    output[at + 3u] = bitcast<u32>(mean.w);
  }
}
`],
  ["attention/features/begin_none.hbs", `{{! No subgroups. }}
`],
  ["attention/features/begin_subgroups.hbs", `  subgroup = subgroup_index;
  subgroups = subgroup_count;
`],
  ["attention/features/builtins_none.hbs", `{{! No more than a workgroup and a lane. }}
`],
  ["attention/features/builtins_subgroups.hbs", `  @builtin(subgroup_id) subgroup_index: u32,
  @builtin(num_subgroups) subgroup_count: u32,
`],
  ["attention/features/chunk_f16.hbs", `alias Chunk = vec4<f16>; // what products of queries and keys are taken in; they are summed in f32
alias Rows = mat4x4<f16>;

// Adds the products of four channels of a key and all rows, in the rows' own units. A rotated key may lie beyond f16.
fn add_products(sum: vec4<f32>, key: vec4<f32>, rows: Rows) -> vec4<f32> {
  let held = clamp(key, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  return sum + row_units * vec4<f32>(Chunk(held) * rows);
}
`],
  ["attention/features/chunk_f32.hbs", `alias Chunk = vec4<f32>; // what products of queries and keys are taken in
alias Rows = mat4x4<f32>;

// Adds the products of four channels of a key and all rows: a multiply-add each, where key * rows would add once more.
fn add_products(sum: vec4<f32>, key: vec4<f32>, rows: Rows) -> vec4<f32> {
  let channels = transpose(rows);
  return sum + channels[0] * key.x + channels[1] * key.y + channels[2] * key.z + channels[3] * key.w;
}
`],
  ["attention/features/enable_f16.hbs", `enable f16;

`],
  ["attention/features/enable_none.hbs", `{{! Any device will do. }}
`],
  ["attention/features/enable_subgroups.hbs", `enable subgroups;

`],
  ["attention/features/top_lanes.hbs", `// The largest of all lanes' vectors, by component: of some lanes each, then of their results.
fn top_of(own: vec4<f32>, lane: u32) -> vec4<f32> {
  tops[lane] = own;
  workgroupBarrier();
  var top = own;
  if (lane < TOP_GROUPS) {
    for (var other = 1u; other < TOP_LANES; other += 1u) {
      top = max(top, tops[other * TOP_GROUPS + lane]);
    }
    group_tops[lane] = top;
  }
  workgroupBarrier();
  for (var group = 0u; group < TOP_GROUPS; group += 1u) {
    top = max(top, group_tops[group]);
  }
  return top;
}
`],
  ["attention/features/top_subgroups.hbs", `// The largest of all lanes' vectors, by component: of each subgroup, then of their results.
fn top_of(own: vec4<f32>, lane: u32) -> vec4<f32> {
  var top = subgroupMax(own);
  if (subgroupElect()) {
    group_tops[subgroup] = top;
  }
  workgroupBarrier();
  for (var other = 0u; other < subgroups; other += 1u) {
    top = max(top, group_tops[other]);
  }
  return top;
}
`],
  ["attention/features/tops_lanes.hbs", `const TOP_GROUPS: u32 = 8u; // the largest score is found among so many lanes each, then among as many results
const TOP_LANES: u32 = WORKGROUP / TOP_GROUPS;
`],
  ["attention/features/tops_subgroups.hbs", `const TOP_GROUPS: u32 = WORKGROUP / 4u; // most subgroups of a workgroup: the smallest have four lanes
var<private> subgroup: u32;
var<private> subgroups: u32;
`],
  ["attention/find_places_none.hbs", `{{! A lane has one token of each page. }}
`],
  ["attention/header_plain.hbs", `// Keys are gathered as they were coded.
`],
  ["attention/integers/digit_products.hbs", `// The products of four levels and all rows.
fn digit_products(levels: u32, rows: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(
    dot4I8Packed(levels, rows.x),
    dot4I8Packed(levels, rows.y),
    dot4I8Packed(levels, rows.z),
    dot4I8Packed(levels, rows.w),
  );
}
`],
  ["attention/integers/digit_sums.hbs", `{{#each digitSums}}
{{#each terms}}
  var {{name}} = vec4<i32>();
{{/each}}
{{/each}}
  for (var chunk = 0u; chunk < coded_chunks; chunk += {{key.chunkCount}}u) {
{{#each digitChunks}}
{{#each queries}}
    let {{name}} = query_digits[(chunk + {{../chunk}}u) * QUERY_DIGITS + {{digit}}u];
{{/each}}
{{/each}}
    let row = key_row(centroids, chunk);
{{#each digitSums}}
    if ({{page}}u < SPAN) {
      let words = key_words(row, {{place}}.word, {{place}}.token, chunk);
{{#each products}}
      let levels_{{chunk}} = words[{{chunk}}] ^ 0x80808080u;
{{#each sums}}
      {{name}} += digit_products(levels_{{../chunk}}, {{query}});
{{/each}}
{{/each}}
    }
{{/each}}
  }
{{#each digitSums}}
  if ({{page}}u < SPAN) {
    let sum = vec4<f32>({{#each terms}}({{name}} << vec4<u32>({{shift}}u)){{joint}}{{/each}});
    scores[{{page}}] = select(vec4<f32>(), query_base + query_unit * sum, tile.coded);
  }
{{/each}}
`],
  ["attention/integers/digits.hbs", `// Queries times the steps of a key's levels, as integers, whose products with levels are exact. Levels count from 128.
{{> query_bytes}}

var<workgroup> query_digits: array<vec4<u32>, QUERY_DIGITS * CHUNKS>; // a byte of four channels, for each row
var<workgroup> query_parts: array<mat2x4<f32>, CHUNKS>; // the largest magnitude, and the score of the levels' middles
var<workgroup> query_unit: vec4<f32>; // what 1 stands for
var<workgroup> query_base: vec4<f32>; // the score of all middles

{{> (lookup . "keyStepsPartial")}}

// codebook is where a head's grids begin.
fn digit_queries(codebook: u32, lane: u32) {
  if (lane < CHUNKS) {
    let grid = key_steps(codebook, lane);
    let rows = query_rows(lane);
    var part: mat2x4<f32>;
    for (var row = 0u; row < ROWS; row += 1u) {
      let scaled = abs(rows[row] * grid.step);
      part[0][row] = max(max(scaled.x, scaled.y), max(scaled.z, scaled.w));
      part[1][row] = dot(rows[row], grid.low + 128.0 * grid.step);
    }
    query_parts[lane] = part;
  }
  workgroupBarrier();
  var top = vec4<f32>(1.0e-30);
  var base = vec4<f32>();
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    top = max(top, query_parts[chunk][0]);
    base += query_parts[chunk][1];
  }
  let unit = top / QUERY_WHOLE;
  if (lane == 0u) {
    query_unit = unit;
    query_base = base;
  }
  if (lane < CHUNKS) {
    let grid = key_steps(codebook, lane);
    let rows = query_rows(lane);
    var packs = array<vec4<u32>, QUERY_DIGITS>();
    for (var row = 0u; row < ROWS; row += 1u) {
      let bytes = query_bytes(rows[row] * grid.step / unit[row]);
{{#each queryDigits}}
      packs[{{digit}}][row] = bytes[{{digit}}];
{{/each}}
    }
    for (var digit = 0u; digit < QUERY_DIGITS; digit += 1u) {
      query_digits[lane * QUERY_DIGITS + digit] = packs[digit];
    }
  }
  workgroupBarrier();
}

{{> digit_products}}
`],
  ["attention/integers/flush_scaled.hbs", `{{#each mixedSums}}
  mixed[{{chunk}}] += mat4x4<f32>(
{{#each rows}}
    vec4<f32>({{#each terms}}({{name}} << vec4<u32>({{shift}}u)){{joint}}{{/each}}) * weight_unit.{{row}},
{{/each}}
  );
{{/each}}
`],
  ["attention/integers/flush_sums.hbs", `{{#each mixedSums}}
  mixed[{{chunk}}] += mat4x4<f32>(
{{#each rows}}
    vec4<f32>({{#each terms}}({{name}} << vec4<u32>({{shift}}u)){{joint}}{{/each}}),
{{/each}}
  );
{{/each}}
`],
  ["attention/integers/kept_weight.hbs", `      scores[i] = weight;
`],
  ["attention/integers/mix_integers.hbs", `{{> (lookup . "finishPartial")}}

{{> pack_quad}}

{{> transposed}}

// What four tokens' levels of four channels add to a row.
fn weighted_levels(levels: vec4<u32>, weights: u32) -> vec4<u32> {
  return vec4<u32>(
    dot4U8Packed(levels.x, weights),
    dot4U8Packed(levels.y, weights),
    dot4U8Packed(levels.z, weights),
    dot4U8Packed(levels.w, weights),
  );
}
`],
  ["attention/integers/mix_quad.hbs", `{{#each quadTokens}}
      let words_{{token}} = value_words(row, records.{{token}}, tokens.{{token}}, chunk);
{{/each}}
{{#each digits}}
      let weights_{{digit}} = packed[at][{{digit}}];
{{/each}}
{{#each mixedSums}}
      let levels_{{chunk}} = transposed(vec4<u32>(words_x[{{chunk}}], words_y[{{chunk}}], words_z[{{chunk}}], words_w[{{chunk}}]));
{{#each rows}}
{{#each terms}}
      {{name}} += weighted_levels(levels_{{../../chunk}}, weights_{{digit}}.{{../row}});
{{/each}}
{{/each}}
{{/each}}
`],
  ["attention/integers/mix_quads.hbs", `  // Four tokens' levels of a channel are a word, and so are their weights. Sums of a tile stay below 2^32.
{{#each sums}}
  var {{name}} = vec4<u32>();
{{/each}}
{{> (lookup . "quadsPartial")}}
{{> (lookup . "flushPartial")}}
`],
  ["attention/integers/pack_quad.hbs", `// Puts four of the lane's weights into workgroup memory, as integers. Returns their sums.
fn pack_weights(half: u32, lane: u32) -> vec4<u32> {
  var packs = array<vec4<u32>, DIGITS>();
  var sum = vec4<u32>();
  let factor = 1.0 / weight_unit;
  for (var i = 0u; i < 4u; i += 1u) {
    // Behind 2^23, a binary32 number's lowest bits are those of the whole number.
    let whole = bitcast<vec4<u32>>(scores[4u * half + i] * factor + 0x1p23f);
    sum += whole;
{{#each digits}}
    packs[{{digit}}] |= ((whole >> vec4<u32>({{shift}}u)) & vec4<u32>(255u)) << vec4<u32>(8u * i);
{{/each}}
  }
  packed[{{packedAt}}] = packs;
  return sum - 4u * bitcast<u32>(0x1p23f);
}
`],
  ["attention/integers/pack_weights_plain.hbs", `  if (tile.coded) {
    // The softmax divides by what is mixed.
    var sum = vec4<u32>();
    for (var half = 0u; half < select(SPAN / 4u, 0u, skipped); half += 1u) {
      sum += pack_weights(half, lane);
    }
    row_sum += vec4<f32>(sum) * weight_unit;
  } else {
    for (var i = 0u; i < EXACT_SPAN; i += 1u) {
      weights[i * PAGE_TOKENS + lane] = scores[i];
      row_sum += scores[i];
    }
  }
  workgroupBarrier();
`],
  ["attention/integers/packs_paged.hbs", `const PACKS: u32 = {{packs}}u; // for weights, and before for queries
const PAGE_QUADS: u32 = PAGE_TOKENS / 4u;
`],
  ["attention/integers/packs_tile.hbs", `override PACKS: u32 = TILE / 4u; // named: naga panics where a nameless size comes before other constants of a pipeline
`],
  ["attention/integers/quads_apart.hbs", `  // The same token of four pages. Past the last, its own stands in, with weights of 0.
  let row = value_row(codebook, chunk);
  let last_page = first_page + (max(coded_count, 1u) - 1u) / PAGE_TOKENS;
  for (var first = 0u; first < coded_count; first += 4u * PAGE_TOKENS) {
    let page = first_page + first / PAGE_TOKENS;
    let words = vec4<u32>(
      page_word(entry.slot, block.head, page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS),
      page_word(entry.slot, block.head, min(page + 1u, last_page), VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS),
      page_word(entry.slot, block.head, min(page + 2u, last_page), VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS),
      page_word(entry.slot, block.head, min(page + 3u, last_page), VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS),
    );
    for (var token = slice; token < PAGE_TOKENS; token += SLICES) {
      let at = first / 4u + token;
      let records = words + token / VALUE_RECORD_TOKENS * VALUE_RECORD_WORDS;
      let tokens = vec4<u32>(token % VALUE_RECORD_TOKENS);
{{> mix_quad}}
    }
  }
`],
  ["attention/integers/quads_consecutive.hbs", `  // Four consecutive tokens of a lane, all of one page.
  let row = value_row(codebook, chunk);
  let pages = (coded_count + PAGE_TOKENS - 1u) / PAGE_TOKENS;
  for (var page = 0u; page < pages; page += 1u) {
    let word = page_word(entry.slot, block.head, first_page + page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    for (var turn = 0u; turn < PAGE_QUADS; turn += SLICES) {
      let quad = turn + slice;
      if (PAGE_QUADS % SLICES != 0u && quad >= PAGE_QUADS) {
        break;
      }
      let at = page * PAGE_QUADS + quad;
      let four = vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u);
      let records = word + four / VALUE_RECORD_TOKENS * VALUE_RECORD_WORDS;
      let tokens = four % VALUE_RECORD_TOKENS;
{{> mix_quad}}
    }
  }
`],
  ["attention/integers/query_bytes.hbs", `const QUERY_DIGITS: u32 = {{queryDigits.length}}u; // bytes of a number, the highest first
const QUERY_WHOLE: f32 = {{queryWhole}}; // the largest
const QUERY_ORIGIN: f32 = {{queryOrigin}}; // behind it, a binary32 number's lowest bits are those of a whole number

// The bytes of four numbers that are rounded to whole ones. The lowest are signed, what they lack or exceed is in the others.
fn query_bytes(numbers: vec4<f32>) -> array<u32, QUERY_DIGITS> {
  let bits = bitcast<vec4<i32>>(numbers + QUERY_ORIGIN);
  return array<u32, QUERY_DIGITS>(
{{#each queryDigits}}
    {{bytes}},
{{/each}}
  );
}
`],
  ["attention/integers/score_integers.hbs", `{{> digits}}

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
  digit_queries((layer.first_head + block.head) * KEY_CODEBOOK_WORDS, lane);
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let centroids = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
{{> digit_sums}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["attention/integers/sum_units.hbs", `      sums *= weight_unit[lane / CHUNK_LANES];
      weight_unit = vec4<f32>(1.0);
`],
  ["attention/integers/transposed.hbs", `// Byte i of word j becomes byte j of word i.
fn transposed(words: vec4<u32>) -> vec4<u32> {
  let mask = 0x00ff00ffu;
  // A difference of what two words swap serves both of them: one adds it where the other subtracts it.
  let bytes = (words.yw & vec2<u32>(mask)) - ((words.xz >> vec2<u32>(8u)) & vec2<u32>(mask));
  let even = words.xz + (bytes << vec2<u32>(8u));
  let odd = words.yw - bytes;
  let halves = (vec2<u32>(even.y, odd.y) & vec2<u32>(0xffffu)) - (vec2<u32>(even.x, odd.x) >> vec2<u32>(16u));
  let low = vec2<u32>(even.x, odd.x) + (halves << vec2<u32>(16u));
  let high = vec2<u32>(even.y, odd.y) - halves;
  return vec4<u32>(low, high);
}
`],
  ["attention/integers/unit_tile.hbs", `    // Weights count from the tile's own largest score. Where that is far below another's, all of them are next to nothing anyway. What
    // was mixed before is counted in the tile's units.
    let unit = select(vec4<f32>(1.0), max(exp(top - next), vec4<f32>(0x1p-20f)) / WHOLE, tile.coded);
    let kept = rescale * weight_unit / unit;
    weight_unit = unit;
`],
  ["attention/integers/weight_fused.hbs", `      let weight = exp2(LOG2_E * scores[i] - LOG2_E * seen); // a multiply-add, which rounds less than bytes do
`],
  ["attention/integers/weights_integers.hbs", `const DIGITS: u32 = {{digits.length}}u; // bytes of a weight, the highest first
{{> (lookup . "packsPartial")}}
const LOG2_E: f32 = 1.4426950408889634;
const WHOLE: f32 = {{whole}}; // the largest weight of a tile
var<workgroup> weights: array<vec4<f32>, ROWS * WORKGROUP>; // of exact tokens
var<workgroup> packed: array<array<vec4<u32>, DIGITS>, PACKS>; // bytes of four tokens' weights, for each row
var<private> weight_unit = vec4<f32>(1.0); // what 1 stands for
`],
  ["attention/key_sources.hbs", `// Where one token's key lies: in the exact tier, or coded.
struct KeyAt {
  word: u32, // the first of the exact vector, or of the record
  token: u32, // of the record
}

// The lane's tokens of the tile: one in each of its SPAN pages. Past the tile's end the last token stands in.
var<private> key_at: array<KeyAt, MAX_SPAN>;

fn find_keys(entry: Entry, block: Block, tile: Tile, lane: u32) {
  for (var i = 0u; i < SPAN; i += 1u) {
    let position = min(tile.first + i * {{placeStep}} + {{lanePlace}}, tile.end - 1u);
    if (tile.coded) {
      let token = position - layer.sinks;
      let page = token / PAGE_TOKENS;
      let word = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
      let record = (token % PAGE_TOKENS) / KEY_RECORD_TOKENS;
      key_at[i] = KeyAt(word + record * KEY_RECORD_WORDS, token % KEY_RECORD_TOKENS);
    } else {
      key_at[i] = KeyAt(exact_word(entry.slot, 0u, position, block.head), 0u);
    }
  }
}

// How often lanes go through a loop over one of the two sources: never through that of the other. All lanes as often, so that
// what depends on the turn alone is computed once for all of them.
fn trips(tile: Tile, coded: bool, count: u32) -> u32 {
  return select(0u, count, coded == tile.coded);
}

// Of the eight channels of two chunks, the first of which is even.
struct Grids {
  first: Grid,
  second: Grid,
}

fn exact_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn exact_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  return exact_load8(at.word, chunk);
}
`],
  ["attention/load_exact.hbs", `// Eight numbers in f16, four a column.
fn halves_of(quad: vec4<u32>) -> mat2x4<f32> {
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(quad.x), unpack2x16float(quad.y)),
    vec4<f32>(unpack2x16float(quad.z), unpack2x16float(quad.w)),
  );
}

// Chunks chunk and chunk + 1 of the exact vector at word word; chunk is even.
fn exact_load8(word: u32, chunk: u32) -> mat2x4<f32> {
  return halves_of(exact_quads[(word >> 2u) + (chunk >> 1u)]);
}
`],
  ["attention/load_queries.hbs", `{{> query_items channel="(item % CHUNKS) * 4u" stride="1u"}}
`],
  ["attention/mix.wgsl.hbs", `{{> attention_constants}}
{{> mix_state}}
{{#with value}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}

{{> uniforms}}

{{> bindings}}

{{> mix_variables}}
var<private> scores: array<vec4<f32>, MAX_SPAN>;

{{> tiers}}

{{> pages}}

{{> tiles}}
{{> (lookup . "placesPartial")}}

{{> block}}

{{> load_exact}}

{{> grid}}

{{> (lookup . "codebookPartial")}}

{{> (lookup . "stagingPartial")}}

{{#with value}}
{{> (lookup . "chunksPartial")}}
{{/with}}

{{> mix_tile}}

{{> (lookup . "rotationPartial")}}

// Grid: (splits, KV heads, entries x row blocks), as the score kernel's.
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) id: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
{{> (lookup . "partPartial")}}
{{> workgroup_share}}
{{> (lookup . "stagePartial")}}
{{> (lookup . "prepareValuesPartial")}}
{{> peeks}}
  for (var turn = own; turn < end + peeks; turn += 1u) {
{{> peeked}}
{{> (lookup . "findPlacesPartial")}}
    for (var row = 0u; row < ROWS; row += 1u) {
      let stored = min(row, block.rows - 1u - block.first_row);
      let first = global_row(entry, block, stored) * step.score_stride + at * TILE + {{lanePlace}};
      for (var i = 0u; i < SPAN; i += 1u) {
        scores[i][row] = row_scores[first + i * {{placeStep}}];
      }
    }
    if (peeking) {
      peek_tile(lane);
      continue;
    }
    soften_tile(tile, lane);
    mix_tile(entry, block, tile, lane);
    finish_tile(entry, block, tiles, tile, at, end, workgroup.x, lane);
  }
}
`],
  ["attention/mix_page_none.hbs", `{{! A page has nothing that all its tokens share. }}
`],
  ["attention/mix_pages.hbs", `  for (var first = 0u; first < coded_count; first += PAGE_TOKENS) {
    let page = first_page + first / PAGE_TOKENS;
    let word = page_word(entry.slot, block.head, page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    let end = min(coded_count - first, PAGE_TOKENS);
    for (var token = slice; token < end; token += SLICES) {
      let record = word + token / VALUE_RECORD_TOKENS * VALUE_RECORD_WORDS;
      mix_coded(codebook, record, token % VALUE_RECORD_TOKENS, chunk, weights[first + token]);
    }
{{> (lookup . "mixPagePartial")}}
  }
`],
  ["attention/mix_plain.hbs", `{{> (lookup . "mixValuesPartial")}}

fn finish_coded(entry: Entry, block: Block, lane: u32) {}
`],
  ["attention/mix_state.hbs", `override SKIP_BELOW: f32 = 0.0; // how far below what rows have seen a tile that is not mixed lies; 0 where all are mixed
const SLICES: u32 = WORKGROUP / CHUNK_LANES; // tokens mixed at once
{{> (lookup . "topsPartial")}}
`],
  ["attention/mix_tile.hbs", `// A lane mixes LANE_CHUNKS chunks of every SLICES-th token.
fn lane_chunk(lane: u32) -> u32 {
  return {{firstChunk}} + lane % CHUNK_LANES * LANE_CHUNKS;
}

// What one value adds to all rows.
fn weighted(value: vec4<f32>, weight: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(value * weight.x, value * weight.y, value * weight.z, value * weight.w);
}

{{> (lookup . "mixPartial")}}

{{> (lookup . "topPartial")}}

// The best scores of the tile, by row.
fn tile_top(lane: u32) -> vec4<f32> {
  var highest = scores[0];
  for (var i = 1u; i < SPAN; i += 1u) {
    highest = max(highest, scores[i]);
  }
  return top_of(highest, lane);
}

// Takes note of the best scores of a tile that is not mixed now.
fn peek_tile(lane: u32) {
  row_max = max(row_max, tile_top(lane));
  workgroupBarrier();
}

// Online softmax (FlashAttention, arXiv 2205.14135 §3.1): what was summed before is rescaled, and weights are
// exp(score - row_max). A tile of codes is skipped if it lies far below what every row has seen: of n tokens' weight, its tokens
// have at most n * exp(-SKIP_BELOW). Comparisons with NaN are false, so that rows of NaN skip nothing.
fn soften_tile(tile: Tile, lane: u32) {
  let top = tile_top(lane);
  let is_low = (top <= vec4<f32>(HIDDEN)) | (top < row_max - SKIP_BELOW);
  skipped = SKIP_BELOW > 0.0 && tile.coded && all(is_low);
  if (!skipped) {
    let next = max(row_max, top);
    let rescale = exp(row_max - next);
    row_max = next;
    row_sum *= rescale;
{{> (lookup . "unitPartial")}}
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let rows = mixed[i];
      mixed[i] = mat4x4<f32>(
        rows[0] * kept.x,
        rows[1] * kept.y,
        rows[2] * kept.z,
        rows[3] * kept.w,
      );
    }
    // A hidden token has no weight, even where a row has seen no other.
    let seen = max(next, vec4<f32>(0.5 * HIDDEN));
    for (var i = 0u; i < SPAN; i += 1u) {
{{> (lookup . "weightPartial")}}
{{> (lookup . "softenedPartial")}}
    }
  }
  workgroupBarrier();
}

// Adds the lane's share of the tile's values. Only one of the two loops runs.
fn mix_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let chunk = lane_chunk(lane);
  let slice = lane / CHUNK_LANES;
  let count = select(0u, tile.end - tile.first, slice < SLICES && !skipped);
  let coded_count = select(0u, count, tile.coded);
  let exact_count = select(count, 0u, tile.coded);
  if (SKIP_BELOW > 0.0 && tile.coded) {
    counts += vec2<f32>(f32(skipped), 1.0);
  }
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  let first_page = (tile.first - min(layer.sinks, tile.first)) / PAGE_TOKENS;
{{> (lookup . "mixTilePartial")}}
{{> (lookup . "mixPagesPartial")}}
  for (var token = slice; token < exact_count; token += SLICES) {
    let exact_at = exact_word(entry.slot, 1u, tile.first + token, block.head);
    let weight = weights[token];
    for (var i = 0u; i < LANE_CHUNKS; i += 2u) {
      let values = exact_load8(exact_at, chunk + i);
      mixed[i] += weighted(values[0], weight);
      mixed[i + 1u] += weighted(values[1], weight);
    }
  }
}

// The sum of one chunk of every lane over the slices. The first lanes, CHUNK_LANES for each row, get that of their row.
fn sum_chunk(rows: mat4x4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  weights[lane] = rows[0];
  weights[WORKGROUP + lane] = rows[1];
  weights[2u * WORKGROUP + lane] = rows[2];
  weights[3u * WORKGROUP + lane] = rows[3];
  workgroupBarrier();
  let first = lane / CHUNK_LANES * WORKGROUP + lane % CHUNK_LANES;
  var sum = vec4<f32>();
  for (var slice = 0u; slice < select(0u, SLICES, lane / CHUNK_LANES < ROWS); slice += 1u) {
    sum += weights[first + slice * CHUNK_LANES];
  }
  return sum;
}

// The other way: a chunk's sums, given back to the lanes of the first slice as what they mixed.
fn shared_chunk(sum: vec4<f32>, lane: u32) -> mat4x4<f32> {
  workgroupBarrier();
  weights[lane] = sum;
  workgroupBarrier();
  if (lane >= CHUNK_LANES) {
    return mat4x4<f32>();
  }
  return mat4x4<f32>(
    weights[lane],
    weights[CHUNK_LANES + lane],
    weights[2u * CHUNK_LANES + lane],
    weights[3u * CHUNK_LANES + lane],
  );
}

// After the last tile, what was mixed is summed over the slices, and written. It is summed after the last coded one as well,
// because what coding did to values is undone before exact ones are added.
fn finish_tile(entry: Entry, block: Block, tiles: Tiles, tile: Tile, at: u32, end: u32, split: u32, lane: u32) {
  if (at + 1u == end || at + 1u == tiles.coded) {
    tops[lane] = row_sum;
    sums[0] = sum_chunk(mixed[0], lane);
    var sum = 0.0;
    for (var other = 0u; other < select(0u, WORKGROUP, lane < ROWS); other += 1u) {
      sum += tops[other][lane]; // a lane sums a row's weights
    }
    if (lane < ROWS) {
      row_sums[lane] = sum;
    }
{{> (lookup . "sumChunksPartial")}}
    mixed = array<mat4x4<f32>, LANE_CHUNKS>();
    if (tile.coded) {
{{> (lookup . "sumUnitsPartial")}}
      finish_coded(entry, block, lane);
    }
    if (at + 1u == end) {
      write_partials(entry, block, split, lane);
    } else {
      for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
        mixed[i] = shared_chunk(sums[i], lane);
      }
    }
  }
}

// Writes one partial result a row: CHUNKS vectors, then (max, sum, tiles skipped, all), tiles in the block's first row.
fn write_partials(entry: Entry, block: Block, split: u32, lane: u32) {
  let used = min(ROWS, block.rows - block.first_row);
  if (lane < used * CHUNK_LANES) {
    let chunk = partial_of(entry, block, lane / CHUNK_LANES, split) + lane_chunk(lane);
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      partials_written[chunk + i] = sums[i];
    }
  }
  if (lane < used && lane_chunk(0u) == 0u) {
    partials_written[partial_of(entry, block, lane, split) + CHUNKS] =
      vec4<f32>(row_max[lane], row_sums[lane], select(vec2<f32>(), counts, lane == 0u));
  }
}

fn partial_of(entry: Entry, block: Block, row: u32, split: u32) -> u32 {
  return (global_row(entry, block, row) * step.partial_stride + entry.first_partial + split) * (CHUNKS + 1u);
}
`],
  ["attention/mix_tile_none.hbs", `{{! Weights are mixed as they are. }}
`],
  ["attention/mix_values.hbs", `fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let values = value_chunks(codebook, record, token, chunk);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(values[i], weight);
  }
}
`],
  ["attention/mix_values_wide.hbs", `fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  for (var first = 0u; first < LANE_CHUNKS; first += 4u) {
    let values = value_chunks(codebook, record, token, chunk + first);
    for (var i = 0u; i < 4u; i += 1u) {
      mixed[first + i] += weighted(values[i], weight);
    }
  }
}
`],
  ["attention/mix_variables.hbs", `{{> (lookup . "weightsPartial")}}
var<workgroup> tops: array<vec4<f32>, WORKGROUP>;
var<workgroup> group_tops: array<vec4<f32>, TOP_GROUPS>;
var<private> row_max = vec4<f32>(HIDDEN);
var<private> row_sum: vec4<f32>;
var<private> skipped: bool; // whether the tile is not mixed
var<private> counts: vec2<f32>; // coded tiles that were skipped, and all, where some may be
var<private> mixed: array<mat4x4<f32>, LANE_CHUNKS>;
var<workgroup> row_sums: array<f32, ROWS>;
var<private> sums: {{laneSums}}; // of what was mixed, over the slices: chunks of the lane's row
`],
  ["attention/mrope/angle_by_positions.hbs", `    let angle = mrope_angle(positions_of(entry.slot, entry.start + row / layer.group), pair, sections_of(pair));
    let cosine = angle[0];
    let sine = angle[1];
`],
  ["attention/mrope/header_mrope.hbs", `// Keys were coded before the rotary embedding, whose sections turn by three positions of a token.
{{> rope_overrides}}
`],
  ["attention/mrope/mrope_dot.hbs", `  for (var pair = 0u; pair < {{source}}_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = {{source}}_grids(block, first);
    let second_grids = {{source}}_grids(block, second);
    let even_queries_0 = query_rows(2u * pair);
    let odd_queries_0 = query_rows(2u * pair + 1u);
    let even_queries_1 = query_rows(2u * pair + 2u);
    let odd_queries_1 = query_rows(2u * pair + 3u);
    let first_sections = sections_of(pair);
    let second_sections = sections_of(pair + 1u);
{{#each pages}}
    if ({{index}}u < {{../span}}) {
      let first_angle = mrope_angle(key_positions[{{index}}], pair, first_sections);
      let second_angle = mrope_angle(key_positions[{{index}}], pair + 1u, second_sections);
      let key = turn(
        pairs_of(
          {{../source}}_key8(first_grids, block, {{place}}, first),
          {{../source}}_key8(second_grids, block, {{place}}, second),
        ),
        Pairs(
          mat2x4<f32>(first_angle[0], second_angle[0]),
          mat2x4<f32>(first_angle[1], second_angle[1]),
        ),
      );
      let first_pairs = add_products(add_products(scores[{{index}}], key.even[0], even_queries_0), key.odd[0], odd_queries_0);
      scores[{{index}}] = add_products(add_products(first_pairs, key.even[1], even_queries_1), key.odd[1], odd_queries_1);
    }
{{/each}}
  }
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
`],
  ["attention/mrope/positions.hbs", `// The positions of a token in time, height and width: they lie behind the page tables, the last slot's first.
fn positions_of(slot: u32, token: u32) -> vec3<u32> {
  let stride = layer.sequence_pages * PAGE_TOKENS;
  let at = arrayLength(&pages) - 3u * (slot + 1u) * stride + token;
  return vec3<u32>(pages[at], pages[at + stride], pages[at + 2u * stride]);
}

// Cosines and sines of pairs 4 pair to 4 pair + 3 at a position.
fn position_angle(position: u32, pair: u32) -> mat2x4<f32> {
  let near = ((position % NEAR) * ROTARY_CHUNKS + pair) * 2u;
  let far = ((NEAR + position / NEAR) * ROTARY_CHUNKS + pair) * 2u;
  return mat2x4<f32>(
    rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u],
    rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u],
  );
}

// The sections of pairs 4 pair to 4 pair + 3: the last row of the rotary table.
fn sections_of(pair: u32) -> vec4<f32> {
  return rope[arrayLength(&rope) - 2u * (ROTARY_CHUNKS - pair)];
}

// Their cosines and sines at a token's positions, each at that of its section.
fn mrope_angle(positions: vec3<u32>, pair: u32, sections: vec4<f32>) -> mat2x4<f32> {
  let first = u32(sections.x);
  var angle = position_angle(positions[first], pair);
  if (any(sections != vec4<f32>(sections.x))) {
    for (var i = 1u; i < 3u; i += 1u) {
      let section = (first + i) % 3u;
      let other = position_angle(positions[section], pair);
      let turns = sections == vec4<f32>(f32(section));
      angle = mat2x4<f32>(select(angle[0], other[0], turns), select(angle[1], other[1], turns));
    }
  }
  return angle;
}
`],
  ["attention/mrope/score_mrope.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> pairs_of}}

{{> turn}}

{{> positions}}

// The positions of the lane's tokens.
var<private> key_positions: array<vec3<u32>, MAX_SPAN>;

// Distances differ by section, so queries and keys are turned by their positions themselves: queries once for all tiles.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> rotate_queries atStart}}
}

// Finds the positions of the lane's tokens. Past the tile's end the last token stands in.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  for (var i = 0u; i < SPAN; i += 1u) {
    key_positions[i] = positions_of(entry.slot, min(tile.first + i * PAGE_TOKENS + lane, tile.end - 1u));
  }
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
{{> mrope_dot coded}}
{{> mrope_dot exactly}}
}
`],
  ["attention/peeked.hbs", `    let peeking = SKIP_BELOW > 0.0 && turn < own + peeks;
    let at = select(turn - peeks, turn - own + tiles.coded, peeking);
    let tile = tile_at(tiles, at);
`],
  ["attention/peeks.hbs", `  // Where tiles may be skipped, exact ones come before all others for their largest scores alone: most weight is there as a rule.
  let own = workgroup.x * share;
  if (own >= end) {
    write_partials(entry, block, workgroup.x, lane);
    return;
  }
  let peeks = select(0u, total - tiles.coded, SKIP_BELOW > 0.0);
`],
  ["attention/places_none.hbs", `{{! A lane has one token of each page. }}
`],
  ["attention/plain_dot.hbs", `  for (var chunk = {{first}}; chunk < {{source}}_chunks; chunk += 2u) {
    let grids = {{source}}_grids(block, chunk);
    let queries_0 = {{queries}}(chunk);
    let queries_1 = {{queries}}(chunk + 1u);
{{#each pages}}
    if ({{index}}u < {{../span}}) {
      let key = {{../source}}_key8(grids, block, {{place}}, chunk);
      scores[{{index}}] = add_products(add_products(scores[{{index}}], key[0], queries_0), key[1], queries_1);
    }
{{/each}}
  }
`],
  ["attention/prepare_none.hbs", `fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}
`],
  ["attention/prepare_values_none.hbs", `{{! Values need nothing in workgroup memory. }}
`],
  ["attention/query.hbs", `{{> query_element}}
{{> query_vector name="query_load4"}}
`],
  ["attention/query_element.hbs", `// Element index of the queries, in the host's element type.
fn query_at(index: u32) -> f32 {
  if (IO_HALF) {
    return unpack2x16float(queries[index >> 1u])[index & 1u];
  }
  return bitcast<f32>(queries[index]);
}
`],
  ["attention/query_items.hbs", `  for (var item = lane; item < ROWS * CHUNKS; item += WORKGROUP) {
    let row = min(block.first_row + item / CHUNKS, block.rows - 1u);
    query_tile[item] = Chunk(query_load4(entry, block.head, row, {{channel}}, {{stride}}));
  }
`],
  ["attention/query_rows.hbs", `// Channels 4 chunk to 4 chunk + 3 of all rows, a column each.
fn {{name}}(chunk: u32) -> Rows {
  return Rows(
    {{tile}}[chunk],
    {{tile}}[CHUNKS + chunk],
    {{tile}}[2u * CHUNKS + chunk],
    {{tile}}[3u * CHUNKS + chunk],
  );
}
`],
  ["attention/query_scaled.hbs", `{{> query_element}}

// Products in f16 end at 65504: rows are taken times a power of two that keeps any product with four channels of a key below.
var<workgroup> row_tops: array<atomic<u32>, ROWS>; // the largest magnitude of a row, as bits
var<private> row_factors: vec4<f32>;
var<private> row_units: vec4<f32>; // what undoes them

{{> query_vector name="query_plain4"}}

// The same times the row's factor. A block's first row is a multiple of ROWS.
fn query_load4(entry: Entry, head: u32, row: u32, channel: u32, stride: u32) -> vec4<f32> {
  return row_factors[row % ROWS] * query_plain4(entry, head, row, channel, stride);
}

// Finds the factors: magnitudes become less than a quarter, times the square root of two where channels are rotated.
fn scale_rows(entry: Entry, block: Block, lane: u32) {
  for (var item = lane; item < ROWS * CHUNKS; item += WORKGROUP) {
    let row = min(block.first_row + item / CHUNKS, block.rows - 1u);
    let query = abs(query_plain4(entry, block.head, row, (item % CHUNKS) * 4u, 1u));
    let top = max(max(query.x, query.y), max(query.z, query.w));
    atomicMax(&row_tops[row % ROWS], bitcast<u32>(top));
  }
  workgroupBarrier();
  for (var row = 0u; row < ROWS; row += 1u) {
    let exponent = clamp(atomicLoad(&row_tops[row]) >> 23u, 1u, 250u);
    row_factors[row] = bitcast<f32>((251u - exponent) << 23u);
    row_units[row] = bitcast<f32>((exponent + 3u) << 23u);
  }
}
`],
  ["attention/query_vector.hbs", `// Channels 4 chunk to 4 chunk + 3 of a query row, times the softmax scale.
fn {{name}}(entry: Entry, head: u32, row: u32, channel: u32, stride: u32) -> vec4<f32> {
  let token = entry.first + row / layer.group;
  let query_head = (layer.first_head + head) * layer.group + row % layer.group;
  let at = token * layer.query_token_stride + query_head * layer.query_head_stride + channel;
  return layer.scale *
    vec4<f32>(
      query_at(at),
      query_at(at + stride),
      query_at(at + 2u * stride),
      query_at(at + 3u * stride),
    );
}
`],
  ["attention/remap.wgsl.hbs", `const WORKGROUP: u32 = {{workgroupSize}}u;

{{> uniforms}}

{{> bindings}}

var<workgroup> lows: array<f32, WORKGROUP>;
var<workgroup> highs: array<f32, WORKGROUP>;

// Narrows the range of a row's scores over a span, from m to M, by layer.remap: a score a becomes
// m + (a - m) * max(0, 1 - remap / (M - m)), after CalibQuant (arXiv 2502.14882), with a factor that is never negative.
// Grid: (query heads, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  if (workgroup.y >= entry.count) {
    return;
  }
  let first = ((entry.first + workgroup.y) * layer.query_heads + workgroup.x) * step.score_stride;
  let tokens = entry.exact_from; // all of the span
  var low = 3.0e38;
  var high = -3.0e38;
  for (var token = lane; token < tokens; token += WORKGROUP) {
    low = min(low, row_scores_written[first + token]);
    high = max(high, row_scores_written[first + token]);
  }
  lows[lane] = low;
  highs[lane] = high;
  workgroupBarrier();
  for (var other = 0u; other < WORKGROUP; other += 1u) {
    low = min(low, lows[other]);
    high = max(high, highs[other]);
  }
  // Where all scores are alike there is no range: they stay.
  let factor = select(1.0, max(0.0, 1.0 - layer.remap / (high - low)), high > low);
  for (var token = lane; token < tokens; token += WORKGROUP) {
    row_scores_written[first + token] = low + (row_scores_written[first + token] - low) * factor;
  }
}
`],
  ["attention/rope/angle_by_distance.hbs", `    let position = entry.start + row / layer.group;
    let distance = position - min({{origin}}, position);
    let near = ((distance % NEAR) * ROTARY_CHUNKS + pair) * 2u;
    let far = ((NEAR + distance / NEAR) * ROTARY_CHUNKS + pair) * 2u;
    let cosine = rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u];
    let sine = rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u];
`],
  ["attention/rope/header_rope.hbs", `// Keys were coded before the rotary embedding.
{{> rope_overrides}}
`],
  ["attention/rope/pairs.hbs", `{{> pairs_of}}

// The angles of pairs pair and pair + 1, in fours, at a distance that the rotary table has.
fn angle_at(distance: u32, pair: u32) -> Pairs {
  let at = (distance * ROTARY_CHUNKS + pair) * 2u;
  return Pairs(mat2x4<f32>(rope[at], rope[at + 2u]), mat2x4<f32>(rope[at + 1u], rope[at + 3u]));
}

{{> turn}}
`],
  ["attention/rope/pairs_of.hbs", `// Eight pairs of channels that rotate together, four a column; an angle is its cosines and its sines.
struct Pairs {
  even: mat2x4<f32>,
  odd: mat2x4<f32>,
}

// The pairs among chunks first and first + 1, second and second + 1 of a vector.
fn pairs_of(first: mat2x4<f32>, second: mat2x4<f32>) -> Pairs {
  if (INTERLEAVED) {
    return Pairs(
      mat2x4<f32>(vec4<f32>(first[0].xz, first[1].xz), vec4<f32>(second[0].xz, second[1].xz)),
      mat2x4<f32>(vec4<f32>(first[0].yw, first[1].yw), vec4<f32>(second[0].yw, second[1].yw)),
    );
  }
  return Pairs(first, second);
}
`],
  ["attention/rope/prepare_rope.hbs", `// Puts the block's rows, rotated to the tile's origin, into query_tile: pair by pair (even, odd), then what does not rotate.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
{{> rotate_queries atTile}}
}
`],
  ["attention/rope/rope_dot.hbs", `  for (var pair = 0u; pair < {{source}}_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = {{source}}_grids(block, first);
    let second_grids = {{source}}_grids(block, second);
    let even_queries_0 = query_rows(2u * pair);
    let odd_queries_0 = query_rows(2u * pair + 1u);
    let even_queries_1 = query_rows(2u * pair + 2u);
    let odd_queries_1 = query_rows(2u * pair + 3u);
    // A page on, a key is turned by a page's angle more.
    let page = angle_at(PAGE_TOKENS, pair);
    var angle = angle_at(lane, pair);
{{#each pages}}
    if ({{index}}u < {{../span}}) {
      let key = turn(
        pairs_of(
          {{../source}}_key8(first_grids, block, {{place}}, first),
          {{../source}}_key8(second_grids, block, {{place}}, second),
        ),
        angle,
      );
      let first_pairs = add_products(add_products(scores[{{index}}], key.even[0], even_queries_0), key.odd[0], odd_queries_0);
      scores[{{index}}] = add_products(add_products(first_pairs, key.even[1], even_queries_1), key.odd[1], odd_queries_1);
      angle = turn(angle, page);
    }
{{/each}}
  }
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
`],
  ["attention/rope/rope_overrides.hbs", `override INTERLEAVED: bool = false; // pairs are (2i, 2i + 1), not (i, i + half)
override ROTARY_CHUNKS: u32 = CHUNKS / 2u; // pairs of channels that rotate, in fours
`],
  ["attention/rope/rotate_queries.hbs", `  let items = CHUNKS - ROTARY_CHUNKS;
  let stride = select(1u, 2u, INTERLEAVED);
  for (var item = lane; item < ROWS * items; item += WORKGROUP) {
    let tile_row = item / items;
    let pair = item % items;
    let row = min(block.first_row + tile_row, block.rows - 1u);
    if (pair >= ROTARY_CHUNKS) {
      let chunk = pair + ROTARY_CHUNKS;
      query_tile[tile_row * CHUNKS + chunk] = Chunk(query_load4(entry, block.head, row, chunk * 4u, 1u));
      continue;
    }
    let first = select(pair * 4u, pair * 8u, INTERLEAVED);
    let second = select((pair + ROTARY_CHUNKS) * 4u, pair * 8u + 1u, INTERLEAVED);
    let even = {{loadRow}}(entry, block.head, row, first, stride);
    let odd = {{loadRow}}(entry, block.head, row, second, stride);
{{> (lookup . "anglePartial")}}
    query_tile[tile_row * CHUNKS + 2u * pair] = Chunk(even * cosine - odd * sine);
    query_tile[tile_row * CHUNKS + 2u * pair + 1u] = Chunk(odd * cosine + even * sine);
  }
  workgroupBarrier();
`],
  ["attention/rope/score_rope.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> pairs}}

// RoFormer (arXiv 2104.09864): a score depends on positions by their difference alone. So a tile rotates its keys
// by their distance from its first token, at most TILE - 1, and its queries by theirs, and one small table serves any length.
fn prepare_block(entry: Entry, block: Block, lane: u32) {}

{{> (lookup . "preparePartial")}}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
{{> rope_dot coded}}
{{> rope_dot exactly}}
}
`],
  ["attention/rope/turn.hbs", `// Turns pairs by an angle; angles add in the same way.
fn turn(pairs: Pairs, angle: Pairs) -> Pairs {
  let cosine = angle.even;
  let sine = angle.odd;
  return Pairs(
    mat2x4<f32>(
      pairs.even[0] * cosine[0] - pairs.odd[0] * sine[0],
      pairs.even[1] * cosine[1] - pairs.odd[1] * sine[1],
    ),
    mat2x4<f32>(
      pairs.odd[0] * cosine[0] + pairs.even[0] * sine[0],
      pairs.odd[1] * cosine[1] + pairs.even[1] * sine[1],
    ),
  );
}
`],
  ["attention/scale_none.hbs", `{{! Products in f32 have room. }}
`],
  ["attention/scale_rows.hbs", `  scale_rows(entry, block, lane);
`],
  ["attention/score.wgsl.hbs", `{{> attention_constants}}
override IO_HALF: bool = false; // the host's tensors hold f16, not f32
{{#with key}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> (lookup . "chunkPartial")}}

var<workgroup> query_tile: array<Chunk, ROWS * CHUNKS>;
var<private> scores: array<vec4<f32>, MAX_SPAN>;

{{> tiers}}

{{> pages}}

{{> tiles}}
{{> (lookup . "placesPartial")}}

{{> block}}

{{> load_exact}}

{{> grid}}

{{> (lookup . "codebookPartial")}}

{{#with key}}
{{> (lookup . "chunksPartial")}}
{{/with}}

{{> query}}

{{> query_rows atQuery}}

{{> key_sources}}

{{> (lookup . "scorePartial")}}

{{> score_tile}}

{{> (lookup . "rotationPartial")}}

// Grid: (splits, KV heads, entries x row blocks).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
{{> workgroup_share}}
  prepare_block(entry, block, lane);
  for (var at = workgroup.x * share; at < end; at += 1u) {
    let tile = tile_at(tiles, at);
    workgroupBarrier(); // the tile before is scored
    prepare_tile(entry, block, tile, lane);
    score_tile(entry, block, tile, lane);
    for (var row = 0u; row < min(ROWS, block.rows - block.first_row); row += 1u) {
      let first = global_row(entry, block, row) * step.score_stride + at * TILE + {{lanePlace}};
      for (var i = 0u; i < SPAN; i += 1u) {
        row_scores_written[first + i * {{placeStep}}] = scores[i][row];
      }
    }
  }
}
`],
  ["attention/score_plain.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> (lookup . "preparePartial")}}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
{{> plain_dot coded first="0u"}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["attention/score_tile.hbs", `// Scores of the lane's tokens of the tile, HIDDEN where a row does not see a token.
fn score_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
{{> (lookup . "findPlacesPartial")}}
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = vec4<f32>();
  }
  find_keys(entry, block, tile, lane);
  if (tile.first + {{lanePlace}} < tile.end) {
    score_tokens(block, tile, lane);
  }
  var first = vec4<u32>();
  var end = vec4<u32>(); // of the positions that each row sees
  for (var row = 0u; row < ROWS; row += 1u) {
    let at = block.first_row + row;
    let range = visible(entry, tile, entry.start + at / layer.group);
    first[row] = range.x;
    end[row] = select(0u, range.y, at < block.rows);
  }
{{#each remaps}}
  for (var i = 0u; i < SPAN; i += 1u) {
    var score = scores[i];
{{> (lookup . "remapPartial")}}
    scores[i] = score;
  }
{{/each}}
  if (SOFTCAP) {
    let cap = vec4<f32>(layer.softcap);
    for (var i = 0u; i < SPAN; i += 1u) {
      // Clamped because tanh may overflow where it has long been 1.
      scores[i] = cap * tanh(clamp(scores[i] / cap, vec4<f32>(-20.0), vec4<f32>(20.0)));
    }
  }
  // Most tiles are seen whole.
  if (!all((first <= vec4<u32>(tile.first)) & (end >= vec4<u32>(tile.first + TILE)))) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let position = vec4<u32>(tile.first + i * {{placeStep}} + {{lanePlace}});
      scores[i] = select(vec4<f32>(HIDDEN), scores[i], (position >= first) & (position < end));
    }
  }
}
`],
  ["attention/softened_weight.hbs", `      weights[i * {{placeStep}} + {{lanePlace}}] = weight;
      row_sum += weight;
`],
  ["attention/staged/part_staged.hbs", `  let workgroup = vec3<u32>(id.x / PARTS, id.yz);
  first_chunk = id.x % PARTS * (CHUNKS / PARTS);
`],
  ["attention/staged/part_whole.hbs", `  let workgroup = id;
`],
  ["attention/staged/stage_centroids.hbs", `  stage_centroids(block, lane);
`],
  ["attention/staged/stage_none.hbs", `{{! Centroids are read where they are. }}
`],
  ["attention/staged/staged_pair.hbs", `fn staged_pair_at(pair: u32) -> vec2<u32> {
  return staged[pair - first_staged];
}
`],
  ["attention/staged/staged_word.hbs", `fn staged_word(at: u32) -> u32 {
  return staged[at - first_staged];
}
`],
  ["attention/staged/staging.hbs", `const PARTS: u32 = {{parts}}u; // workgroups that share the channels of a head
const STAGED: u32 = {{stagedUnits}}u; // {{stagedName}} of centroids of a part
var<workgroup> staged: array<{{stagedType}}, STAGED>;
var<private> first_chunk: u32; // of the workgroup's part
var<private> first_staged: u32; // in the codebooks

{{> (lookup . "stagedUnitPartial")}}

// Puts the centroids of the part's channels, which lie behind the grids of all, into workgroup memory.
fn stage_centroids(block: Block, lane: u32) {
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  first_staged = (codebook + HEAD_DIM) / {{unitWords}}u + first_chunk / (CHUNKS / PARTS) * STAGED;
  for (var i = lane; i < STAGED; i += WORKGROUP) {
    staged[i] = {{stagedFrom}}[first_staged + i];
  }
  workgroupBarrier();
}
`],
  ["attention/staged/staging_none.hbs", `{{! Centroids are read where they are. }}
`],
  ["attention/sum_chunks.hbs", `    sums[1] = sum_chunk(mixed[1], lane);
    sums[2] = sum_chunk(mixed[2], lane);
    sums[3] = sum_chunk(mixed[3], lane);
`],
  ["attention/sum_chunks_wide.hbs", `    for (var i = 1u; i < LANE_CHUNKS; i += 1u) {
      sums[i] = sum_chunk(mixed[i], lane);
    }
`],
  ["attention/sum_units_none.hbs", `{{! Weights are mixed as they are. }}
`],
  ["attention/tables/code_channel_none.hbs", `{{! A channel has one code. }}
`],
  ["attention/tables/code_grid.hbs", `  let grid = unpack2x16float(codebooks[codebook + channel]);
`],
  ["attention/tables/entry_f16.hbs", `// What a channel adds to every entry of its group: entries count from the middle of the grids, because f16 has few digits.
fn entry_origin(low: f32, level_step: f32) -> f32 {
  return -127.5 * level_step;
}

{{> write_f16}}
`],
  ["attention/tables/entry_f16_low.hbs", `{{> origin_low}}

{{> write_f16}}
`],
  ["attention/tables/entry_f32.hbs", `{{> origin_low}}

fn write_entry(at: u32, products: vec4<f32>) {
  table_written[at] = products;
}
`],
  ["attention/tables/first_centroid_none.hbs", `{{! A head's centroids follow its grids. }}
`],
  ["attention/tables/header_lut.hbs", `// Coded keys are scored by a lookup table of q.centroid.
const LUT_ENTRIES: u32 = KEY_CODES * KEY_CENTROIDS;
`],
  ["attention/tables/header_table.hbs", `// Coded keys are scored by a lookup table of q.centroid.
const TABLE_ENTRIES: u32 = KEY_CODES * KEY_CENTROIDS;
`],
  ["attention/tables/header_table16.hbs", `// Coded keys are scored by a lookup table of q.centroid in f16, counted from the middle of the grids.
const TABLE_ENTRIES: u32 = KEY_CODES * KEY_CENTROIDS;
`],
  ["attention/tables/lut_sums.hbs", `  for (var group = 0u; group < coded_codes; group += {{key.laneCodes.length}}u) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let codes = key_codes(key_at[i].word, key_at[i].token, group);
{{#each key.laneCodes}}
      scores[i] += lut[(group + {{index}}u) * KEY_CENTROIDS + codes[{{index}}]];
{{/each}}
    }
  }
`],
  ["attention/tables/origin_low.hbs", `// What a channel adds to every entry of its group.
fn entry_origin(low: f32, level_step: f32) -> f32 {
  return low;
}
`],
  ["attention/tables/score_lut.hbs", `// q.centroid of every group and code, for all rows: a coded score is then one addition per code.
var<workgroup> lut: array<vec4<f32>, LUT_ENTRIES>;

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  for (var item = lane; item < LUT_ENTRIES; item += WORKGROUP) {
    // Initialised by hand: naga clears a variable declared in a loop only once.
    var products = vec4<f32>();
    for (var i = 0u; i < KEY_CHANNELS; i += 1u) {
      let channel = item / KEY_CENTROIDS * KEY_CHANNELS + i;
      let at = item * KEY_CHANNELS + i;
      let word = codebook_word(codebook + HEAD_DIM + (at >> 2u));
      let grid = unpack2x16float(codebook_word(codebook + channel));
      let centroid = grid.x + levels_of(word >> ((at & 3u) * 8u)).x * (grid.y / 64.0);
      var queries_1 = vec4<f32>();
      for (var row = 0u; row < ROWS; row += 1u) {
        queries_1[row] = query_tile[row * CHUNKS + channel / 4u][channel % 4u];
      }
      products += centroid * queries_1;
    }
    lut[item] = products;
  }
  workgroupBarrier();
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_codes = trips(tile, true, KEY_CODES);
  let exact_chunks = trips(tile, false, CHUNKS);
{{> lut_sums}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["attention/tables/score_table.hbs", `// The lookup table of q.centroid is too large for workgroup memory: a table kernel has put it into a storage buffer.
{{> table_place}}
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_codes = trips(tile, true, KEY_CODES);
  let exact_chunks = trips(tile, false, CHUNKS);
  let first = table_of(block) * TABLE_ENTRIES;
{{> table_sums}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["attention/tables/score_table16.hbs", `// The lookup table of q.centroid is too large for workgroup memory: a table kernel has put it into a storage buffer.
{{> table_place}}

{{> centroid_grid key}}

var<workgroup> middles: array<vec4<f32>, CHUNKS>;
var<private> middle: vec4<f32>; // the product of each row and the middle of the grids

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let grid = key_grid(codebook, chunk);
    middles[chunk] = vec4<f32>(Chunk(grid.low + 127.5 * grid.step) * query_rows(chunk));
  }
  workgroupBarrier();
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    middle += middles[chunk];
  }
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_codes = trips(tile, true, KEY_CODES);
  let exact_chunks = trips(tile, false, CHUNKS);
  let first = table_of(block) * TABLE_ENTRIES;
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = select(vec4<f32>(), middle, tile.coded);
  }
{{> table16_sums}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["attention/tables/stages_none.hbs", `{{! A channel has one code. }}
`],
  ["attention/tables/table.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const ROWS: u32 = {{rows}}u; // query rows of one table: the components of one vec4
const CHANNELS: u32 = {{channels}}u; // channels per code
const CENTROIDS: u32 = {{centroids}}u;
const CODES: u32 = {{codes}}u; // codes per token
const CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{> (lookup . "stagesPartial")}}
const LANE_ENTRIES: u32 = {{laneEntries}}u; // entries of one invocation, of one group
const SHARE: u32 = WORKGROUP * LANE_ENTRIES; // entries of a workgroup
const WORD_LEVELS: u32 = {{wordLevels}}u; // levels of one centroid in a word
const STAGED: u32 = {{staged}}u; // channels they belong to

override IO_HALF: bool = false; // the host's tensors hold f16, not f32

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> block}}

{{> query_element}}

{{> levels}}

var<workgroup> origins: array<vec4<f32>, STAGED>; // what a channel adds to every entry of its group
var<workgroup> level_steps: array<vec4<f32>, STAGED>; // what a level adds

{{> table_place}}

{{> (lookup . "entryPartial")}}

// q.centroid, times the softmax scale, of every group and code, for a block of query rows.
// Grid: (entries of the table / LANE_ENTRIES / workgroup size, KV heads, entries x row blocks).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z / blocks_per_entry()];
  let index = workgroup.z % blocks_per_entry();
  if (index * ROWS >= entry.count * layer.group) {
    return;
  }
  let block = block_of(entry, index, workgroup);
  let codebook = block.head * CODEBOOK_WORDS;
  let first_channel = workgroup.x * SHARE / CENTROIDS * CHANNELS;
  for (var i = lane; i < min(STAGED, {{codeChannels}} - first_channel); i += WORKGROUP) {
    stage_channel(entry, block, codebook, first_channel + i, i);
  }
  workgroupBarrier();

  let first = (workgroup.x * WORKGROUP + lane) * LANE_ENTRIES;
  if (first >= CODES * CENTROIDS) {
    return;
  }
  let staged = first / CENTROIDS * CHANNELS - first_channel;
  var origin = vec4<f32>();
  var level_step = array<vec4<f32>, CHANNELS>();
  for (var i = 0u; i < CHANNELS; i += 1u) {
    origin += origins[staged + i];
    level_step[i] = level_steps[staged + i];
  }
{{> (lookup . "firstCentroidPartial")}}
  let table = table_of(block) * CODES * CENTROIDS;
  for (var item = first; item < first + LANE_ENTRIES; item += 1u) {
    var products = origin;
    for (var i = 0u; i < CHANNELS; i += WORD_LEVELS) {
      let at = item * CHANNELS + i;
      let levels = levels_of(codebooks[{{firstCentroid}} + at / 4u] >> (at % 4u * 8u));
      for (var j = 0u; j < WORD_LEVELS; j += 1u) {
        products += levels[j] * level_step[i + j];
      }
    }
    write_entry(table + item, products);
  }
}

fn stage_channel(entry: Entry, block: Block, codebook: u32, {{codeChannel}}: u32, at: u32) {
{{> (lookup . "codeChannelPartial")}}
  var query = vec4<f32>();
  for (var row = 0u; row < ROWS; row += 1u) {
    let row_at = min(block.first_row + row, block.rows - 1u);
    query[row] = query_at(
      (entry.first + row_at / layer.group) * layer.query_token_stride +
        (block.head * layer.group + row_at % layer.group) * layer.query_head_stride + channel,
    );
  }
  let q = layer.scale * query;
{{> (lookup . "codeGridPartial")}}
  origins[at] = q * entry_origin(grid.x, grid.y / 64.0);
  level_steps[at] = q * (grid.y / 64.0);
}
`],
  ["attention/tables/table16_sums.hbs", `  for (var group = 0u; group < coded_codes; group += {{key.laneCodes.length}}u) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let codes = key_codes(key_at[i].word, key_at[i].token, group);
{{#each key.laneCodes}}
      let entry_{{index}} = table16[first + (group + {{index}}u) * KEY_CENTROIDS + codes[{{index}}]];
      scores[i] += vec4<f32>(unpack2x16float(entry_{{index}}.x), unpack2x16float(entry_{{index}}.y));
{{/each}}
    }
  }
`],
  ["attention/tables/table_place.hbs", `// Which of the lookup tables serves a block of query rows.
fn table_of(block: Block) -> u32 {
  return block.table * (layer.query_heads / layer.group) + layer.first_head + block.head;
}
`],
  ["attention/tables/table_sums.hbs", `  for (var group = 0u; group < coded_codes; group += {{key.laneCodes.length}}u) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let codes = key_codes(key_at[i].word, key_at[i].token, group);
{{#each key.laneCodes}}
      scores[i] += table[first + (group + {{index}}u) * KEY_CENTROIDS + codes[{{index}}]];
{{/each}}
    }
  }
`],
  ["attention/tables/write_f16.hbs", `fn write_entry(at: u32, products: vec4<f32>) {
  let bounded = clamp(products, vec4<f32>(-65504.0), vec4<f32>(65504.0));
  table16_written[at] = vec2<u32>(pack2x16float(bounded.xy), pack2x16float(bounded.zw));
}
`],
  ["attention/tiles.hbs", `// The tokens a block of query rows sees, cut into tiles of consecutive tokens: coded tiles (each is SPAN pages), then sinks,
// then the ring, whose tiles are smaller, because there are few exact tokens as a rule.
struct Tiles {
  coded_first: u32, // first token of the first coded tile, counted from behind the sinks
  coded: u32, // number of coded tiles from there
  sinks: u32, // number of tiles of sinks
  ring: u32, // number of tiles of recent tokens
  coded_end: u32, // one past the last coded position
  sinks_end: u32,
  ring_first: u32, // first position in the ring's tiles
  ring_end: u32,
}

struct Tile {
  coded: bool,
  ring: bool,
  first: u32, // position of its first token
  end: u32, // one past the position of its last token
}

// The oldest position that the query at position may see.
fn oldest_seen(position: u32) -> u32 {
  return position + 1u - min(layer.sliding_window, position + 1u);
}

fn tiles_between(entry: Entry, first_position: u32, last_position: u32) -> Tiles {
  var tiles: Tiles;
  let next = last_position + 1u;
  let seen = oldest_seen(first_position);
  tiles.coded_end = layer.sinks + coded_visible(entry, last_position);
  let coded_tokens = tiles.coded_end - layer.sinks;
  // What lies behind a sliding window is given up in multiples of NEAR tokens.
  tiles.coded_first = min((max(seen, layer.sinks) - layer.sinks) / NEAR * NEAR, coded_tokens);
  tiles.coded = (coded_tokens - tiles.coded_first + TILE - 1u) / TILE;
  tiles.sinks_end = select(min(layer.sinks, next), 0u, seen >= layer.sinks);
  tiles.sinks = (tiles.sinks_end + EXACT_TILE - 1u) / EXACT_TILE;
  tiles.ring_first = max(layer.sinks + coded_visible(entry, first_position), seen);
  tiles.ring_end = select(next, 0u, layer.recent == 0u);
  tiles.ring = (tiles.ring_end - min(tiles.ring_first, tiles.ring_end) + EXACT_TILE - 1u) / EXACT_TILE;
  return tiles;
}

fn tile_at(tiles: Tiles, index: u32) -> Tile {
  if (index < tiles.coded) {
    let first = layer.sinks + tiles.coded_first + index * TILE;
    return Tile(true, false, first, min(first + TILE, tiles.coded_end));
  }
  if (index < tiles.coded + tiles.sinks) {
    let first = (index - tiles.coded) * EXACT_TILE;
    return Tile(false, false, first, min(first + EXACT_TILE, tiles.sinks_end));
  }
  let first = tiles.ring_first + (index - tiles.coded - tiles.sinks) * EXACT_TILE;
  return Tile(false, true, first, min(first + EXACT_TILE, tiles.ring_end));
}

// The positions of the tile that the query at position sees: from x up to but not including y.
fn visible(entry: Entry, tile: Tile, position: u32) -> vec2<u32> {
  let coded_end = layer.sinks + coded_visible(entry, position);
  let end = select(position + 1u, coded_end, tile.coded);
  let oldest = max(select(0u, coded_end, tile.ring), oldest_seen(position));
  return vec2<u32>(oldest, min(end, tile.end));
}
`],
  ["attention/unit_none.hbs", `    let kept = rescale;
`],
  ["attention/weight_exact.hbs", `      let weight = exp(scores[i] - seen);
`],
  ["attention/weights_floats.hbs", `var<workgroup> weights: array<vec4<f32>, TILE>;
`],
  ["attention/workgroup_share.hbs", `  let entry = step.entries[workgroup.z / blocks_per_entry()];
  let index = workgroup.z % blocks_per_entry();
  if (index * ROWS >= entry.count * layer.group) {
    return;
  }
  let block = block_of(entry, index, workgroup);
  let tiles = tiles_between(entry, block.first_position, block.last_position);
  let total = tiles.coded + tiles.sinks + tiles.ring;
  let share = (total + step.splits - 1u) / step.splits;
  let end = min((workgroup.x + 1u) * share, total);
`],
  ["exact_tier/load.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;

override SIDE: u32 = 0u; // 0 loads keys, 1 values
override IO_HALF: bool = false; // the host's tensors hold f16, not f32

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> write_vector}}

// Copies count tokens from position start on out of the exact tier into the host's tensor.
// Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z];
  if (item.y >= entry.count || item.x >= layer.kv_heads * CHUNKS) {
    return;
  }
  let head = item.x / CHUNKS;
  let chunk = item.x % CHUNKS;
  let at = exact_word(entry.slot, SIDE, entry.start + item.y, head) + chunk * 2u;
  let vector = vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
  write_vector(entry.first + item.y, layer.first_head + head, chunk, vector);
}
`],
  ["exact_tier/store.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;

override SIDE: u32 = 0u; // the first side that a dispatch stores: 0 keys, 1 values
override SIDES: u32 = 2u; // sides that it stores: those of HEAD_DIM channels
override IO_HALF: bool = false; // the host's tensors hold f16, not f32

{{> uniforms}}

{{> bindings}}

{{> tiers}}

fn tensor_word(side: u32, word: u32) -> u32 {
  if (side == 0u) {
    return keys[word];
  }
  return values[word];
}

// Two numbers as f16 can hold them, in a floating-point format given by its sign bit, its infinity and what it has for the
// largest finite f16: what lies beyond that becomes the largest of its sign, and what is no number 0. Both are counted. Bits
// tell them apart, because compilers take it that neither infinities nor NaNs come up.
fn finite(channels: vec2<u32>, sign: u32, infinity: u32, largest: u32) -> vec2<u32> {
  let magnitudes = channels & vec2<u32>(sign - 1u);
  let nan = magnitudes > vec2<u32>(infinity);
  let beyond = (magnitudes > vec2<u32>(largest)) & !nan;
  if (any(beyond | nan)) {
    let counts = select(vec4<u32>(), vec4<u32>(1u), vec4<bool>(beyond, nan));
    atomicAdd(&counters[0], counts.x + counts.y);
    atomicAdd(&counters[1], counts.z + counts.w);
  }
  let signs = channels & vec2<u32>(sign);
  return select(signs | min(magnitudes, vec2<u32>(largest)), vec2<u32>(), nan);
}

// Puts a step's keys and values into the exact tier as f16, two channels to a word, all of them finite.
// Grid: (words of one token / workgroup size, most tokens of an entry, entries x SIDES).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z / SIDES];
  let side = SIDE + item.z % SIDES;
  if (item.y >= entry.count || item.x >= layer.kv_heads * (HEAD_DIM / 2u)) {
    return;
  }
  let head = item.x / (HEAD_DIM / 2u);
  let host_head = layer.first_head + head;
  let pair = item.x % (HEAD_DIM / 2u);
  let token = entry.first + item.y;
  var at = token * layer.key_token_stride + host_head * layer.key_head_stride + pair * 2u;
  if (side == 1u) {
    at = token * layer.value_token_stride + host_head * layer.value_head_stride + pair * 2u;
  }
  let to = exact_word(entry.slot, side, entry.start + item.y, head) + pair;
  if (IO_HALF) {
    let word = tensor_word(side, at >> 1u);
    let halves = finite(vec2<u32>(word & 0xffffu, word >> 16u), 0x8000u, 0x7c00u, 0x7bffu);
    exact_written[to] = halves.x | (halves.y << 16u);
  } else {
    let channels = vec2<u32>(tensor_word(side, at), tensor_word(side, at + 1u));
    let singles = finite(channels, 0x80000000u, 0x7f800000u, 0x477fe000u);
    exact_written[to] = pack2x16float(bitcast<vec2<f32>>(singles));
  }
}
`],
  ["frame/bindings.hbs", `{{#each bindings}}
@group(0) @binding({{index}}) var<{{space}}> {{name}}: {{type}};
{{/each}}
`],
  ["frame/bounded.hbs", `// Numbers as f16 holds them: the largest of their sign for what lies beyond. Written so that a NaN stays one.
fn bounded(numbers: vec4<f32>) -> vec4<f32> {
  return select(numbers, sign(numbers) * 65504.0, abs(numbers) > vec4<f32>(65504.0));
}
`],
  ["frame/pages.hbs", `// First word of a head's records in page page of the sequence in slot, for records of record_tokens tokens and record_words words.
fn page_word(slot: u32, head: u32, page: u32, record_tokens: u32, record_words: u32) -> u32 {
  let physical = pages[layer.page_table + slot * layer.sequence_pages + page];
  return (physical * layer.kv_heads + head) * (PAGE_TOKENS / record_tokens) * record_words;
}
`],
  ["frame/tiers.hbs", `// A query at position i sees token j <= i exactly where j < sinks or j > i - window, else by its code; of the tokens that
// leave the window, a block that is not complete is still seen exactly. Coded tokens are counted from behind the sinks.

// How many coded tokens a query at position sees.
fn coded_visible(entry: Entry, position: u32) -> u32 {
  let next = position + 1u;
  let aged = next - min(layer.sinks + layer.window, next);
  let lost = min(entry.exact_from, next);
  return max(aged - aged % layer.block, lost - min(layer.sinks, lost));
}

// The exact buffer's slot of the token at position.
fn exact_slot(position: u32) -> u32 {
  if (position < layer.sinks) {
    return position;
  }
  return layer.sinks + (position - layer.sinks) % layer.ring;
}

// First word of the exact vector of a head at position; side 0 holds keys, side 1 values.
fn exact_word(slot: u32, side: u32, position: u32, head: u32) -> u32 {
  let first = slot * layer.slot_words + side * layer.side_words;
  return first + (exact_slot(position) * layer.kv_heads + head) * (HEAD_DIM / 2u);
}
`],
  ["frame/uniforms.hbs", `// One sequence's share of a step; its first token is row first of the host's buffers.
struct Entry {
  slot: u32,
  start: u32, // tokens in the sequence before the step
  count: u32, // tokens the step adds
  first: u32,
  encode_from: u32, // first coded token the step encodes, counted behind the sinks
  exact_from: u32, // no token before this position, sinks apart, is held exactly
  first_partial: u32, // the first partial result of each row that is written
  partials: u32, // partial results of each row
}

struct Step {
  entry_count: u32,
  max_count: u32, // most tokens of one entry
  splits: u32, // workgroups that share the tokens of one row
  score_stride: u32, // scores per row in the score buffer
  partial_stride: u32, // partial results per row in their buffer
  reserved_0: u32,
  reserved_1: u32,
  reserved_2: u32,
  entries: array<Entry, {{stepEntries}}>,
}

// One layer, as far as the bound buffers hold it: a layer whose records exceed one binding is split by KV heads.
struct Layer {
  first_head: u32, // first KV head of the bound records and exact tier
  kv_heads: u32, // number of KV heads from there
  query_heads: u32, // of the whole layer
  group: u32, // query heads per KV head
  sinks: u32,
  window: u32,
  block: u32, // tokens the window gives up at once
  ring: u32, // slots of the ring that holds the recent tokens
  page_table: u32, // first word of the layer's page tables
  sequence_pages: u32, // pages in one sequence's page table
  scale: f32,
  softcap: f32, // 0 where scores are not capped
  key_scale: u32, // word offset of the keys' channel scale in codebooks; 0 where there is none
  value_scale: u32,
  value_codebook: u32, // word offset of the values' centroids in codebooks
  key_token_stride: u32,
  key_head_stride: u32,
  value_token_stride: u32,
  value_head_stride: u32,
  query_token_stride: u32,
  query_head_stride: u32,
  output_token_stride: u32,
  output_head_stride: u32,
  sliding_window: u32, // most recent tokens a query may see
  slot_words: u32, // words of the exact tier from one slot's to the next's; 0 where one tier serves all
  recent: u32, // 0 where queries see no token of the ring
  remap: f32, // what a span's range of scores is narrowed by; 0 where it is not
  side_words: u32, // words of the exact tier from a slot's keys to its values
}
`],
  ["frame/write_vector.hbs", `{{> bounded}}

// Writes channels 4 chunk to 4 chunk + 3 of a head of the layer into the host's tensor, which lies as its keys or values do.
fn write_vector(token: u32, head: u32, chunk: u32, vector: vec4<f32>) {
  var at = token * layer.key_token_stride + head * layer.key_head_stride + chunk * 4u;
  if (SIDE == 1u) {
    at = token * layer.value_token_stride + head * layer.value_head_stride + chunk * 4u;
  }
  if (IO_HALF) {
    let halves = bounded(vector);
    vectors[at / 2u] = pack2x16float(halves.xy);
    vectors[at / 2u + 1u] = pack2x16float(halves.zw);
  } else {
    vectors[at] = bitcast<u32>(vector.x);
    vectors[at + 1u] = bitcast<u32>(vector.y);
    vectors[at + 2u] = bitcast<u32>(vector.z);
    vectors[at + 3u] = bitcast<u32>(vector.w);
  }
}
`],
  ["kmeans/kmeans_assign.wgsl.hbs", `const CHANNELS: u32 = {{channels}}u; // channels per group
const ROW: u32 = {{rowLength}}u; // vec4s of a centroid: its channels, then its bias
const TABLE_ROWS: u32 = {{tableRows}}u; // centroids the uniform binding holds
const WORKGROUP: u32 = {{workgroupSize}}u;
const QUADS: u32 = {{quadCount}}u; // quads, that is four samples, of one invocation

{{> kmeans_batch}}

{{> bindings}}

// The nearest centroid of every sample (Coupled Quantization, arXiv 2405.03917 §3), ties to the lowest index: the largest x.c - |c|^2/2,
// where the second term is the centroid's bias. The host centres the samples, so that nothing cancels.
// Centroids are a uniform binding, which every adapter reads fast where all invocations read the same element; the loops are unrolled
// because software adapters run them masked. Tables that exceed one binding are searched in turns, which go on from the scores.
// Grid: (samples / (WORKGROUP * QUADS * 4), groups in the table).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = batch.first_group + workgroup.y;
  let stride = batch.samples / 4u;
  let at = workgroup.x * (WORKGROUP * QUADS) + lane;
  let plane = group * CHANNELS * stride + at;
  let own = group * stride + at;

{{#each quads}}
{{#each channels}}
  let {{sample}} = samples[plane + {{channel}}u * stride + {{quad}}u * WORKGROUP];
{{/each}}
  var best_{{quad}} = select(scores[own + {{quad}}u * WORKGROUP], vec4<f32>(-3.0e38), batch.first_centroid == 0u);
  var code_{{quad}} = codes_written[own + {{quad}}u * WORKGROUP];
{{/each}}

  for (var i = 0u; i < batch.centroids; i += 1u) {
    let code = batch.first_centroid + i;
    let row = (workgroup.y * batch.group_rows + i) * ROW;
{{#each row}}
    let {{vector}} = centroid_table[row + {{index}}u];
{{/each}}
{{#each quads}}
    let score_{{quad}} = {{#each channels}}{{sample}} * {{centroid}} + {{/each}}{{bias}};
    code_{{quad}} = select(code_{{quad}}, vec4<u32>(code), score_{{quad}} > best_{{quad}});
    best_{{quad}} = max(best_{{quad}}, score_{{quad}});
{{/each}}
  }

{{#each quads}}
  scores[own + {{quad}}u * WORKGROUP] = best_{{quad}};
  codes_written[own + {{quad}}u * WORKGROUP] = code_{{quad}};
{{/each}}
}
`],
  ["kmeans/kmeans_batch.hbs", `// A run of groups of one layer and side. A group is CHANNELS contiguous channels of a KV head.
struct Batch {
  first_group: u32,
  first_centroid: u32, // of the centroids that the table's binding begins with
  centroids: u32, // centroids to search, or to update
  group_rows: u32, // centroids from one group to the next, padding included
  samples: u32, // samples of a plane, padding included: its weight is zero
}
`],
  ["kmeans/kmeans_search.wgsl.hbs", `const CHANNELS: u32 = {{channelCount}}u; // channels per group
const ROW: u32 = {{rowLength}}u; // vec4s of a centroid: its channels, then its bias
const TABLE_ROWS: u32 = {{tableRows}}u; // centroids the uniform binding holds
const WORKGROUP: u32 = {{workgroupSize}}u;
const BEAM: u32 = {{beam}}u; // sums that are kept from stage to stage
const CODE_BITS: u32 = {{codeBits}}u; // bits of a stage's code among those of a sum
const CODES: u32 = {{codeCount}}u; // of a stage at most, 2^CODE_BITS
const NEVER: f32 = -1.0e38; // less than any score
const SPENT: f32 = -3.0e38; // less than that

// A run of groups of one layer and side, and the stage whose centroids extend their sums.
struct Batch {
  first_group: u32,
  stage: u32,
  kept: u32, // sums of a sample that are extended
  centroids: u32, // of one stage of a group
  stage_rows: u32, // centroids from one stage to the next
  samples: u32, // samples of a plane, padding included
}

{{> bindings}}

// The sums that are nearest to a sample, by half of their squared distance with its sign turned. Keys count the sums they extend,
// then codes.
{{#each kept}}
var<private> score_{{index}}: f32 = NEVER;
var<private> key_{{index}}: u32;
{{/each}}

// Puts an extension where it belongs among the best; the last of them drops out.
fn keep(score: f32, key: u32) {
  var moved = score;
  var moved_key = key;
{{#each kept}}
  let other_{{index}} = score_{{index}};
  let other_key_{{index}} = key_{{index}};
  let is_ahead_{{index}} = moved > other_{{index}};
  score_{{index}} = select(other_{{index}}, moved, is_ahead_{{index}});
  key_{{index}} = select(other_key_{{index}}, moved_key, is_ahead_{{index}});
  moved = select(moved, other_{{index}}, is_ahead_{{index}});
  moved_key = select(moved_key, other_key_{{index}}, is_ahead_{{index}});
{{/each}}
}

fn highest(scores: vec4<f32>) -> f32 {
  return max(max(scores.x, scores.y), max(scores.z, scores.w));
}

// Where a score is found among four.
fn place_of(score: f32, scores: vec4<f32>) -> u32 {
  return select(select(select(3u, 2u, scores.z == score), 1u, scores.y == score), 0u, scores.x == score);
}

// Extends the sums of centroids that are kept for every sample by those of one more stage, and keeps the BEAM nearest (beam search,
// Babenko and Lempitsky, CVPR 2014, section 3.3). An invocation has one sample, and compares four sums with four centroids at once:
// with rests r of the sample, -|r - c|^2/2 is r.c - |c|^2/2 - |r|^2/2, whose second term is the centroid's bias. Centroids are a
// uniform binding as in kmeans_assign; those of the sums, which differ between invocations, are read from storage.
// Grid: (samples / WORKGROUP, groups in the table).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = workgroup.x * WORKGROUP + lane;
  let group = batch.first_group + workgroup.y;
  let stride = batch.samples / 4u;
  let plane = group * CHANNELS * stride + at / 4u;
  let beam = workgroup.y * BEAM * batch.samples + at;
{{#each channels}}
  let x_{{channel}} = samples[plane + {{channel}}u * stride][at % 4u];
{{/each}}

  for (var sum = 0u; sum < batch.kept; sum += 4u) {
    let is_kept = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(batch.kept - sum);
{{#each channels}}
    var rest_{{channel}} = vec4<f32>(x_{{channel}});
{{/each}}
    if (batch.stage > 0u) {
{{#each sums}}
      let codes_{{sum}} = beam_written[beam + (sum + {{sum}}u) * batch.samples];
{{/each}}
      for (var before = 0u; before < batch.stage; before += 1u) {
        let first = before * batch.stage_rows + group * batch.centroids;
{{#each sums}}
        let row_{{sum}} = (first + ((codes_{{sum}} >> (before * CODE_BITS)) % CODES)) * ROW;
{{#each pieces}}
        let past_{{sum}}_{{piece}} = added_centroids[row_{{sum}} + {{piece}}u];
{{/each}}
{{/each}}
{{#each channels}}
        rest_{{channel}} -= vec4<f32>({{#each pasts}}{{past}}{{comma}}{{/each}});
{{/each}}
      }
    }
    let squares = {{#each channels}}rest_{{channel}} * rest_{{channel}}{{plus}}{{/each}};
    let base = select(vec4<f32>(SPENT), -0.5 * squares, is_kept);

    for (var code = 0u; code < batch.centroids; code += 4u) {
      let row = (workgroup.y * batch.centroids + code) * ROW;
{{#each codes}}
{{#each row}}
      let {{vector}} = centroid_table[row + {{index}}u];
{{/each}}
      var left_{{code}} = base + ({{#each channels}}rest_{{channel}} * {{centroid}} + {{/each}}{{bias}});
{{/each}}
      loop {
{{#each codes}}
        let highest_{{code}} = highest(left_{{code}});
{{/each}}
        let best = max(max(highest_0, highest_1), max(highest_2, highest_3));
        if (best <= score_{{last}}) {
          break;
        }
        let place = place_of(best, vec4<f32>(highest_0, highest_1, highest_2, highest_3));
        var chosen = left_3;
{{#each otherCodes}}
        chosen = select(chosen, left_{{code}}, place == {{code}}u);
{{/each}}
        let extended = place_of(best, chosen);
        keep(best, (sum + extended) * CODES + code + place);
        let others = select(chosen, vec4<f32>(SPENT), vec4<u32>(extended) == vec4<u32>(0u, 1u, 2u, 3u));
{{#each codes}}
        left_{{code}} = select(left_{{code}}, others, place == {{code}}u);
{{/each}}
      }
    }
  }

  let shift = batch.stage * CODE_BITS;
{{#each kept}}
  let past_{{index}} = select(beam_written[beam + key_{{index}} / CODES * batch.samples], 0u, batch.stage == 0u);
  let found_{{index}} = past_{{index}} | ((key_{{index}} % CODES) << shift);
{{/each}}
{{#each kept}}
  beam_written[beam + {{index}}u * batch.samples] = found_{{index}};
{{/each}}
  sums_written[group * batch.samples + at] = found_0;
}
`],
  ["kmeans/kmeans_update.wgsl.hbs", `const CHANNELS: u32 = {{channels}}u; // channels per group
const ROW: u32 = {{rowLength}}u * 4u; // f32s of a centroid: its channels, then its bias, then padding
const WORKGROUP: u32 = {{workgroupSize}}u;
const TERMS: u32 = {{terms}}u; // sums of a cluster: one per channel, then the weight
const SLICES: u32 = {{slices}}u; // parts of the samples that are summed side by side

{{> kmeans_batch}}

{{> bindings}}

var<workgroup> errors: array<f32, WORKGROUP>;
var<workgroup> empties: array<u32, WORKGROUP>;

// Moves every centroid of a group to the weighted mean of its samples. A lane owns one term of one slice of the samples, so every
// sum is made in one order and no atomics are needed: the result is the same in every run. Sums are of differences to the old
// centroid, which keeps them small and exact. Empty clusters stay where they are, and are counted for the host.
// Grid: groups.
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let group = batch.first_group + workgroup.x;
  let first_row = group * batch.group_rows;
  let slice_sums = batch.centroids * TERMS;
  let sums = workgroup.x * SLICES * slice_sums;
  for (var i = lane; i < SLICES * slice_sums; i += WORKGROUP) {
    partial_sums[sums + i] = 0.0;
  }
  storageBarrier();

  let slice = lane / TERMS;
  let term = lane % TERMS;
  var error = 0.0;
  if (slice < SLICES) {
    // The last term is the weight, as if it were a channel in which all samples are 1 from their centroid.
    let is_weight = term == CHANNELS;
    let quads = batch.samples / 4u;
    let plane = (group * CHANNELS + min(term, CHANNELS - 1u)) * quads;
    let own = sums + slice * slice_sums + term;
    for (var quad = slice; quad < quads; quad += SLICES) {
      let code = codes[group * quads + quad];
      let weight = weights[group * quads + quad];
      let x = samples[plane + quad];
      let row = (vec4<u32>(first_row) + code) * ROW + term;
      let centroid = vec4<f32>(centroids[row.x], centroids[row.y], centroids[row.z], centroids[row.w]);
      let difference = select(x - centroid, vec4<f32>(1.0), is_weight);
      let value = weight * difference;
      error += dot(value, difference);
      let at = code * TERMS + own;
      partial_sums[at.x] += value.x;
      partial_sums[at.y] += value.y;
      partial_sums[at.z] += value.z;
      partial_sums[at.w] += value.w;
    }
    error = select(error, 0.0, is_weight);
  }
  errors[lane] = error;
  storageBarrier();

  var empty = 0u;
  for (var code = lane; code < batch.centroids; code += WORKGROUP) {
    let own = sums + code * TERMS;
    let row = (first_row + code) * ROW;
    var weight = 0.0;
    for (var part = 0u; part < SLICES; part += 1u) {
      weight += partial_sums[own + part * slice_sums + CHANNELS];
    }
    if (weight > 0.0) {
      var bias = 0.0;
      for (var channel = 0u; channel < CHANNELS; channel += 1u) {
        var sum = 0.0;
        for (var part = 0u; part < SLICES; part += 1u) {
          sum += partial_sums[own + part * slice_sums + channel];
        }
        let centroid = centroids[row + channel] + sum / weight;
        centroids[row + channel] = centroid;
        bias -= 0.5 * centroid * centroid;
      }
      centroids[row + CHANNELS] = bias;
    } else {
      empty += 1u;
    }
  }
  empties[lane] = empty;
  workgroupBarrier();

  if (lane == 0u) {
    var total_error = 0.0;
    var total_empty = 0u;
    for (var other = 0u; other < WORKGROUP; other += 1u) {
      total_error += errors[other];
      total_empty += empties[other];
    }
    group_results[group] = vec2<f32>(total_error, f32(total_empty));
  }
}
`],
  ["schemes/additive/added_dot.hbs", `  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = select(vec4<f32>(), low_score, tile.coded);
  }
  let centroids = codebook_word(codebook + KEY_SIZES + 8u);
  let coded_chunks = trips(tile, true, CHUNKS);
  for (var chunk = 0u; chunk < coded_chunks; chunk += {{key.chunkCount}}u) {
{{#each key.chunks}}
    let queries_{{index}} = stepped_rows(chunk + {{index}}u);
{{/each}}
{{#each coded.pages}}
    if ({{index}}u < SPAN) {
      let levels = key_chunks(centroids, {{place}}.word, {{place}}.token, chunk);
{{#each ../key.chunks}}
      scores[{{../index}}] = add_products(scores[{{../index}}], levels[{{index}}], queries_{{index}});
{{/each}}
    }
{{/each}}
  }
`],
  ["schemes/additive/added_levels.hbs", `{{> words_added}}

{{> chunks_of_words}}
`],
  ["schemes/additive/added_levels_c2.hbs", `{{> (lookup . "codesPartial")}}
// The levels of the two channels of a centroid, two centroids to a word.
fn {{side}}_levels(centroid: u32) -> vec2<f32> {
  return levels_of(codebook_word(centroid / 2u) >> (centroid % 2u * 16u)).xy;
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token, whose record's codes begin at word at, a chunk a column.
fn {{side}}_chunks(centroids: u32, at: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let codes = {{side}}_codes(at, token, chunk * 2u * {{upper}}_STAGES);
  let first = 2u * (centroids + chunk * {{upper}}_GROUP_CENTROIDS);
  return mat{{chunkCount}}x4<f32>(
{{#each columns}}
    vec4<f32>(
{{#each halves}}
      {{#each stages}}{{../../../side}}_levels(first + codes[{{code}}] + {{first}}u){{joint}}{{/each}},
{{/each}}
    ),
{{/each}}
  );
}
`],
  ["schemes/additive/added_pairs.hbs", `// Number index of the grids of eight pairs.
fn paired_grids(first: array<mat4x4<f32>, 2>, second: array<mat4x4<f32>, 2>, index: u32) -> Pairs {
  return pairs_of(
    mat2x4<f32>(first[0][index], first[1][index]),
    mat2x4<f32>(second[0][index], second[1][index]),
  );
}

// Adds the products of eight pairs and all rows.
fn add_pairs(sum: vec4<f32>, pairs: Pairs, queries_0: RowPairs, queries_1: RowPairs) -> vec4<f32> {
  let half = add_products(add_products(sum, pairs.even[0], queries_0.even), pairs.odd[0], queries_0.odd);
  return add_products(add_products(half, pairs.even[1], queries_1.even), pairs.odd[1], queries_1.odd);
}

// Rows times the steps of levels.
fn stepped(rows: Rows, steps: vec4<f32>) -> Rows {
  return Rows(rows[0] * steps, rows[1] * steps, rows[2] * steps, rows[3] * steps);
}
`],
  ["schemes/additive/added_word.hbs", `{{> (lookup . "codePartial")}}
// The levels of channels 4 chunk to 4 chunk + 3 of token token, whose record's codes begin at word codes.
fn {{side}}_word(centroids: u32, codes: u32, token: u32, chunk: u32) -> u32 {
  let first = chunk / ({{upper}}_CHANNELS / 4u) * {{upper}}_STAGES;
  var word = 0u;
  for (var stage = first; stage < first + {{upper}}_STAGES; stage += 1u) {
    let code = {{side}}_code(codes, token * {{upper}}_CODES + stage);
    word += codebook_word(centroids + (stage * {{upper}}_CENTROIDS + code) * ({{upper}}_CHANNELS / 4u) +
      chunk % ({{upper}}_CHANNELS / 4u));
  }
  return word;
}
`],
  ["schemes/additive/added_word_c2.hbs", `{{> (lookup . "codePartial")}}
// The levels of channels 4 chunk to 4 chunk + 3 of token token, whose record's codes begin at word codes: two groups.
fn {{side}}_word(centroids: u32, codes: u32, token: u32, chunk: u32) -> u32 {
  let first = chunk * 2u * {{upper}}_STAGES;
  var word = 0u;
  for (var stage = 0u; stage < 2u * {{upper}}_STAGES; stage += 1u) {
    let code = {{side}}_code(codes, token * {{upper}}_CODES + first + stage);
    let at = (first + stage) * {{upper}}_CENTROIDS + code;
    let levels = codebook_word(centroids + at / 2u) >> (at % 2u * 16u);
    word += (levels & 0xffffu) << (stage / {{upper}}_STAGES * 16u);
  }
  return word;
}
`],
  ["schemes/additive/additive_constants.hbs", `{{> coded_constants}}
const {{upper}}_STAGES: u32 = {{stages}}u; // codes of a group, whose levels are added
const {{upper}}_METADATA_WORDS: u32 = {{metadataWords}}u; // of a record, before its codes
const {{upper}}_GRID_WORDS: u32 = {{gridWords}}u; // of one channel
const {{upper}}_CHANNEL_WORDS: u32 = {{channelWords}}u; // with the middle of its means
const {{upper}}_SIZES: u32 = HEAD_DIM * {{upper}}_CHANNEL_WORDS; // where they begin among a head's words
const {{upper}}_GROUP_CENTROIDS: u32 = {{upper}}_STAGES * {{upper}}_CENTROIDS;
`],
  ["schemes/additive/additive_grids.hbs", `{{> (lookup . "gridsPartial")}}

// What the levels of channels 4 chunk to 4 chunk + 3 stand for, before a token's size.
fn {{side}}_grid(codebook: u32, chunk: u32) -> Grid {
  let grids = {{side}}_grids(codebook, chunk);
  return Grid(grids[0], grids[1]);
}
`],
  ["schemes/additive/additive_grids_1.hbs", `// Grids of channels 4 chunk to 4 chunk + 3: what their lowest levels stand for, steps of levels and of means, middles of means.
fn {{side}}_grids(codebook: u32, chunk: u32) -> mat4x4<f32> {
  let at = codebook + HEAD_DIM + chunk * 4u * {{upper}}_GRID_WORDS;
  let first = codebook_quad(at, 0u);
  let second = codebook_quad(at, 1u);
  let levels = halves_across(vec4<u32>(first.xz, second.xz));
  return mat4x4<f32>(
    levels[0],
    levels[1] / 64.0,
    halves_across(vec4<u32>(first.yw, second.yw))[0] / 64.0,
    bitcast<vec4<f32>>(codebook_quad(codebook, chunk)),
  );
}
`],
  ["schemes/additive/additive_grids_2.hbs", `// Grids of channels 4 chunk to 4 chunk + 3: what their lowest levels stand for, steps of levels and of means, middles of means.
fn {{side}}_grids(codebook: u32, chunk: u32) -> mat4x4<f32> {
  let at = codebook + HEAD_DIM + chunk * 4u * {{upper}}_GRID_WORDS;
  let first = codebook_quad(at, 0u);
  let second = codebook_quad(at, 1u);
  let lows = halves_across(vec4<u32>(first.xz, second.xz));
  let steps = halves_across(vec4<u32>(first.yw, second.yw));
  return mat4x4<f32>(
    lows[0] + lows[1],
    steps[0] / 64.0,
    steps[1] / 64.0,
    bitcast<vec4<f32>>(codebook_quad(codebook, chunk)),
  );
}
`],
  ["schemes/additive/additive_grids_4.hbs", `// Grids of channels 4 chunk to 4 chunk + 3: what their lowest levels stand for, steps of levels and of means, middles of means.
fn {{side}}_grids(codebook: u32, chunk: u32) -> mat4x4<f32> {
  let at = codebook + HEAD_DIM + chunk * 4u * {{upper}}_GRID_WORDS;
  let first = codebook_quad(at, 0u);
  let second = codebook_quad(at, 1u);
  let third = codebook_quad(at, 2u);
  let lows = halves_across(vec4<u32>(first.xw, second.z, third.y));
  let more = halves_across(vec4<u32>(first.y, second.xw, third.z));
  let steps = halves_across(vec4<u32>(first.z, second.y, third.xw));
  return mat4x4<f32>(
    lows[0] + lows[1] + more[0] + more[1],
    steps[0] / 64.0,
    steps[1] / 64.0,
    bitcast<vec4<f32>>(codebook_quad(codebook, chunk)),
  );
}
`],
  ["schemes/additive/base_digits.hbs", `  digit_queries((layer.first_head + block.head) * KEY_CODEBOOK_WORDS, lane);
`],
  ["schemes/additive/base_lows.hbs", `  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  if (lane < CHUNKS) {
    let grids = key_grids(codebook, lane);
    level_steps[lane] = grids[1];
    page_parts[lane] = add_products(vec4<f32>(), grids[0], query_rows(lane));
  }
  workgroupBarrier();
  low_score = vec4<f32>();
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    low_score += page_parts[chunk];
  }
  workgroupBarrier();
`],
  ["schemes/additive/base_lut.hbs", `  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let centroids = codebook_word(codebook + KEY_SIZES + 8u);
  for (var item = lane; item < LUT_ENTRIES; item += WORKGROUP) {
    let code = item / KEY_CENTROIDS;
    let stage = code % KEY_STAGES;
    // Initialised by hand: naga clears a variable declared in a loop only once.
    var products = vec4<f32>();
    for (var i = 0u; i < KEY_CHANNELS; i += 1u) {
      let channel = code / KEY_STAGES * KEY_CHANNELS + i;
      let at = item * KEY_CHANNELS + i;
      let level = levels_of(codebook_word(centroids + (at >> 2u)) >> ((at & 3u) * 8u)).x;
      let first = codebook + HEAD_DIM + channel * KEY_GRID_WORDS;
      let low = unpack2x16float(codebook_word(first + stage / 2u))[stage % 2u];
      let level_step = unpack2x16float(codebook_word(first + KEY_STAGES / 2u))[KEY_STAGES % 2u] / 64.0;
      var queries_1 = vec4<f32>();
      for (var row = 0u; row < ROWS; row += 1u) {
        queries_1[row] = query_tile[row * CHUNKS + channel / 4u][channel % 4u];
      }
      products += (low + level * level_step) * queries_1;
    }
    lut[item] = products;
  }
  workgroupBarrier();
`],
  ["schemes/additive/base_means.hbs", `  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  if (lane < CHUNKS) {
    let mean_step = key_grids(codebook, lane)[2];
    let rows = query_rows(lane);
    mean_rows[lane] =
      mat4x4<f32>(rows[0] * mean_step, rows[1] * mean_step, rows[2] * mean_step, rows[3] * mean_step);
  }
  lowest_score = vec4<f32>();
  for (var chunk = lane % LANES; chunk < CHUNKS; chunk += LANES) {
    let grids = key_grids(codebook, chunk);
    lowest_score = add_products(lowest_score, grids[3] - 7.5 * grids[2], query_rows(chunk));
  }
  workgroupBarrier();
`],
  ["schemes/additive/centroid_words_c2.hbs", `alias Words = u32; // of a centroid: half a word

fn centroid_words(centroid: u32, piece: u32) -> Words {
  return (codebook_word(centroids + centroid / 2u) >> (centroid % 2u * 16u)) & 0xffffu;
}
`],
  ["schemes/additive/centroid_words_c4.hbs", `alias Words = u32; // of a centroid

fn centroid_words(centroid: u32, piece: u32) -> Words {
  return codebook_word(centroids + centroid);
}
`],
  ["schemes/additive/centroid_words_c8.hbs", `alias Words = vec2<u32>; // of a centroid

fn centroid_words(centroid: u32, piece: u32) -> Words {
  return codebook_pair(centroids, centroid);
}
`],
  ["schemes/additive/centroid_words_wide.hbs", `alias Words = vec4<u32>; // of a centroid, or of half of one

fn centroid_words(centroid: u32, piece: u32) -> Words {
  return codebook_quads[centroids / 4u + centroid * (CHANNELS / 16u) + piece];
}
`],
  ["schemes/additive/chunks_added.hbs", `{{> (lookup . "gridsPartial")}}

{{> (lookup . "meansPartial")}}

{{> (lookup . "levelsPartial")}}
`],
  ["schemes/additive/chunks_looked_up.hbs", `{{> (lookup . "gridsPartial")}}

{{> (lookup . "meansPartial")}}

{{> (lookup . "codesPartial")}}
`],
  ["schemes/additive/code_channel_added.hbs", `  let code = code_channel / CHANNELS;
  let channel = code / STAGES * CHANNELS + code_channel % CHANNELS;
`],
  ["schemes/additive/code_grid_added.hbs", `  let first = codebook + HEAD_DIM + channel * GRID_WORDS;
  let stage = code % STAGES;
  let grid = vec2<f32>(
    unpack2x16float(codebooks[first + stage / 2u])[stage % 2u],
    unpack2x16float(codebooks[first + STAGES / 2u])[STAGES % 2u],
  );
`],
  ["schemes/additive/codebook_quads.hbs", `// Words first + 4 quad to first + 4 quad + 3; first is a multiple of 4.
fn codebook_quad(first: u32, quad: u32) -> vec4<u32> {
  return codebook_quads[(first >> 2u) + quad];
}

// Words first + 2 pair and the next; first is even.
fn codebook_pair(first: u32, pair: u32) -> vec2<u32> {
  let at = (first >> 1u) + pair;
  let quad = codebook_quads[at >> 1u];
  return select(quad.xy, quad.zw, (at & 1u) != 0u);
}

fn codebook_word(at: u32) -> u32 {
  return codebook_quads[at >> 2u][at & 3u];
}
`],
  ["schemes/additive/coded_keys_added.hbs", `// A lane's coded tokens are of one page, which is a record. In place of its word, key_at has each token's size, as bits.
var<private> key_first: u32; // the first word of the centroids
var<private> key_record: u32; // the first word of the record

// Of the eight channels of two chunks, with the means.
fn coded_grids(block: Block, chunk: u32) -> array<mat4x4<f32>, 2> {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  return array(key_mean_grids(codebook, key_record, chunk), key_mean_grids(codebook, key_record, chunk + 1u));
}

fn coded_key8(grids: array<mat4x4<f32>, 2>, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  let size = bitcast<f32>(at.word);
  let levels = key_chunks(key_first, key_record + KEY_METADATA_WORDS, at.token, chunk);
  return mat2x4<f32>(
    grids[0][3] + size * (grids[0][0] + levels[0] * grids[0][1]),
    grids[1][3] + size * (grids[1][0] + levels[1] * grids[1][1]),
  );
}
`],
  ["schemes/additive/consecutive_sizes.hbs", `  if (tile.coded) {
    for (var i = 0u; i < SPAN; i += 1u) {
      let size = key_size(key_record, i);
      scores[i] = mean_score + size * (low_score + scores[i]);
      key_at[i].word = bitcast<u32>(size);
    }
  }
`],
  ["schemes/additive/digits_added.hbs", `  let centroids = codebook_word(codebook + KEY_SIZES + 8u);
  let coded_chunks = trips(tile, true, CHUNKS);
{{> digit_sums}}
`],
  ["schemes/additive/encode_additive.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const PAIRS: u32 = HEAD_DIM / 2u; // of channels, as words hold them
const WORKGROUP: u32 = {{workgroupSize}}u; // as many as tokens of a record, so that a lane has one
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const CHANNELS: u32 = {{channels}}u; // channels of a group
const PART: u32 = {{partWidth}}u; // channels that are computed at once
const PARTS: u32 = CHANNELS / PART; // of a group
const BITS: u32 = {{codeBits}}u; // bits per code
const CENTROIDS: u32 = {{centroids}}u; // of a stage
const STAGES: u32 = {{stages}}u; // codes of a group, whose centroids are added
const BEAM: u32 = {{beam}}u; // sums that are kept from stage to stage
const ROW: u32 = {{rowCentroids}}u; // centroids that are compared at once
const ROW_QUADS: u32 = ROW * CHANNELS / 16u;
const CODES: u32 = {{codes}}u; // codes per token
const RECORD_TOKENS: u32 = {{recordTokens}}u; // a block
const RECORD_WORDS: u32 = {{recordWords}}u;
const METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
const CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head, before all centroids
const GRID_WORDS: u32 = {{gridWords}}u; // of one channel
const NORM_BITS: u32 = {{normBits}}u; // of a mean, and of a size
const NORM_LEVELS: u32 = {{normLevels}}u;
const NEVER: f32 = -1.0e38; // less than any score
const SPENT: f32 = -3.0e38; // less than that

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> words: array<atomic<u32>, RECORD_WORDS>; // of the record
var<workgroup> sums: array<vec2<f32>, PAIRS>; // over the record's tokens
var<workgroup> means: array<vec2<f32>, PAIRS>; // as decoded, of tokens
var<workgroup> scales: array<vec2<f32>, PAIRS>; // of differences before they are squared
var<workgroup> steps: array<vec2<f32>, PAIRS>; // of levels, times scales
var<workgroup> lows: array<vec2<f32>, STAGES * PAIRS>; // the lowest levels' numbers of a stage and those before it, times scales
var<workgroup> sizes: array<f32, NORM_LEVELS>;
var<private> codebook: u32; // first word of the head's
var<private> centroids: u32; // first word of its centroids
var<private> beam: array<u32, BEAM>; // the codes of sums, those of a stage behind those of the stage before
// The best extensions, by half of how much of the vector's energy they explain. Keys count sums and then codes.
{{#each kept}}
var<private> score_{{index}}: f32;
var<private> key_{{index}}: u32;
{{/each}}

{{> codebook_quads}}

{{> levels}}

{{> (lookup . "partPartial")}}

{{> (lookup . "wordsPartial")}}

// Puts a value of some bits into the record.
fn put(bit: u32, value: u32) {
  atomicOr(&words[bit / 32u], value << (bit % 32u));
}

// The value of some bits of the record.
fn taken(bit: u32, bits: u32) -> u32 {
  return (atomicLoad(&words[bit / 32u]) >> (bit % 32u)) & ((1u << bits) - 1u);
}

// Number index of the grid of a channel: lows, and the steps of levels and of means.
fn grid_number(channel: u32, index: u32) -> f32 {
  return unpack2x16float(codebook_word(codebook + HEAD_DIM + channel * GRID_WORDS + index / 2u))[index % 2u];
}

fn grid_pair(pair: u32, index: u32) -> vec2<f32> {
  return vec2<f32>(grid_number(2u * pair, index), grid_number(2u * pair + 1u, index));
}

{{> (lookup . "tokenPartial")}}

// Token token of the record. Behind the last token that is encoded, it stands in for those that the block lacks.
fn token_of(entry: Entry, head: u32, record_first: u32, encode_end: u32, token: u32) -> Token {
  let coded = min(record_first + token, encode_end - 1u);
  return token_at(exact_word(entry.slot, SIDE, layer.sinks + coded, head), coded);
}

{{> (lookup . "sumsPartial")}}

// The levels of the means of two channels, the nearest that a record can hold.
fn mean_levels(sum: vec2<f32>, grid: mat2x2<f32>) -> vec2<u32> {
  var level = vec2<u32>();
  for (var above = 1u; above < NORM_LEVELS; above += 1u) {
    let middle = mean_numbers(vec2<f32>(f32(above) - 0.5), grid);
    level += select(vec2<u32>(), vec2<u32>(1u), sum >= f32(RECORD_TOKENS) * middle);
  }
  return level;
}

// The means that levels, or numbers between two, stand for.
fn mean_numbers(levels: vec2<f32>, grid: mat2x2<f32>) -> vec2<f32> {
  return grid[0] + grid[1] * (levels - f32(NORM_LEVELS - 1u) / 2.0);
}

// The offsets of two channels' means, and their steps.
fn mean_grid(pair: u32) -> mat2x2<f32> {
  let offset = bitcast<vec2<f32>>(codebook_pair(codebook + 2u * pair, 0u));
  return mat2x2<f32>(offset, grid_pair(pair, STAGES + 1u) / 64.0);
}

// What two channels' codes stand for, times the tokens' sizes, summed over the record's tokens.
fn coded_sums(pair: u32) -> vec2<f32> {
  let group = 2u * pair / CHANNELS;
  var size_sum = 0.0;
  var level_sums = vec2<f32>(); // times sizes
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    var levels = 0u; // a byte each, added without a carry
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      let code = taken(32u * METADATA_WORDS + (token * CODES + group * STAGES + stage) * BITS, BITS);
      let byte = ((group * STAGES + stage) * CENTROIDS + code) * CHANNELS + 2u * pair % CHANNELS;
      levels += (codebook_word(centroids + byte / 4u) >> (byte % 4u * 8u)) & 0xffffu;
    }
    let size = sizes[taken(NORM_BITS * (HEAD_DIM + token), NORM_BITS)];
    size_sum += size;
    level_sums += size * vec2<f32>(vec2<u32>(levels & 255u, levels >> 8u));
  }
  var low = vec2<f32>();
  for (var stage = 0u; stage < STAGES; stage += 1u) {
    low += grid_pair(pair, stage);
  }
  return low * size_sum + grid_pair(pair, STAGES) / 64.0 * level_sums;
}

{{> group_numbers}}

// Which of the head's centroids a code of a stage is, where codes has those of all stages.
fn centroid_of(group: u32, stage: u32, codes: u32) -> u32 {
  return (group * STAGES + stage) * CENTROIDS + ((codes >> (stage * BITS)) & (CENTROIDS - 1u));
}

// Forgets what is kept.
fn clear() {
{{#each kept}}
  score_{{index}} = NEVER;
  key_{{index}} = 0u;
{{/each}}
}

// Puts an extension where it belongs among the best, of equal ones by key.
fn keep(score: f32, key: u32) {
  var moved = score;
  var moved_key = key;
{{#each kept}}
  let other_{{index}} = score_{{index}};
  let other_key_{{index}} = key_{{index}};
  let is_ahead_{{index}} = moved > other_{{index}} || (moved == other_{{index}} && moved_key < other_key_{{index}});
  score_{{index}} = select(other_{{index}}, moved, is_ahead_{{index}});
  key_{{index}} = select(other_key_{{index}}, moved_key, is_ahead_{{index}});
  moved = select(moved, other_{{index}}, is_ahead_{{index}});
  moved_key = select(moved_key, other_key_{{index}}, is_ahead_{{index}});
{{/each}}
}

fn highest(scores: vec4<f32>) -> f32 {
  return max(max(scores.x, scores.y), max(scores.z, scores.w));
}

// Where a score is found among four.
fn place_of(score: f32, scores: vec4<f32>) -> u32 {
  return select(select(select(3u, 2u, scores.z == score), 1u, scores.y == score), 0u, scores.x == score);
}

// Whether a score may be among those that are kept: after the last stage one is enough.
fn is_kept(score: f32, is_last: bool) -> bool {
  return score >= select(score_{{last}}, score_0, is_last);
}

// Adds the codes of a stage to those of the sums that they extend.
fn settle(stage: u32) {
{{#each kept}}
  let codes_{{index}} = beam[key_{{index}} / CENTROIDS] | ((key_{{index}} % CENTROIDS) << (stage * BITS));
{{/each}}
{{#each kept}}
  beam[{{index}}] = codes_{{index}};
{{/each}}
}

// How many sizes above the smallest are at most the root of the ratio of two numbers.
fn size_level(numerator: f32, denominator: f32) -> u32 {
  var level = 0u;
  for (var above = 1u; above < NORM_LEVELS; above += 1u) {
    level += select(0u, 1u, numerator >= sizes[above - 1u] * sizes[above] * denominator);
  }
  return level;
}

// Codes of the block that leaves the exact tier: a mean for each channel, a size for each token, and for each group of channels
// the sum of centroids, one of each stage, that a beam search finds. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let side_codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let first_scale = select(layer.value_scale, layer.key_scale, SIDE == 0u);
  let scale_at = first_scale + (layer.first_head + head) * HEAD_DIM;
  codebook = side_codebook + (layer.first_head + head) * CODEBOOK_WORDS;
  let first_size = codebook + HEAD_DIM * (1u + GRID_WORDS);
  centroids = side_codebook + codebook_word(first_size + NORM_LEVELS / 2u);

  for (var pair = lane; pair < PAIRS; pair += WORKGROUP) {
    let sum = channel_sums(entry, head, record_first, encode_end, pair);
    let grid = mean_grid(pair);
    sums[pair] = sum;
    means[pair] = mean_numbers(vec2<f32>(mean_levels(sum, grid)), grid);
    let given = vec2<u32>(codebook_word(scale_at + 2u * pair), codebook_word(scale_at + 2u * pair + 1u));
    let scale = select(vec2<f32>(1.0), bitcast<vec2<f32>>(given), first_scale != 0u);
    scales[pair] = scale;
    steps[pair] = scale * grid_pair(pair, STAGES) / 64.0;
    var low = vec2<f32>();
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      low += grid_pair(pair, stage);
      lows[stage * PAIRS + pair] = scale * low;
    }
  }
  if (lane < NORM_LEVELS) {
    sizes[lane] = unpack2x16float(codebook_word(first_size + lane / 2u))[lane % 2u];
  }
  workgroupBarrier();

  let token = token_of(entry, head, record_first, encode_end, lane);
  var energy = 0.0;
  for (var group = 0u; group < HEAD_DIM / CHANNELS; group += 1u) {
    let vector = vector_of(token, group);
    energy += products(vector, vector);
  }
  let size = sizes[size_level(energy, f32(HEAD_DIM))];
  var square = 0.0;
  for (var group = 0u; group < CODES / STAGES; group += 1u) {
    let vector = vector_of(token, group);
    let unit = scaled(size, steps_of(group)); // what levels stand for
    clear();
    {
      // |x - s|^2 is least where x.s - |s|^2 / 2 is largest. Lowest levels are taken off x instead: all sums have them.
      let rest_0 = minus(vector, scaled(size, lows_of(0u, group)));
      let base_0 = 0.0;
      let first = (centroids + group * STAGES * CENTROIDS * CHANNELS / 4u) / 4u;
      let key = 0u;
      let is_last = STAGES == 1u;
{{> search_row first}}
    }
    beam[0] = 0u;
    settle(0u);
{{> (lookup . "laterPartial")}}
    let codes = beam[0];
{{#each pieces}}
    var words_{{piece}} = Words();
{{/each}}
    for (var stage = 0u; stage < STAGES; stage += 1u) {
      let centroid = centroid_of(group, stage, codes);
{{#each pieces}}
      words_{{piece}} += centroid_words(centroid, {{piece}}u);
{{/each}}
    }
    let levels = Group({{#each parts}}part_levels(words_{{piece}}{{word}}){{comma}}{{/each}});
    let found = plus(lows_of(STAGES - 1u, group), times(steps_of(group), levels));
    square += products(found, found);
    put(32u * METADATA_WORDS + (lane * CODES + group * STAGES) * BITS, codes);
  }

  put(NORM_BITS * (HEAD_DIM + lane), size_level(energy, square)); // it keeps its length
  workgroupBarrier();
  for (var pair = lane; pair < PAIRS; pair += WORKGROUP) {
    // Whatever codes miss on average, the means make up for.
    let levels = mean_levels(sums[pair] - coded_sums(pair), mean_grid(pair));
    put(2u * NORM_BITS * pair, levels.x | (levels.y << NORM_BITS));
  }
  workgroupBarrier();
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  for (var word = lane; word < RECORD_WORDS; word += WORKGROUP) {
    records[record + word] = atomicLoad(&words[word]);
  }
}
`],
  ["schemes/additive/encoded_part_c2.hbs", `alias Numbers = vec2<f32>;

fn mean_of(part: u32) -> Numbers {
  return means[part];
}

fn scale_of(part: u32) -> Numbers {
  return scales[part];
}

fn step_of(part: u32) -> Numbers {
  return steps[part];
}

fn low_of(stage: u32, part: u32) -> Numbers {
  return lows[stage * PAIRS + part];
}

// The levels in a word of a centroid, or of a sum.
fn part_levels(word: u32) -> Numbers {
  return levels_of(word).xy;
}
`],
  ["schemes/additive/encoded_part_c4.hbs", `alias Numbers = vec4<f32>;

fn mean_of(part: u32) -> Numbers {
  return vec4<f32>(means[2u * part], means[2u * part + 1u]);
}

fn scale_of(part: u32) -> Numbers {
  return vec4<f32>(scales[2u * part], scales[2u * part + 1u]);
}

fn step_of(part: u32) -> Numbers {
  return vec4<f32>(steps[2u * part], steps[2u * part + 1u]);
}

fn low_of(stage: u32, part: u32) -> Numbers {
  let at = stage * PAIRS + 2u * part;
  return vec4<f32>(lows[at], lows[at + 1u]);
}

// The levels in a word of a centroid, or of a sum.
fn part_levels(word: u32) -> Numbers {
  return levels_of(word);
}
`],
  ["schemes/additive/extend_beam.hbs", `{{#with later}}
    for (var stage = 1u; stage < STAGES; stage += 1u) {
      clear();
      let is_last = stage == STAGES - 1u;
      let first = (centroids + (group * STAGES + stage) * CENTROIDS * CHANNELS / 4u) / 4u;
      let height = minus(vector, scaled(size, lows_of(stage, group)));
      for (var batch = 0u; batch < BEAM; batch += {{ranks}}u) {
        let key = batch * CENTROIDS;
{{#each candidates}}
{{#each pieces}}
        var words_{{rank}}_{{piece}} = Words();
{{/each}}
{{/each}}
        for (var before = 0u; before < stage; before += 1u) {
{{#each candidates}}
          let centroid_{{rank}} = centroid_of(group, before, beam[batch + {{rank}}u]);
{{#each pieces}}
          words_{{rank}}_{{piece}} += centroid_words(centroid_{{rank}}, {{piece}}u);
{{/each}}
{{/each}}
        }
{{#each candidates}}
        let past_{{rank}} = times(unit, Group({{#each parts}}part_levels(words_{{rank}}_{{piece}}{{word}}){{comma}}{{/each}}));
        let rest_{{rank}} = minus(height, past_{{rank}});
        let base_{{rank}} = products(height, past_{{rank}}) - 0.5 * products(past_{{rank}}, past_{{rank}});
{{/each}}
{{> search_row row}}
      }
      settle(stage);
    }
{{/with}}
`],
  ["schemes/additive/extend_none.hbs", `{{! One stage has the codes. }}
`],
  ["schemes/additive/fill_shares.hbs", `  if (lane < CHUNKS) {
    let grids = value_grids(codebook, lane);
    {{shares}}[lane] = grids[2] / grids[1];
  }
`],
  ["schemes/additive/fill_shares_none.hbs", `{{! They are filled elsewhere. }}
`],
  ["schemes/additive/find_places_paged.hbs", `  first_place = select(lane, lane / LANES * PAGE_TOKENS + lane % LANES, tile.coded);
  place_step = select(PAGE_TOKENS, LANES, tile.coded);
`],
  ["schemes/additive/finish_added.hbs", `// Values are mixed as sums of levels, with weights times the tokens' sizes, and means page by page, in steps of levels. Steps and
// what all tokens share, the lowest levels and those of means, come when all is summed.
var<private> value_first: u32; // the first word of the centroids
var<private> sized_sum: vec4<f32>; // of the lane's weights of coded tokens, times their sizes
{{> (lookup . "sharesPartial")}}

// Puts what every coded tile takes of a codebook into workgroup memory.
fn prepare_values(block: Block, lane: u32) {
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  value_first = layer.value_codebook + codebook_word(codebook + VALUE_SIZES + 8u);
  if (lane < SIZES) {
    value_sizes[lane] = size_at(codebook + VALUE_SIZES, lane);
  }
{{> (lookup . "blockSharesPartial")}}
}

{{> token_sizes side="value"}}

fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  workgroupBarrier();
  tops[lane] = sized_sum;
  workgroupBarrier();
  if (lane < ROW_LANES) {
    let row = lane / CHUNK_LANES;
    var sized = 0.0;
    for (var other = 0u; other < WORKGROUP; other += 1u) {
      sized += tops[other][row];
    }
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let grids = value_grids(codebook, lane_chunk(lane) + i);
      let shared_mean = grids[3] - 7.5 * grids[2];
      sums[i] = grids[1] * sums[i] + grids[0] * sized + shared_mean * row_sums[row];
    }
  }
}
`],
  ["schemes/additive/first_centroid_added.hbs", `  let centroids = codebooks[codebook + HEAD_DIM * (1u + GRID_WORDS) + 8u];
`],
  ["schemes/additive/group_numbers.hbs", `alias Group = array<Numbers, PARTS>;

fn rest_of(token: Token, part: u32) -> Numbers {
  return scale_of(part) * (token_part(token, part) - mean_of(part));
}

// Channels of group group of a token, less their means, times their scales.
fn vector_of(token: Token, group: u32) -> Group {
  let part = group * PARTS;
  return Group({{#each parts}}rest_of(token, part + {{part}}u){{comma}}{{/each}});
}

fn steps_of(group: u32) -> Group {
  let part = group * PARTS;
  return Group({{#each parts}}step_of(part + {{part}}u){{comma}}{{/each}});
}

fn lows_of(stage: u32, group: u32) -> Group {
  let part = group * PARTS;
  return Group({{#each parts}}low_of(stage, part + {{part}}u){{comma}}{{/each}});
}

fn scaled(factor: f32, a: Group) -> Group {
  return Group({{#each parts}}factor * a[{{part}}]{{comma}}{{/each}});
}

fn times(a: Group, b: Group) -> Group {
  return Group({{#each parts}}a[{{part}}] * b[{{part}}]{{comma}}{{/each}});
}

fn plus(a: Group, b: Group) -> Group {
  return Group({{#each parts}}a[{{part}}] + b[{{part}}]{{comma}}{{/each}});
}

fn minus(a: Group, b: Group) -> Group {
  return Group({{#each parts}}a[{{part}}] - b[{{part}}]{{comma}}{{/each}});
}

fn products(a: Group, b: Group) -> f32 {
  return {{#each parts}}dot(a[{{part}}], b[{{part}}]){{joint}}{{/each}};
}
`],
  ["schemes/additive/key_grid_added.hbs", `// What the levels of a chunk stand for, before a token's size.
fn key_grid(codebook: u32, chunk: u32) -> Grid {
  let grids = key_grids(codebook, chunk);
  return Grid(grids[0], grids[1]);
}
`],
  ["schemes/additive/key_sizes.hbs", `{{> token_sizes side="key"}}

fn prepare_sizes(block: Block, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  if (lane < SIZES) {
    key_sizes[lane] = size_at(codebook + KEY_SIZES, lane);
  }
}
`],
  ["schemes/additive/key_steps_added.hbs", `fn key_steps(codebook: u32, chunk: u32) -> Grid {
  let grids = key_grids(codebook, chunk);
  return Grid(grids[0], grids[1]);
}
`],
  ["schemes/additive/lane_means.hbs", `      mean_score += turned_mean(codebook, key_at[0].word, angles[0], pair) +
        turned_mean(codebook, key_at[0].word, angles[1], pair + 1u);
`],
  ["schemes/additive/load_added.hbs", `{{> mean_grids}}

{{> (lookup . "wordPartial")}}
// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let side_codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let centroids = side_codebook + codebook_word(codebook + {{upper}}_SIZES + 8u);
  let levels = levels_of({{side}}_word(centroids, record + {{upper}}_METADATA_WORDS, token, chunk));
  let level = ({{side}}_records[record + (HEAD_DIM + token) / 8u] >> (token % 8u * 4u)) & (SIZES - 1u);
  let mean = {{side}}_mean_grids(codebook, record, chunk)[3];
  return mean + size_at(codebook + {{upper}}_SIZES, level) * (grid.low + levels * grid.step);
}
`],
  ["schemes/additive/lut_added.hbs", `  let coded_codes = trips(tile, true, KEY_CODES);
{{> lut_sums}}
`],
  ["schemes/additive/lut_entries.hbs", `// q.centroid of every code, for all rows.
var<workgroup> lut: array<vec4<f32>, LUT_ENTRIES>;
`],
  ["schemes/additive/mean_grids.hbs", `// The same, with the means of the record at record in place of their middles.
fn {{side}}_mean_grids(codebook: u32, record: u32, chunk: u32) -> mat4x4<f32> {
  var grids = {{side}}_grids(codebook, chunk);
  let numbers = mean_numbers({{side}}_records[record + chunk / 2u] >> (chunk % 2u * 16u));
  grids[3] += (numbers - 7.5) * grids[2];
  return grids;
}
`],
  ["schemes/additive/mean_rows.hbs", `var<workgroup> mean_rows: array<mat4x4<f32>, CHUNKS>; // queries times the steps of means
var<private> lowest_score: vec4<f32>; // of means whose levels are 0, in the chunks that the lane scores
`],
  ["schemes/additive/means_mixed.hbs", `{{! Means are mixed page by page. }}
`],
  ["schemes/additive/mix_added.hbs", `{{> finish_added}}

fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let levels = value_chunks(value_first, record + VALUE_METADATA_WORDS, token, chunk);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(levels[i], weight);
  }
}
`],
  ["schemes/additive/mix_page_means.hbs", `  // Mixes the means, which the tokens of a page share, a page a slice.
  if (tile.coded) {
    {{shares}}[CHUNKS + lane] = own_weight;
{{> (lookup . "tileSharesPartial")}}
  }
  workgroupBarrier();
  for (var page = slice; page < select(0u, SPAN, tile.coded && !skipped); page += SLICES) {
    var weight = vec4<f32>();
    for (var other = 0u; other < LANES; other += 1u) {
      weight += {{shares}}[CHUNKS + page * LANES + other];
    }
    let record = page_word(entry.slot, block.head, first_page + page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let word = value_records[record + (chunk + i) / 2u] >> (i % 2u * 16u);
      mixed[i] += weighted(mean_numbers(word) * {{shares}}[chunk + i], weight);
    }
  }
`],
  ["schemes/additive/mix_tile_added.hbs", `  // Puts weights, of coded tokens times sizes, into workgroup memory.
  let own_page = first_page + lane / LANES;
  let own_record = page_word(entry.slot, block.head, own_page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
  var own_weight = vec4<f32>();
  var sized = vec4<f32>();
  for (var i = 0u; i < SPAN; i += 1u) {
    let weight = scores[i] * select(1.0, value_size(own_record, i), tile.coded);
    weights[first_place + i * place_step] = weight;
    own_weight += scores[i];
    sized += weight;
  }
  sized_sum += select(vec4<f32>(), sized, tile.coded && !skipped);
{{> mix_page_means}}
`],
  ["schemes/additive/mix_tile_added_integers.hbs", `  // Packs weights, of coded tokens times sizes, and puts those of exact tokens into workgroup memory.
  let own_page = first_page + lane / LANES;
  let own_record = page_word(entry.slot, block.head, own_page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
  var own_weight = vec4<f32>();
  var largest = vec4<f32>(1.0e-30);
  for (var i = 0u; i < SPAN; i += 1u) {
    own_weight += scores[i];
    scores[i] *= select(1.0, value_size(own_record, i), tile.coded);
    largest = max(largest, scores[i]);
  }
  weight_unit = top_of(largest, lane) / WHOLE;
  if (tile.coded) {
    var sum = vec4<u32>();
    for (var half = 0u; half < select(SPAN / 4u, 0u, skipped); half += 1u) {
      sum += pack_weights(half, lane);
    }
    sized_sum += vec4<f32>(sum) * weight_unit;
  } else {
    for (var i = 0u; i < EXACT_SPAN; i += 1u) {
      weights[i * PAGE_TOKENS + lane] = scores[i];
    }
  }
{{> mix_page_means}}
`],
  ["schemes/additive/normalised.hbs", `const SIZES: u32 = 16u; // that a token's may be

// The first halves of four words, and the second ones.
fn halves_across(words: vec4<u32>) -> mat2x4<f32> {
  let x = unpack2x16float(words.x);
  let y = unpack2x16float(words.y);
  let z = unpack2x16float(words.z);
  let w = unpack2x16float(words.w);
  return mat2x4<f32>(vec4<f32>(x.x, y.x, z.x, w.x), vec4<f32>(x.y, y.y, z.y, w.y));
}

// The levels of four means, of which 7.5 would be their middles.
fn mean_numbers(word: u32) -> vec4<f32> {
  let halves = vec2<u32>(word, word >> 4u) & vec2<u32>(0x0f0fu);
  return vec4<f32>(vec4<i32>((halves.xyxy >> vec4<u32>(0u, 0u, 8u, 8u)) & vec4<u32>(255u)));
}

// What level level stands for, of the sizes at word sizes.
fn size_at(sizes: u32, level: u32) -> f32 {
  return unpack2x16float(codebook_word(sizes + level / 2u))[level % 2u];
}
`],
  ["schemes/additive/normalised_pairs.hbs", `{{> codebook_pairs}}

{{> word_of_pair}}

{{> quad_of_pairs}}

{{> normalised}}
`],
  ["schemes/additive/normalised_quads.hbs", `{{> codebook_quads}}

{{> normalised}}
`],
  ["schemes/additive/normalised_words.hbs", `{{> codebook_words}}

{{> quad_of_pairs}}

{{> normalised}}
`],
  ["schemes/additive/page_mean_loaded.hbs", `  var score = vec4<f32>();
  for (var chunk = lane % LANES; chunk < select(0u, CHUNKS, tile.coded); chunk += LANES) {
    score = add_products(score, key_mean_grids(codebook, record, chunk)[3], query_rows(chunk));
  }
`],
  ["schemes/additive/page_mean_stepped.hbs", `  var score = lowest_score;
  for (var chunk = lane % LANES; chunk < select(0u, CHUNKS, tile.coded); chunk += LANES) {
    let numbers = mean_numbers(key_records[record + chunk / 2u] >> (chunk % 2u * 16u));
    score = add_products(score, numbers, mean_rows[chunk]);
  }
`],
  ["schemes/additive/places_consecutive.hbs", `{{> places_anchored}}
override LANES: u32 = WORKGROUP / SPAN; // that share a page

// Where the size of the lane's coded token i stands: the word, of those of a page, and the bit.
fn size_place(i: u32) -> vec2<u32> {
  return vec2<u32>(first_place % PAGE_TOKENS / 8u, (first_place % 8u + i) * 4u);
}
`],
  ["schemes/additive/places_paged.hbs", `
// Of a coded tile, a lane has tokens of one page: it loads what those of a page share once.
override LANES: u32 = WORKGROUP / SPAN; // that share a page
var<private> first_place: u32; // of the lane's tokens in the tile
var<private> place_step: u32; // from each to the next

// Where the size of the lane's coded token i stands: the word, of those of a page, and the bit.
fn size_place(i: u32) -> vec2<u32> {
  return vec2<u32>((first_place % PAGE_TOKENS + i * LANES) / 8u, first_place % 8u * 4u);
}
`],
  ["schemes/additive/prepare_sizes.hbs", `  prepare_sizes(block, lane);
`],
  ["schemes/additive/prepare_values.hbs", `  prepare_values(block, lane);
`],
  ["schemes/additive/quad_of_pairs.hbs", `// Words first + 4 quad to first + 4 quad + 3; first is a multiple of 4.
fn codebook_quad(first: u32, quad: u32) -> vec4<u32> {
  return vec4<u32>(codebook_pair(first, 2u * quad), codebook_pair(first, 2u * quad + 1u));
}
`],
  ["schemes/additive/quads_consecutive_added.hbs", `  // Four consecutive tokens of a lane, all of one page, which is a record.
  let row = value_row(value_first, chunk);
  let pages = (coded_count + PAGE_TOKENS - 1u) / PAGE_TOKENS;
  for (var page = 0u; page < pages; page += 1u) {
    let word = page_word(entry.slot, block.head, first_page + page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    for (var turn = 0u; turn < PAGE_QUADS; turn += SLICES) {
      let quad = turn + slice;
      if (PAGE_QUADS % SLICES != 0u && quad >= PAGE_QUADS) {
        break;
      }
      let at = page * PAGE_QUADS + quad;
      let records = vec4<u32>(word + VALUE_METADATA_WORDS);
      let tokens = vec4<u32>(4u * quad, 4u * quad + 1u, 4u * quad + 2u, 4u * quad + 3u);
{{> mix_quad}}
    }
  }
`],
  ["schemes/additive/quads_paged.hbs", `  // Four of a lane's tokens, all of one page, which is a record.
  let row = value_row(value_first, chunk);
  let pages = (coded_count + PAGE_TOKENS - 1u) / PAGE_TOKENS;
  for (var page = 0u; page < pages; page += 1u) {
    let word = page_word(entry.slot, block.head, first_page + page, VALUE_RECORD_TOKENS, VALUE_RECORD_WORDS);
    for (var quad = slice; quad < PAGE_TOKENS / 4u; quad += SLICES) {
      let half = quad / LANES;
      let at = half * WORKGROUP + page * LANES + quad % LANES;
      let records = vec4<u32>(word + VALUE_METADATA_WORDS);
      let tokens = vec4<u32>(4u * half, 4u * half + 1u, 4u * half + 2u, 4u * half + 3u) * LANES + quad % LANES;
{{> mix_quad}}
    }
  }
`],
  ["schemes/additive/score_added.hbs", `var<workgroup> page_parts: array<vec4<f32>, WORKGROUP>; // of what a page's mean adds to every score

{{> (lookup . "valuesPartial")}}

{{> key_sizes}}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  prepare_sizes(block, lane);
  workgroupBarrier();
{{> (lookup . "basePartial")}}
}

// Scores the mean of each lane's page, in parts: a page is a record.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let position = min(tile.first + lane / LANES * PAGE_TOKENS, tile.end - 1u);
  let page = (position - min(layer.sinks, position)) / PAGE_TOKENS;
  let record = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
{{> (lookup . "pageMeanPartial")}}
  page_parts[lane] = score;
  workgroupBarrier();
}

// Scores of the lane's tokens for every row: of a coded one, its page's, and its size times what its codes add. Only one of
// the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let metadata = select(0u, KEY_METADATA_WORDS, tile.coded);
  for (var i = 0u; i < SPAN; i += 1u) {
    key_at[i].word += metadata; // where the codes begin
  }
  let exact_chunks = trips(tile, false, CHUNKS);
{{> (lookup . "codedSumsPartial")}}
{{> plain_dot exactly first="0u"}}
  var page_score = vec4<f32>();
  for (var part = 0u; part < LANES; part += 1u) {
    page_score += page_parts[lane / LANES * LANES + part];
  }
  if (tile.coded) {
    for (var i = 0u; i < SPAN; i += 1u) {
      scores[i] = page_score + key_size(key_at[0].word - metadata, i) * scores[i];
    }
  }
}
`],
  ["schemes/additive/score_added_anchored.hbs", `{{> sized_keys}}

{{> pairs}}

{{> anchor_tokens}}

{{> anchored_angles}}

{{> (lookup . "codedKeysPartial")}}

{{> added_pairs}}

{{> key_sizes}}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
  prepare_sizes(block, lane);
}

{{> (lookup . "preparePartial")}}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  key_first = codebook_word(codebook + KEY_SIZES + 8u);
  key_record = key_at[0].word;
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
  let first_anchored = 2u * explicit_bands();
  let explicit_pairs = min(coded_pairs, first_anchored);
  let turned_pairs = coded_pairs;
{{> turned_bands_added}}
{{> consecutive_sizes}}
{{> explicit_bands}}
{{#with coded}}
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
{{/with}}
{{> rope_dot exactly}}
}
`],
  ["schemes/additive/score_added_anchored_integers.hbs", `{{> sized_keys}}

{{> pairs}}

{{> anchor_tokens}}

{{> anchored_angles}}

{{> (lookup . "codedKeysPartial")}}

{{> added_pairs}}

{{> key_grid_added}}

{{> anchor_digits}}

{{> lane_digits}}

{{> digit_products}}

{{> key_sizes}}

{{> prepare_digits}}

{{> turned_means}}

// Puts the block's rows, rotated to the tile's origin, into query_tile, and their digits for each anchor.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
{{> digit_anchors}}
  score_means(entry, block, tile, lane);
  workgroupBarrier();
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  key_first = codebook_word(codebook + KEY_SIZES + 8u);
  key_record = key_at[0].word;
  let centroids = key_first;
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let coded_pairs = min(coded_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
  let first_anchored = 2u * explicit_bands();
  let explicit_pairs = min(coded_pairs, first_anchored);
  let turned_pairs = min(coded_pairs, 2u * turned_bands());
  let low_score = vec4<f32>();
  var mean_score = vec4<f32>();
{{> digit_bands}}
  for (var pair = turned_pairs; pair < coded_pairs; pair += 1u) {
    mean_score += weights[mean_place(first_place / PAGE_TOKENS, pair)];
  }
  mean_score *= query_unit;
{{> consecutive_sizes}}
{{> explicit_bands}}
{{#with coded}}
{{> plain_dot first="2u * ROTARY_CHUNKS"}}
{{/with}}
{{> rope_dot exactly}}
}
`],
  ["schemes/additive/score_added_rope.hbs", `{{> pairs}}

{{> coded_keys_added}}

{{> key_sizes}}

fn prepare_block(entry: Entry, block: Block, lane: u32) {
  prepare_sizes(block, lane);
}

{{> (lookup . "preparePartial")}}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  key_first = codebook_word(codebook + KEY_SIZES + 8u);
  key_record = key_at[0].word;
  if (tile.coded) {
    for (var i = 0u; i < SPAN; i += 1u) {
      key_at[i].word = bitcast<u32>(key_size(key_record, i));
    }
  }
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
  for (var pair = 0u; pair < min(coded_chunks, ROTARY_CHUNKS); pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = coded_grids(block, first);
    let second_grids = coded_grids(block, second);
    let even_0 = query_rows(2u * pair);
    let odd_0 = query_rows(2u * pair + 1u);
    let even_1 = query_rows(2u * pair + 2u);
    let odd_1 = query_rows(2u * pair + 3u);
    let step_angle = angle_at(place_step, pair);
    var angle = turn(angle_at(first_place % NEAR, pair), angle_at(NEAR + first_place / NEAR, pair));
{{#each coded.pages}}
    if ({{index}}u < SPAN) {
      let key = turn(
        pairs_of(
          coded_key8(first_grids, block, {{place}}, first),
          coded_key8(second_grids, block, {{place}}, second),
        ),
        angle,
      );
      let first_pairs = add_products(add_products(scores[{{index}}], key.even[0], even_0), key.odd[0], odd_0);
      scores[{{index}}] = add_products(add_products(first_pairs, key.even[1], even_1), key.odd[1], odd_1);
      angle = turn(angle, step_angle);
    }
{{/each}}
  }
  for (var chunk = 2u * ROTARY_CHUNKS; chunk < coded_chunks; chunk += 2u) {
    let grids = coded_grids(block, chunk);
    let queries_0 = query_rows(chunk);
    let queries_1 = query_rows(chunk + 1u);
    for (var i = 0u; i < SPAN; i += 1u) {
      let key = coded_key8(grids, block, key_at[i], chunk);
      scores[i] = add_products(add_products(scores[i], key[0], queries_0), key[1], queries_1);
    }
  }
{{> rope_dot exactly}}
}
`],
  ["schemes/additive/search_row.hbs", `      for (var row = 0u; row < CENTROIDS / ROW; row += 1u) {
{{#each quads}}
        let words_{{index}} = codebook_quads[first + row * ROW_QUADS + {{index}}u];
{{/each}}
{{#each centroids}}
        let numbers_{{index}} = times(unit, Group({{#each parts}}levels_of({{word}}){{half}}{{comma}}{{/each}}));
        let bend_{{index}} = 0.5 * products(numbers_{{index}}, numbers_{{index}});
{{#each ranks}}
        let score_{{index}}_{{rank}} = products(rest_{{rank}}, numbers_{{index}}) - bend_{{index}};
{{/each}}
{{/each}}
{{#each fours}}
        var left_{{four}} = base_{{rank}} + vec4<f32>({{#each scores}}score_{{centroid}}_{{rank}}{{comma}}{{/each}});
{{/each}}
        loop {
{{#each fours}}
          let highest_{{four}} = highest(left_{{four}});
{{/each}}
          let best = {{#each fours}}max(highest_{{four}}, {{/each}}SPENT{{#each fours}}){{/each}};
          if (!is_kept(best, is_last)) {
            break;
          }
          var chosen = left_{{lastFour}};
          var four = {{lastFour}}u;
{{#each otherFours}}
          chosen = select(chosen, left_{{four}}, highest_{{four}} == best);
          four = select(four, {{four}}u, highest_{{four}} == best);
{{/each}}
          let place = place_of(best, chosen);
          keep(best, key + four / (ROW / 4u) * CENTROIDS + row * ROW + four % (ROW / 4u) * 4u + place);
          let others = select(chosen, vec4<f32>(SPENT), vec4<u32>(place) == vec4<u32>(0u, 1u, 2u, 3u));
{{#each fours}}
          left_{{four}} = select(left_{{four}}, others, four == {{four}}u);
{{/each}}
        }
      }
`],
  ["schemes/additive/shares.hbs", `// Steps of means, in steps of levels, and sums of each lane's weights, without sizes.
var<workgroup> page_shares: array<vec4<f32>, CHUNKS + WORKGROUP>;
`],
  ["schemes/additive/shares_within.hbs", `// The weights of exact tokens lend their memory, which a coded tile does not use: to steps of means, in steps of levels, and to sums
// of each lane's weights, without sizes.
`],
  ["schemes/additive/sized_keys.hbs", `// The lane's coded token i behind its first, in the same page, which is a record.
fn key_behind(i: u32) -> KeyAt {
  return KeyAt(key_at[i].word, key_at[0].token + i);
}
`],
  ["schemes/additive/softened_added.hbs", `      scores[i] = weight;
      row_sum += weight;
`],
  ["schemes/additive/stages_added.hbs", `const STAGES: u32 = {{stages}}u; // codes of a group, whose levels are added
const GRID_WORDS: u32 = {{gridWords}}u; // of one channel
`],
  ["schemes/additive/stepped_rows.hbs", `var<workgroup> level_steps: array<vec4<f32>, CHUNKS>;
var<private> low_score: vec4<f32>; // of what levels are counted from

// Channels 4 chunk to 4 chunk + 3 of all rows, times the steps of levels.
fn stepped_rows(chunk: u32) -> Rows {
  let level_step = level_steps[chunk];
  let rows = query_rows(chunk);
  return Rows(rows[0] * level_step, rows[1] * level_step, rows[2] * level_step, rows[3] * level_step);
}
`],
  ["schemes/additive/sums_exact.hbs", `{{> exact_units}}

// The sums of two channels over the record's tokens. They are exact, so no order of tokens changes them.
fn channel_sums(entry: Entry, head: u32, record_first: u32, encode_end: u32, pair: u32) -> vec2<f32> {
  var sum_0 = vec2<i32>();
  var sum_1 = vec2<i32>();
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    let numbers = unpack2x16float(exact[token_of(entry, head, record_first, encode_end, token) + pair]);
    sum_0 += units_of(numbers.x);
    sum_1 += units_of(numbers.y);
  }
  let wholes = vec2<f32>(vec2<i32>(carried(sum_0).x, carried(sum_1).x));
  let rests = vec2<f32>(vec2<i32>(carried(sum_0).y, carried(sum_1).y));
  return wholes / 32.0 + rests / 33554432.0;
}
`],
  ["schemes/additive/sums_turned.hbs", `// The sums of two channels over the record's tokens, which are turned: those of one record are always added in one order.
fn channel_sums(entry: Entry, head: u32, record_first: u32, encode_end: u32, pair: u32) -> vec2<f32> {
  var sum = vec2<f32>();
  for (var i = 0u; i < RECORD_TOKENS; i += 1u) {
    let token = token_of(entry, head, record_first, encode_end, i);
    let turned = turned_chunk(token.word, token.coded, pair / 2u);
    sum += select(turned.xy, turned.zw, pair % 2u == 1u);
  }
  return sum;
}
`],
  ["schemes/additive/table16_added.hbs", `  let coded_codes = trips(tile, true, KEY_CODES);
  let first = table_of(block) * TABLE_ENTRIES;
{{> table16_sums}}
`],
  ["schemes/additive/table_added.hbs", `  let coded_codes = trips(tile, true, KEY_CODES);
  let first = table_of(block) * TABLE_ENTRIES;
{{> table_sums}}
`],
  ["schemes/additive/table_values.hbs", `{{> table_place}}

{{> mean_rows}}
`],
  ["schemes/additive/token_part_c2.hbs", `// Channels 2 part and 2 part + 1.
fn token_part(token: Token, part: u32) -> Numbers {
  return unpack2x16float(exact[token + part]);
}
`],
  ["schemes/additive/token_part_c4.hbs", `// Channels 4 part to 4 part + 3.
fn token_part(token: Token, part: u32) -> Numbers {
  let at = token + 2u * part;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}
`],
  ["schemes/additive/token_plain.hbs", `alias Token = u32; // the first word of an exact vector

fn token_at(word: u32, coded: u32) -> Token {
  return word;
}

{{> (lookup . "tokenPartPartial")}}
`],
  ["schemes/additive/token_sizes.hbs", `var<workgroup> {{side}}_sizes: array<f32, SIZES>;

// The size of the lane's coded token i, of the record at record.
fn {{side}}_size(record: u32, i: u32) -> f32 {
  let place = size_place(i);
  return {{side}}_sizes[({{side}}_records[record + HEAD_DIM / 8u + place.x] >> place.y) & (SIZES - 1u)];
}
`],
  ["schemes/additive/token_turned.hbs", `// An exact vector, which is turned by its place.
struct Token {
  word: u32, // the first
  coded: u32, // its place, counted from behind the sinks
}

fn token_at(word: u32, coded: u32) -> Token {
  return Token(word, coded);
}

{{> turned_chunk}}

// Its channels PART part to PART part + PART - 1.
fn token_part(token: Token, part: u32) -> Numbers {
  let turned = turned_chunk(token.word, token.coded, part * PART / 4u);
  return {{turnedPart}};
}
`],
  ["schemes/additive/turned_bands_added.hbs", `  // Levels are multiplied with queries times their steps. What the lane's tokens share is scored once.
  var low_score = vec4<f32>();
  var mean_score = vec4<f32>();
  for (var pair = first_anchored; pair < turned_pairs; pair += 2u) {
    let first = select(pair, 2u * pair, INTERLEAVED);
    let second = select(pair + ROTARY_CHUNKS, 2u * pair + 2u, INTERLEAVED);
    let first_grids = coded_grids(block, first);
    let second_grids = coded_grids(block, second);
    let lows = paired_grids(first_grids, second_grids, 0u);
    let steps = paired_grids(first_grids, second_grids, 1u);
    let means = paired_grids(first_grids, second_grids, 3u);
    let angle = middle_angle(tile, pair);
    let turned_0 = turned_rows(pair, angle.even[0], angle.odd[0]);
    let turned_1 = turned_rows(pair + 1u, angle.even[1], angle.odd[1]);
    low_score = add_pairs(low_score, lows, turned_0, turned_1);
    mean_score = add_pairs(mean_score, means, turned_0, turned_1);
    let queries_0 = RowPairs(stepped(turned_0.even, steps.even[0]), stepped(turned_0.odd, steps.odd[0]));
    let queries_1 = RowPairs(stepped(turned_1.even, steps.even[1]), stepped(turned_1.odd, steps.odd[1]));
{{#each coded.pages}}
    if ({{index}}u < SPAN) {
      let levels = pairs_of(
        key_chunks(key_first, key_record + KEY_METADATA_WORDS, {{place}}.token, first),
        key_chunks(key_first, key_record + KEY_METADATA_WORDS, {{place}}.token, second),
      );
      scores[{{index}}] = add_pairs(scores[{{index}}], levels, queries_0, queries_1);
    }
{{/each}}
  }
`],
  ["schemes/additive/turned_means.hbs", `// Scores of the means of the tile's pages, where anchors are whole pages, by four pairs: behind those of the levels' middles.
fn mean_place(page: u32, pair: u32) -> u32 {
  return 2u * WORKGROUP + page * ROTARY_CHUNKS + pair;
}

// What a record's mean scores in four pairs.
fn turned_mean(codebook: u32, record: u32, angle: mat2x4<f32>, pair: u32) -> vec4<f32> {
  let means = paired(
    key_mean_grids(codebook, record, first_chunk(pair))[3],
    key_mean_grids(codebook, record, second_chunk(pair))[3],
  );
  return turned_score(angle, means, pair);
}

fn score_means(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let first_pair = 2u * turned_bands();
  let pairs = ROTARY_CHUNKS - min(first_pair, ROTARY_CHUNKS);
  for (var item = lane; item < select(0u, SPAN * pairs, tile.coded); item += WORKGROUP) {
    let page = item / pairs;
    let pair = first_pair + item % pairs;
    let token = min(tile.first + page * PAGE_TOKENS, tile.end - 1u) - layer.sinks;
    let record = page_word(entry.slot, block.head, token / PAGE_TOKENS, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
    let angle = anchor_angle(tile, anchors_before(tile, pair / 2u, token), pair);
    weights[mean_place(page, pair)] = turned_mean(codebook, record, angle, pair);
  }
}
`],
  ["schemes/additive/unit_sized.hbs", `    let kept = rescale;
    sized_sum *= rescale;
`],
  ["schemes/additive/word_of_pair.hbs", `fn codebook_word(at: u32) -> u32 {
  return codebook_pair(at, 0u)[at % 2u];
}
`],
  ["schemes/additive/words_added.hbs", `const {{upper}}_QUADS: u32 = {{quads}}u; // words of a centroid

{{> (lookup . "codesPartial")}}
// Where the centroids of the group begin that holds chunk chunk, in whose middle the chunk may lie.
fn {{side}}_row(centroids: u32, chunk: u32) -> u32 {
  return centroids + chunk / {{upper}}_QUADS * {{upper}}_GROUP_CENTROIDS * {{upper}}_QUADS + chunk % {{upper}}_QUADS;
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token, whose record's codes begin at word at, four to a word.
// Bytes are added without a carry: a channel's levels share a grid, and their largest sum is at most 255.
fn {{side}}_words(row: u32, at: u32, token: u32, chunk: u32) -> array<u32, {{chunkCount}}> {
  let codes = {{side}}_codes(at, token, chunk / {{upper}}_QUADS * {{upper}}_STAGES);
{{#each loads}}
  let levels_{{index}} = {{#each stages}}codebook_{{../width}}(row{{../place}}(codes[{{code}}] + {{first}}u) * {{../factor}}u){{joint}}{{/each}};
{{/each}}
  return array<u32, {{chunkCount}}>(
{{#each words}}
    {{levels}},
{{/each}}
  );
}
`],
  ["schemes/blocks/channel_limits.hbs", `alias Numbers = f32;

{{> extremes}}

var<workgroup> extremes: array<vec4<f32>, GROUPS>; // of each channel: low, low_2, high_2 and high
var<workgroup> magnitude_bits: atomic<u32>;

// Finds what the numbers of each channel of a block lie among. A group is a channel.
fn find_extremes(entry: Entry, head: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    var found = no_extremes();
    for (var i = 0u; i < GROUP; i += 1u) {
      found = with_numbers(found, member_of(entry, head, record_first, encode_end, group, i));
    }
    let has_bad = max(-found.low, found.high) >= BEYOND;
    var held = no_extremes();
    for (var i = 0u; i < select(0u, GROUP, has_bad); i += 1u) {
      held = with_held(held, member_of(entry, head, record_first, encode_end, group, i));
    }
    found = settled(found, held, has_bad);
    extremes[group] = vec4<f32>(found.low, found.low_2, found.high_2, found.high);
    atomicAdd(&magnitude_bits, pack2x16float(vec2<f32>(magnitudes_of(found), 0.0)));
  }
  workgroupBarrier();
}

// What the numbers of a channel are clamped to, so that one far from all others does not spoil them.
fn channel_limits(group: u32) -> Limits {
  let own = extremes[group];
  return limits_of(Extremes(own.x, own.y, own.z, own.w), typical_of(atomicLoad(&magnitude_bits)));
}
`],
  ["schemes/blocks/exact_sums.hbs", `{{> exact_units}}

// Whether a is less than b; both are carried.
fn is_less(a: vec2<i32>, b: vec2<i32>) -> bool {
  return a.x < b.x || (a.x == b.x && a.y < b.y);
}

// The binary16 number nearest to sum / divisor, ties to even, never the negative zero. Division may err; the comparisons that
// decide are exact.
fn mean_bits(sum: vec2<i32>, divisor: f32) -> u32 {
  let is_negative = sum.x < 0;
  let magnitude = carried(select(sum, -sum, is_negative));
  let guess = (f32(magnitude.x) / 32.0 + f32(magnitude.y) / 33554432.0) / divisor;
  var bits = pack2x16float(vec2<f32>(min(guess, 65504.0), 0.0));
  bits -= min(bits, 1u);
  for (var i = 0u; i < 2u; i += 1u) {
    let middle = units_of(divisor * 0.5 * (unpack2x16float(bits).x + unpack2x16float(bits + 1u).x));
    let is_tie = all(middle == magnitude);
    bits += select(0u, 1u, bits < 0x7bffu && (is_less(middle, magnitude) || (is_tie && (bits & 1u) == 1u)));
  }
  return bits | select(0u, 0x8000u, is_negative && bits > 0u);
}
`],
  ["schemes/blocks/exact_units.hbs", `// Sums of binary16 numbers without rounding: x counts 32nds, y counts 2^-25, of which a sum that is carried has less than 2^20.
// 64 numbers, or 64 times one, are within i32.
fn units_of(number: f32) -> vec2<i32> {
  let whole = floor(number * 32.0);
  return vec2<i32>(i32(whole), i32((number - whole / 32.0) * 33554432.0));
}

fn carried(sum: vec2<i32>) -> vec2<i32> {
  return vec2<i32>(sum.x + (sum.y >> 20u), sum.y & 0xfffff);
}
`],
  ["schemes/blocks/extremes.hbs", `const BEYOND: f32 = 65504.0; // where numbers lie that f16 could not hold
const REACH: f32 = 16.0; // how far a number may lie from all others of its channel, in their range or the typical magnitude

// What the numbers of channels lie among: the smallest, the second smallest, the second largest and the largest.
struct Extremes {
  low: Numbers,
  low_2: Numbers,
  high_2: Numbers,
  high: Numbers,
}

struct Limits {
  low: Numbers,
  high: Numbers,
}

// Extremes of no numbers.
fn no_extremes() -> Extremes {
  return Extremes(Numbers(3.0e38), Numbers(3.0e38), Numbers(-3.0e38), Numbers(-3.0e38));
}

fn with_numbers(found: Extremes, numbers: Numbers) -> Extremes {
  return Extremes(
    min(found.low, numbers),
    min(found.low_2, max(found.low, numbers)),
    max(found.high_2, min(found.high, numbers)),
    max(found.high, numbers),
  );
}

// The same without those that f16 could not hold.
fn with_held(found: Extremes, numbers: Numbers) -> Extremes {
  let held = abs(numbers) < Numbers(BEYOND);
  let lows = with_numbers(found, select(Numbers(3.0e38), numbers, held));
  let highs = with_numbers(found, select(Numbers(-3.0e38), numbers, held));
  return Extremes(lows.low, lows.low_2, highs.high_2, highs.high);
}

// Where some are of them, those that f16 could hold; all where these are fewer than three.
fn settled(found: Extremes, held: Extremes, has_bad: bool) -> Extremes {
  let few = held.low_2 > held.high_2;
  return Extremes(
    select(found.low, select(held.low, found.low, few), has_bad),
    select(found.low_2, select(held.low_2, found.low, few), has_bad),
    select(found.high_2, select(held.high_2, found.high, few), has_bad),
    select(found.high, select(held.high, found.high, few), has_bad),
  );
}

// The magnitude of a channel, which no single number decides.
fn magnitudes_of(found: Extremes) -> Numbers {
  return max(abs(found.low_2), abs(found.high_2));
}

// The typical magnitude, given the sum of all channels' as the bits of f16: their mean is nearly that of logarithms, so that a few
// large channels change it little, and whole numbers add up alike everywhere.
fn typical_of(magnitude_bits: u32) -> f32 {
  return unpack2x16float(magnitude_bits / HEAD_DIM).x;
}

// What numbers are clamped to: they lie within as a rule. One that lies far from all others, on either side, is taken for the
// nearest of them.
fn limits_of(found: Extremes, typical: f32) -> Limits {
  let reach = REACH * max(found.high_2 - found.low_2, Numbers(typical));
  return Limits(
    select(found.low, found.low_2, found.low_2 - found.low > reach),
    select(found.high, found.high_2, found.high - found.high_2 > reach),
  );
}
`],
  ["schemes/blocks/float16_quotient.hbs", `// The binary16 number nearest to extent / divisor, ties to even. Division may err; the comparisons that decide are exact.
fn quotient_bits(extent: f32, divisor: f32) -> u32 {
  var bits = pack2x16float(vec2<f32>(extent / divisor, 0.0)) & 0x7fffu; // extent may be the negative zero
  bits -= min(bits, 1u);
  for (var i = 0u; i < 2u; i += 1u) {
    let middle = divisor * 0.5 * (unpack2x16float(bits).x + unpack2x16float(bits + 1u).x);
    bits += select(0u, 1u, extent > middle || (extent == middle && (bits & 1u) == 1u));
  }
  return bits;
}
`],
  ["schemes/blocks/level_code.hbs", `// The code of the level nearest to a number, ties to the higher code, where own are the scale and the number whose code is zero.
// Division may err; the comparisons that decide are exact.
fn level_code(number: f32, own: vec2<f32>, zero: f32, highest: f32) -> u32 {
  let scale = abs(own.x);
  if (scale == 0.0) {
    return u32(zero);
  }
  let difference = (number - own.y) * sign(own.x);
  let code = clamp(floor(difference / scale + zero + 0.5), 0.0, highest);
  if (code < highest && 2.0 * difference >= (2.0 * (code - zero) + 1.0) * scale) {
    return u32(code) + 1u;
  }
  if (code > 0.0 && 2.0 * difference < (2.0 * (code - zero) - 1.0) * scale) {
    return u32(code) - 1u;
  }
  return u32(code);
}
`],
  ["schemes/blocks/member_of.hbs", `// Channel channel of the exact vector at word word.
fn exact_channel(word: u32, channel: u32) -> f32 {
  return unpack2x16float(exact[word + (channel >> 1u)])[channel & 1u];
}

// Number i of a group, where tokens that are not encoded now have the nearest that is.
fn member_of(entry: Entry, head: u32, record_first: u32, encode_end: u32, group: u32, i: u32) -> f32 {
  let token = clamp(record_first + member_token(group, i), entry.encode_from, encode_end - 1u);
  let word = exact_word(entry.slot, SIDE, layer.sinks + token, head);
  return exact_channel(word, member_channel(group, i));
}
`],
  ["schemes/blocks/members_tokens.hbs", `// A group is all tokens of the record, in one channel.
fn group_of(token: u32, channel: u32) -> u32 {
  return channel;
}

fn member_token(group: u32, member: u32) -> u32 {
  return member;
}

fn member_channel(group: u32, member: u32) -> u32 {
  return group;
}
`],
  ["schemes/codes/chunks_of_words.hbs", `// The same, a chunk a column.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let words = {{side}}_words({{side}}_row(codebook, chunk), record, token, chunk);
  return mat{{chunkCount}}x4<f32>(
{{#each columns}}
    levels_of(words[{{index}}]),
{{/each}}
  );
}
`],
  ["schemes/codes/code_aligned.hbs", `// Code index of the record at record; codes never straddle words at this width.
fn {{side}}_code(record: u32, index: u32) -> u32 {
  let bit = index * {{upper}}_BITS;
  return ({{side}}_records[record + (bit >> 5u)] >> (bit & 31u)) & {{upper}}_MASK;
}
`],
  ["schemes/codes/code_straddling.hbs", `// Code index of the record at record; a code may straddle two words.
fn {{side}}_code(record: u32, index: u32) -> u32 {
  let bit = index * {{upper}}_BITS;
  let word = record + (bit >> 5u);
  let shift = bit & 31u;
  var code = {{side}}_records[word] >> shift;
  if (shift + {{upper}}_BITS > 32u) {
    code |= {{side}}_records[word + 1u] << (32u - shift);
  }
  return code & {{upper}}_MASK;
}
`],
  ["schemes/codes/coded_constants.hbs", `const {{upper}}_CHANNELS: u32 = {{channels}}u; // channels per code
const {{upper}}_BITS: u32 = {{codeBits}}u; // bits per code
const {{upper}}_MASK: u32 = {{mask}}u;
const {{upper}}_CENTROIDS: u32 = {{centroids}}u;
const {{upper}}_CODES: u32 = {{codes}}u; // codes per token
const {{upper}}_RUN_TOKENS: u32 = {{runTokens}}u; // tokens whose codes lie evenly apart: by
const {{upper}}_TOKEN_WORDS: u32 = {{tokenWords}}u; // so many words, or if these are none
const {{upper}}_TOKEN_CODES: u32 = {{tokenCodes}}u; // by so many codes
const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
`],
  ["schemes/codes/codes_apart.hbs", `{{> (lookup . "codePartial")}}

// Codes of token token in a row, from code index on.
fn {{side}}_codes(record: u32, token: u32, index: u32) -> array<u32, {{laneCodes.length}}> {
  return array<u32, {{laneCodes.length}}>(
{{#each laneCodes}}
    {{../side}}_code(record + token * {{../upper}}_TOKEN_WORDS, token * {{../upper}}_TOKEN_CODES + index + {{index}}u),
{{/each}}
  );
}
`],
  ["schemes/codes/codes_word.hbs", `// Codes of token token in a row, from code index on; they lie in one word.
fn {{side}}_codes(record: u32, token: u32, index: u32) -> array<u32, {{laneCodes.length}}> {
  let bit = (token * {{upper}}_TOKEN_CODES + index) * {{upper}}_BITS;
  let word = {{side}}_records[record + ((bit >> 5u) + token * {{upper}}_TOKEN_WORDS)] >> (bit & 31u);
  return array<u32, {{laneCodes.length}}>(
{{#each laneCodes}}
    (word >> ({{index}}u * {{../upper}}_BITS)) & {{../upper}}_MASK,
{{/each}}
  );
}
`],
  ["schemes/codes/codes_word_each.hbs", `// Codes of token token in a row, from code index on; they lie in one word.
fn {{side}}_codes(record: u32, token: u32, index: u32) -> array<u32, {{laneCodes.length}}> {
  let bit = (token * {{upper}}_TOKEN_CODES + index) * {{upper}}_BITS;
  let word = {{side}}_records[record + ((bit >> 5u) + token * {{upper}}_TOKEN_WORDS)];
  return array<u32, {{laneCodes.length}}>(
{{#each laneCodes}}
    (word >> ((bit & 31u) + {{index}}u * {{../upper}}_BITS)) & {{../upper}}_MASK,
{{/each}}
  );
}
`],
  ["schemes/codes/codes_words.hbs", `// Codes of token token in a row, from code index on; they fill whole words.
fn {{side}}_codes(record: u32, token: u32, index: u32) -> array<u32, {{laneCodes.length}}> {
  let first = record + ((token * {{upper}}_TOKEN_CODES + index) * {{upper}}_BITS / 32u + token * {{upper}}_TOKEN_WORDS);
{{#each laneWords}}
  let word_{{index}} = {{../side}}_records[first + {{index}}u];
{{/each}}
  return array<u32, {{laneCodes.length}}>(
{{#each laneCodes}}
    (word_{{word}} >> {{shift}}u) & {{../upper}}_MASK,
{{/each}}
  );
}
`],
  ["schemes/codes/kept_mask.hbs", `// Bits of word word that the first kept codes of a record fill.
fn kept_mask(word: u32, kept: u32) -> u32 {
  let bits = kept * BITS - min(kept * BITS, word * 32u);
  return select((1u << (bits & 31u)) - 1u, 0xffffffffu, bits >= 32u);
}
`],
  ["schemes/codes/write_codes.hbs", `// Writes word word of the record whose first token is record_first, the workgroup's record record.
fn write_word(entry: Entry, head: u32, record_first: u32, record: u32, word: u32, encode_end: u32) {
  if (record_first >= encode_end) {
    return;
  }
  let at = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS + word;
  let kept = (entry.encode_from - min(record_first, entry.encode_from)) * CODES;
  var bits = 0u;
  if (kept > 0u) {
    bits = records[at] & kept_mask(word, kept);
  }
  let written = min(encode_end - record_first, RECORD_TOKENS) * CODES;
  let end = min(written, (word * 32u + 31u) / BITS + 1u);
  for (var item = max(kept, word * 32u / BITS); item < end; item += 1u) {
    let code = codes[record * RECORD_TOKENS * CODES + item];
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  records[at] = bits;
}
`],
  ["schemes/coupled/centroid_grid.hbs", `// The grids of channels 4 chunk to 4 chunk + 3.
fn {{side}}_grid(codebook: u32, chunk: u32) -> Grid {
  let at = codebook + chunk * 4u;
  let first = codebook_pair(at, 0u);
  let second = codebook_pair(at, 1u);
  let grid_0 = unpack2x16float(first.x);
  let grid_1 = unpack2x16float(first.y);
  let grid_2 = unpack2x16float(second.x);
  let grid_3 = unpack2x16float(second.y);
  return Grid(
    vec4<f32>(grid_0.x, grid_1.x, grid_2.x, grid_3.x),
    vec4<f32>(grid_0.y, grid_1.y, grid_2.y, grid_3.y) / 64.0,
  );
}
`],
  ["schemes/coupled/chunks_c1.hbs", `{{> centroid_grid}}

{{> (lookup . "codesPartial")}}
// The level of a centroid of one channel, four centroids to a word.
fn {{side}}_level(codebook: u32, centroid: u32) -> f32 {
  return levels_of(codebook_word(codebook + HEAD_DIM + (centroid >> 2u)) >> ((centroid & 3u) * 8u)).x;
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk a column.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let first = chunk * 4u;
  let codes = {{side}}_codes(record, token, first);
  return mat{{chunkCount}}x4<f32>(
{{#each laneCodes}}
    {{../side}}_level(codebook, (first + {{index}}u) * {{../upper}}_CENTROIDS + codes[{{index}}]),
{{/each}}
  );
}
`],
  ["schemes/coupled/chunks_c2.hbs", `{{> centroid_grid}}

{{> (lookup . "codesPartial")}}
// Levels of the two channels of a centroid, two centroids to a word.
fn {{side}}_levels(codebook: u32, centroid: u32) -> vec2<f32> {
  return levels_of({{centroidsIn}}_word(codebook + HEAD_DIM + (centroid >> 1u)) >> ((centroid & 1u) * 16u)).xy;
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk a column.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let first = chunk * 2u;
  let codes = {{side}}_codes(record, token, first);
{{#each laneCodes}}
  let levels_{{index}} = {{../side}}_levels(codebook, (first + {{index}}u) * {{../upper}}_CENTROIDS + codes[{{index}}]);
{{/each}}
  return mat{{chunkCount}}x4<f32>(
{{#each chunks}}
    vec4<f32>(levels_{{code}}, levels_{{next}}),
{{/each}}
  );
}
`],
  ["schemes/coupled/chunks_c4.hbs", `{{> words_c4}}

{{> chunks_of_words}}
`],
  ["schemes/coupled/chunks_none.hbs", `{{> (lookup . "codesPartial")}}
`],
  ["schemes/coupled/chunks_wide.hbs", `{{> words_wide}}

{{> chunks_of_words}}
`],
  ["schemes/coupled/codebook_none.hbs", `{{! No codebook that is learned. }}
`],
  ["schemes/coupled/codebook_pairs.hbs", `// Words 2 pair and the next.
fn codebook_pair_at(pair: u32) -> vec2<u32> {
  return codebook_pairs[pair];
}

// Words first + 2 pair and the next; first is even. An index in pairs spares what a division would cost.
fn codebook_pair(first: u32, pair: u32) -> vec2<u32> {
  return codebook_pair_at((first >> 1u) + pair);
}
`],
  ["schemes/coupled/codebook_words.hbs", `fn codebook_word(at: u32) -> u32 {
  return codebooks[at];
}

// Words 2 pair and the next.
fn codebook_pair_at(pair: u32) -> vec2<u32> {
  return vec2<u32>(codebooks[2u * pair], codebooks[2u * pair + 1u]);
}

// Words first + 2 pair and the next; first is even.
fn codebook_pair(first: u32, pair: u32) -> vec2<u32> {
  return codebook_pair_at(first / 2u + pair);
}
`],
  ["schemes/coupled/coded_keys_levels.hbs", `fn coded_grids(block: Block, chunk: u32) -> Grids {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  return Grids(key_grid(codebook, chunk), key_grid(codebook, chunk + 1u));
}

fn coded_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  let levels = key_chunks(codebook, at.word, at.token, chunk);
  return mat2x4<f32>(
    grids.first.low + levels[0] * grids.first.step,
    grids.second.low + levels[1] * grids.second.step,
  );
}
`],
  ["schemes/coupled/encode_coupled.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const CHANNELS: u32 = {{channels}}u; // channels per code
const BITS: u32 = {{codeBits}}u; // bits per code
const CENTROIDS: u32 = {{centroids}}u;
const CODES: u32 = {{codes}}u; // codes per token
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{> (lookup . "rowConstantsPartial")}}
const LANES: u32 = {{lanes}}u; // lanes that share the search for one code
const MAX_TOKENS: u32 = {{tokens}}u;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
override TOKENS: u32 = 1u; // tokens a lane compares with a centroid it has loaded, at most MAX_TOKENS
override BLOCK: u32 = RECORD_TOKENS; // tokens of one workgroup: whole records, a multiple of TOKENS
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> codes: array<u32, BLOCK * CODES>;
var<workgroup> distances: array<f32, WORKGROUP * TOKENS>;
var<workgroup> nearest: array<u32, WORKGROUP * TOKENS>;
var<private> scale: array<f32, CHANNELS>; // of the lane's group
var<private> low: array<f32, CHANNELS>; // the lowest level's number and a level's step, times scale
var<private> level_step: array<f32, CHANNELS>;
var<private> vectors: array<f32, MAX_TOKENS * CHANNELS>;
var<private> centroid: array<f32, CHANNELS>;

{{> levels}}

{{> (lookup . "groupPartial")}}

// Squared distance of a loaded vector to the loaded centroid.
fn distance_of(token: u32) -> f32 {
  var distance = 0.0;
  for (var i = 0u; i < CHANNELS; i += 1u) {
    let difference = vectors[token * CHANNELS + i] - centroid[i];
    distance += difference * difference;
  }
  return distance;
}

{{> kept_mask}}

// Codes of the tokens that leave the exact tier (Coupled Quantization, arXiv 2405.03917 §3): nearest centroid, ties to the lowest index.
// A workgroup owns whole records, so tokens coded before are kept without atomics. Grid: (blocks of tokens, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let block_first = entry.encode_from / RECORD_TOKENS * RECORD_TOKENS + workgroup.x * BLOCK;
  if (block_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODEBOOK_WORDS;
  let first_scale = select(layer.value_scale, layer.key_scale, SIDE == 0u);
  let head_scale = select(first_scale + model_head * HEAD_DIM, 0u, first_scale == 0u);

  for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
    let group = round + lane / LANES;
    let share = min(group, CODES - 1u); // idle lanes repeat the last group
    load_grid(codebook, head_scale, share);
    for (var batch = 0u; batch < BLOCK; batch += TOKENS) {
      let first = block_first + batch;
      var best = array<f32, MAX_TOKENS>();
      var best_code = array<u32, MAX_TOKENS>();
      for (var token = 0u; token < TOKENS; token += 1u) {
        best[token] = 3.0e38;
        let position = layer.sinks + min(max(first + token, entry.encode_from), encode_end - 1u);
{{> (lookup . "loadedPartial")}}
      }
{{> (lookup . "rowsPartial")}}
      if (TOKENS > ROW_TOKENS) {
        for (var code = lane % LANES; code < CENTROIDS; code += LANES) {
          load_centroid(codebook, share, code);
          for (var token = 0u; token < TOKENS; token += 1u) {
            let distance = distance_of(token);
            if (distance < best[token]) {
              best[token] = distance;
              best_code[token] = code;
            }
          }
        }
      }
      for (var token = 0u; token < TOKENS; token += 1u) {
        distances[token * WORKGROUP + lane] = best[token];
        nearest[token * WORKGROUP + lane] = best_code[token];
      }
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var shortest = distances[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = distances[other] == shortest && nearest[other] < winner;
          if (distances[other] < shortest || tie) {
            shortest = distances[other];
            winner = nearest[other];
          }
        }
        let item_group = round + item % (WORKGROUP / LANES);
        if (item_group < CODES) {
          codes[(batch + item / (WORKGROUP / LANES)) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }
  }

  for (var word = lane; word < BLOCK / RECORD_TOKENS * RECORD_WORDS; word += WORKGROUP) {
    let record = word / RECORD_WORDS;
    write_word(entry, head, block_first + record * RECORD_TOKENS, record, word % RECORD_WORDS, encode_end);
  }
}

{{> write_codes}}
`],
  ["schemes/coupled/finish_grid.hbs", `fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
{{> finish_levels}}
}
`],
  ["schemes/coupled/finish_levels.hbs", `  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let grid = value_grid(codebook, lane_chunk(lane) + i);
      sums[i] = grid.low * row_sums[lane / CHUNK_LANES] + grid.step * sums[i];
    }
  }
`],
  ["schemes/coupled/grid.hbs", `// What the levels of four channels stand for: low + level * step.
struct Grid {
  low: vec4<f32>,
  step: vec4<f32>,
}

{{> levels}}
`],
  ["schemes/coupled/group_c1.hbs", `// Loads the one channel of group group of the exact vector at word word, two channels to a word.
fn load_vector(token: u32, word: u32, group: u32) {
  vectors[token] = unpack2x16float(exact[word + (group >> 1u)])[group & 1u] * scale[0];
}

// Loads centroid code of group group, four centroids to a word.
fn load_centroid(codebook: u32, group: u32, code: u32) {
  let at = group * CENTROIDS + code;
  let levels = levels_of(codebooks[codebook + HEAD_DIM + (at >> 2u)] >> ((at & 3u) * 8u));
  centroid[0] = low[0] + levels.x * level_step[0];
}

{{> load_grid}}
`],
  ["schemes/coupled/group_c2.hbs", `// Loads group group of the exact vector at word word, two channels to a word.
fn load_vector(token: u32, word: u32, group: u32) {
  for (var pair = 0u; pair < CHANNELS / 2u; pair += 1u) {
    let channels = unpack2x16float(exact[word + group * (CHANNELS / 2u) + pair]);
    vectors[token * CHANNELS + 2u * pair] = channels.x * scale[2u * pair];
    vectors[token * CHANNELS + 2u * pair + 1u] = channels.y * scale[2u * pair + 1u];
  }
}

// Loads centroid code of group group, two centroids to a word.
fn load_centroid(codebook: u32, group: u32, code: u32) {
  let at = group * CENTROIDS + code;
  let levels = levels_of(codebooks[codebook + HEAD_DIM + (at >> 1u)] >> ((at & 1u) * 16u));
  centroid[0] = low[0] + levels.x * level_step[0];
  centroid[1] = low[1] + levels.y * level_step[1];
}

{{> load_grid}}
`],
  ["schemes/coupled/group_wide.hbs", `// Loads group group of the exact vector at word word, two channels to a word.
fn load_vector(token: u32, word: u32, group: u32) {
  for (var pair = 0u; pair < CHANNELS / 2u; pair += 1u) {
    let channels = unpack2x16float(exact[word + group * (CHANNELS / 2u) + pair]);
    vectors[token * CHANNELS + 2u * pair] = channels.x * scale[2u * pair];
    vectors[token * CHANNELS + 2u * pair + 1u] = channels.y * scale[2u * pair + 1u];
  }
}

// Loads centroid code of group group, four levels to a word.
fn load_centroid(codebook: u32, group: u32, code: u32) {
  let at = codebook + HEAD_DIM + (group * CENTROIDS + code) * (CHANNELS / 4u);
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let levels = levels_of(codebooks[at + quad]);
    centroid[4u * quad] = low[4u * quad] + levels.x * level_step[4u * quad];
    centroid[4u * quad + 1u] = low[4u * quad + 1u] + levels.y * level_step[4u * quad + 1u];
    centroid[4u * quad + 2u] = low[4u * quad + 2u] + levels.z * level_step[4u * quad + 2u];
    centroid[4u * quad + 3u] = low[4u * quad + 3u] + levels.w * level_step[4u * quad + 3u];
  }
}

{{> load_channel}}

// Loads scale and grid of group group.
fn load_grid(codebook: u32, first_scale: u32, group: u32) {
  for (var quad = 0u; quad < CHANNELS / 4u; quad += 1u) {
    let channel = group * CHANNELS + 4u * quad;
    let grid = codebook_quads[(codebook + channel) / 4u];
    let given = bitcast<vec4<f32>>(codebook_quads[(first_scale + channel) / 4u]);
    let scales = select(vec4<f32>(1.0), given, first_scale != 0u);
    load_channel(4u * quad, grid.x, scales.x);
    load_channel(4u * quad + 1u, grid.y, scales.y);
    load_channel(4u * quad + 2u, grid.z, scales.z);
    load_channel(4u * quad + 3u, grid.w, scales.w);
  }
}
`],
  ["schemes/coupled/key_steps_grid.hbs", `fn key_steps(codebook: u32, chunk: u32) -> Grid {
  return key_grid(codebook, chunk);
}
`],
  ["schemes/coupled/levels.hbs", `// The four levels in a word. They are signed on the way, because processors have no instruction for unsigned numbers.
fn levels_of(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)));
}
`],
  ["schemes/coupled/load_c1.hbs", `{{> (lookup . "codePartial")}}
// The level of the centroid of one channel, four centroids to a word.
fn {{side}}_level(codebook: u32, record: u32, token: u32, channel: u32) -> f32 {
  let at = channel * {{upper}}_CENTROIDS + {{side}}_code(record, token * {{upper}}_CODES + channel);
  return levels_of(codebook_word(codebook + HEAD_DIM + (at >> 2u)) >> ((at & 3u) * 8u)).x;
}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let channel = chunk * 4u;
  let levels = vec4<f32>(
    {{side}}_level(codebook, record, token, channel),
    {{side}}_level(codebook, record, token, channel + 1u),
    {{side}}_level(codebook, record, token, channel + 2u),
    {{side}}_level(codebook, record, token, channel + 3u),
  );
  return grid.low + levels * grid.step;
}
`],
  ["schemes/coupled/load_c2.hbs", `{{> (lookup . "codePartial")}}
// The levels of the centroid of group group, two centroids to a word.
fn {{side}}_levels(codebook: u32, record: u32, token: u32, group: u32) -> vec2<f32> {
  let at = group * {{upper}}_CENTROIDS + {{side}}_code(record, token * {{upper}}_CODES + group);
  return levels_of(codebook_word(codebook + HEAD_DIM + (at >> 1u)) >> ((at & 1u) * 16u)).xy;
}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let levels = vec4<f32>(
    {{side}}_levels(codebook, record, token, chunk * 2u),
    {{side}}_levels(codebook, record, token, chunk * 2u + 1u),
  );
  return grid.low + levels * grid.step;
}
`],
  ["schemes/coupled/load_channel.hbs", `// Keeps scale and grid of channel i of the group.
fn load_channel(i: u32, grid_word: u32, channel_scale: f32) {
  let grid = unpack2x16float(grid_word);
  scale[i] = channel_scale;
  low[i] = grid.x * channel_scale;
  level_step[i] = grid.y / 64.0 * channel_scale;
}
`],
  ["schemes/coupled/load_grid.hbs", `{{> load_channel}}

// Loads scale and grid of group group.
fn load_grid(codebook: u32, first_scale: u32, group: u32) {
  for (var i = 0u; i < CHANNELS; i += 1u) {
    let channel = group * CHANNELS + i;
    let given = bitcast<f32>(codebooks[first_scale + channel]);
    load_channel(i, codebooks[codebook + channel], select(1.0, given, first_scale != 0u));
  }
}
`],
  ["schemes/coupled/load_wide.hbs", `{{> (lookup . "codePartial")}}
// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: one word of a centroid.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let group = chunk / ({{upper}}_CHANNELS / 4u);
  let code = {{side}}_code(record, token * {{upper}}_CODES + group);
  let at = (group * {{upper}}_CENTROIDS + code) * ({{upper}}_CHANNELS / 4u) +
    chunk % ({{upper}}_CHANNELS / 4u);
  return grid.low + levels_of(codebook_word(codebook + HEAD_DIM + at)) * grid.step;
}
`],
  ["schemes/coupled/loaded_plain.hbs", `        load_vector(token, exact_word(entry.slot, SIDE, position, head), share);
`],
  ["schemes/coupled/mix_grid.hbs", `{{> (lookup . "mixValuesPartial")}}

{{> finish_grid}}
`],
  ["schemes/coupled/mix_levels.hbs", `// Of coded values the levels are mixed; their grids come when they are summed.
fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let levels = value_chunks(codebook, record, token, chunk);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(levels[i], weight);
  }
}
`],
  ["schemes/coupled/no_grid.hbs", `// Nothing is coded by levels.
fn {{side}}_grid(codebook: u32, chunk: u32) -> Grid {
  return Grid();
}
`],
  ["schemes/coupled/row_constants.hbs", `const ROW_CENTROIDS: u32 = {{rowCentroids}}u; // centroids that one load brings
const ROW_TOKENS: u32 = {{rowTokens}}u; // most tokens whose search is by rows
`],
  ["schemes/coupled/row_constants_none.hbs", `const ROW_TOKENS: u32 = 0u; // most tokens whose search is by rows of centroids
`],
  ["schemes/coupled/search_no_rows.hbs", `{{!-- Groups whose centroids are no whole rows are searched one by one. --}}
`],
  ["schemes/coupled/search_rows.hbs", `      // A lone token uses a centroid once, so that loads decide; and loops over sixteen channels of several tokens stay rolled.
      if (TOKENS <= ROW_TOKENS) {
        for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
          let words = codebook_quads[(codebook + HEAD_DIM) / 4u + share * (CENTROIDS / ROW_CENTROIDS) + row];
{{#each searched}}
          let {{code}} = row * ROW_CENTROIDS + {{index}}u;
{{#each words}}
          let {{levels}} = levels_of(words.{{word}});
{{/each}}
{{#each channels}}
          let {{centroid}} = low[{{channel}}u] + {{level}} * level_step[{{channel}}u];
{{/each}}
{{#each batch}}
          if (TOKENS > {{token}}u) {
            var {{distance}} = 0.0;
{{#each channels}}
            let {{difference}} = vectors[{{place}}u] - {{centroid}};
            {{distance}} += {{difference}} * {{difference}};
{{/each}}
            best_code[{{token}}u] = select(best_code[{{token}}u], {{code}}, {{distance}} < best[{{token}}u]);
            best[{{token}}u] = min(best[{{token}}u], {{distance}});
          }
{{/each}}
{{/each}}
        }
      }
`],
  ["schemes/coupled/words_c4.hbs", `{{> centroid_grid}}

{{> (lookup . "codesPartial")}}
// Where the centroids of chunk chunk begin.
fn {{side}}_row(codebook: u32, chunk: u32) -> u32 {
  return codebook + HEAD_DIM + chunk * {{upper}}_CENTROIDS;
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record: a word of a centroid for each chunk.
fn {{side}}_words(row: u32, record: u32, token: u32, chunk: u32) -> array<u32, {{chunkCount}}> {
  let codes = {{side}}_codes(record, token, chunk);
  return array<u32, {{chunkCount}}>(
{{#each laneCodes}}
    {{../centroidsIn}}_word(row + {{index}}u * {{../upper}}_CENTROIDS + codes[{{index}}]),
{{/each}}
  );
}
`],
  ["schemes/coupled/words_wide.hbs", `{{> centroid_grid}}

{{> (lookup . "codesPartial")}}
// The pair of words with which the centroids of the code begin that holds chunk chunk; of centroids of more channels, the pair in
// the first of them that holds the chunk.
fn {{side}}_row(codebook: u32, chunk: u32) -> u32 {
  let code = chunk / ({{upper}}_CHANNELS / 4u);
  return (codebook + HEAD_DIM + chunk % ({{upper}}_CHANNELS / 4u)) / 2u + code * {{upper}}_CENTROIDS * ({{upper}}_CHANNELS / 8u);
}

// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, four to a word.
fn {{side}}_words(row: u32, record: u32, token: u32, chunk: u32) -> array<u32, {{chunkCount}}> {
  let codes = {{side}}_codes(record, token, chunk / ({{upper}}_CHANNELS / 4u));
{{#each pairs}}
  let pair_{{index}} = {{../centroidsIn}}_pair_at(row + codes[{{code}}] * ({{../upper}}_CHANNELS / 8u) + ({{code}}u * {{../upper}}_CENTROIDS * ({{../upper}}_CHANNELS / 8u) + {{pair}}u));
{{/each}}
  return array<u32, {{chunkCount}}>(
{{#each pairs}}
    pair_{{index}}.x,
    pair_{{index}}.y,
{{/each}}
  );
}
`],
  ["schemes/decode.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
{{#with record}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}

override SIDE: u32 = 0u; // 0 decodes keys, 1 values
override IO_HALF: bool = false; // the host's tensors hold f16, not f32

{{> uniforms}}

{{> bindings}}

{{> pages}}

{{> write_vector}}

{{> grid}}

{{> (lookup . "codebookPartial")}}

{{#with record}}
{{> (lookup . "gridPartial")}}
{{> (lookup . "loadPartial")}}
{{/with}}

// Decodes count coded tokens from coded token start on into the host's tensor.
// Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.z];
  if (item.y >= entry.count || item.x >= layer.kv_heads * CHUNKS) {
    return;
  }
  let head = item.x / CHUNKS;
  let token = entry.start + item.y;
  let page = page_word(entry.slot, head, token / PAGE_TOKENS, CODED_RECORD_TOKENS, CODED_RECORD_WORDS);
  let record = page + (token % PAGE_TOKENS) / CODED_RECORD_TOKENS * CODED_RECORD_WORDS;
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODED_CODEBOOK_WORDS;
  let chunk = item.x % CHUNKS;
  let grid = coded_grid(codebook, chunk);
  let vector = coded_load4(grid, codebook, record, token % CODED_RECORD_TOKENS, chunk);
{{> (lookup . "decodedPartial")}}
}
`],
  ["schemes/decoded_as_coded.hbs", `  write_vector(entry.first + item.y, model_head, chunk, vector);
`],
  ["schemes/hadamard/angle_none.hbs", `{{! Nothing has a rotary embedding. }}
`],
  ["schemes/hadamard/angle_rope.hbs", `struct Angle {
  cosine: vec4<f32>,
  sine: vec4<f32>,
}

// The rotation of four pairs of channels at a distance: the sum of a near one and a far one.
fn angle_of(distance: u32, pair: u32) -> Angle {
  let near = ((distance % NEAR) * ROTARY_CHUNKS + pair) * 2u;
  let far = ((NEAR + distance / NEAR) * ROTARY_CHUNKS + pair) * 2u;
  return Angle(
    rope[near] * rope[far] - rope[near + 1u] * rope[far + 1u],
    rope[near + 1u] * rope[far] + rope[near] * rope[far + 1u],
  );
}
`],
  ["schemes/hadamard/block_limits.hbs", `// All of a record's tokens leave the exact tier at once, and are coded together (NSNQuant, arXiv 2505.18231 §4).
var<workgroup> lowest: array<vec4<f32>, CHUNKS>; // what the tokens' channels are clamped to
var<workgroup> highest: array<vec4<f32>, CHUNKS>;
var<workgroup> magnitude_bits: atomic<u32>;
var<private> token_sum: vec4<f32>; // of the lane's chunk, before any clamping
var<private> is_limited: bool; // some of them are clamped

alias Numbers = vec4<f32>;

{{> extremes}}

// The first word of the exact vector of token token of the record.
fn token_word(entry: Entry, head: u32, record_first: u32, token: u32) -> u32 {
  return exact_word(entry.slot, SIDE, layer.sinks + record_first + token, head);
}

// Finds what keeps a bad number from the record's other tokens. There are at least as many lanes as chunks.
fn find_limits(entry: Entry, head: u32, record_first: u32, lane: u32) {
  let chunk = min(lane, CHUNKS - 1u); // lanes past the last chunk repeat it
  var found = no_extremes();
  token_sum = vec4<f32>();
  for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
    let numbers = exact_chunk(token_word(entry, head, record_first, token), chunk);
    found = with_numbers(found, numbers);
    token_sum += numbers;
  }
  let least = found.low;
  let most = found.high;
  let has_bad = any(max(-least, most) >= vec4<f32>(BEYOND));
  var held = no_extremes();
  for (var token = 0u; token < select(0u, RECORD_TOKENS, has_bad); token += 1u) {
    held = with_held(held, exact_chunk(token_word(entry, head, record_first, token), chunk));
  }
  found = settled(found, held, has_bad);
  if (lane < CHUNKS) {
    let magnitudes = magnitudes_of(found);
    let xy = pack2x16float(magnitudes.xy);
    let zw = pack2x16float(magnitudes.zw);
    atomicAdd(&magnitude_bits, (xy & 0xffffu) + (xy >> 16u) + (zw & 0xffffu) + (zw >> 16u));
  }
  workgroupBarrier();
  if (lane < CHUNKS) {
    let limits = limits_of(found, typical_of(atomicLoad(&magnitude_bits)));
    lowest[chunk] = limits.low;
    highest[chunk] = limits.high;
    is_limited = any(limits.low > least) || any(limits.high < most);
  }
  workgroupBarrier();
}

// Chunk chunk of the exact vector at word word, within the limits.
fn limited_chunk(word: u32, chunk: u32) -> vec4<f32> {
  return clamp(exact_chunk(word, chunk), lowest[chunk], highest[chunk]);
}

// Chunk chunk, which is the lane's, of the mean of the record's tokens. They are added up again where they are coded otherwise.
fn record_mean(entry: Entry, head: u32, record_first: u32, chunk: u32, is_waved: bool) -> vec4<f32> {
  let again = is_limited || is_waved;
  var sum = select(token_sum, vec4<f32>(), again);
  for (var token = 0u; token < select(0u, RECORD_TOKENS, again); token += 1u) {
    sum += kept_chunk(token_word(entry, head, record_first, token), token, chunk);
  }
  return sum / f32(RECORD_TOKENS);
}

{{> write_means}}
`],
  ["schemes/hadamard/centre_none.hbs", `// Vectors are coded without taking a mean off.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {}

fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return exact_chunk(word, chunk);
}

fn end_record(energy: f32, lane: u32) {}

fn centre_of(chunk: u32) -> vec4<f32> {
  return vec4<f32>();
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value;
}
`],
  ["schemes/hadamard/centre_plain.hbs", `{{> block_limits}}

// Chunk chunk of the exact vector at word word, of token token of the record, as it is coded.
fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return limited_chunk(word, chunk);
}

// The mean of the vectors before their rotary embedding, where they have more in common.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  find_limits(entry, head, record_first, lane);
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    hold_mean(chunk, record_mean(entry, head, record_first, chunk, false));
  }
  write_means(record, false, lane);
}

fn end_record(energy: f32, lane: u32) {}

fn centre_of(chunk: u32) -> vec4<f32> {
  return mean[chunk];
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value;
}
`],
  ["schemes/hadamard/centre_rotated.hbs", `{{> block_limits}}

{{> find_waves}}

// Chunk chunk of the exact vector at word word, of token token of the record, as it is coded.
fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return limited_chunk(word, chunk) - waves_of(token, chunk);
}

// The mean of the rotated vectors, which is the rotated mean.
fn begin_record(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  find_limits(entry, head, record_first, lane);
  if (SIDE == 0u) {
    find_waves(entry, head, record, record_first, lane);
  }
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let value = record_mean(entry, head, record_first, chunk, wave_total > 0u);
    vectors[chunk] = hadamard4(value * channel_signs(chunk) * SPREAD);
  }
  transform_vectors(lane);
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    hold_mean(chunk, vectors[chunk]);
  }
  write_means(record, SIDE == 0u, lane);
}

// Counts the record where its codes are spent on constants of the model that neither waves nor the mean took off.
fn end_record(energy: f32, lane: u32) {
  if (SIDE == 0u) {
    likenesses[lane] = energy;
    workgroupBarrier();
    if (lane == 0u) {
      var coded = 0.0;
      for (var other = 0u; other < min(TOKENS, WORKGROUP); other += 1u) {
        coded += likenesses[other];
      }
      if (coded > DROWNED * f32(HEAD_DIM) * SPREAD * SPREAD * key_noise) {
        atomicAdd(&counters[2], 1u);
      }
    }
  }
}

fn centred(value: vec4<f32>, chunk: u32) -> vec4<f32> {
  return value - mean[chunk];
}
`],
  ["schemes/hadamard/centroid_pairs.hbs", `// Four channels of a group.
alias Part = vec4<f32>;

// Centroids that lie side by side in one load, two channels to a word.
alias Row = vec4<u32>;

// Part part of group group of the vector of token token.
fn vector_part(token: u32, group: u32, part: u32) -> Part {
  return vectors[token * CHUNKS + group * (CHANNELS / 4u) + part];
}

fn centroid_row(codebook: u32, row: u32) -> Row {
  return codebook_quads[codebook / 4u + row];
}

// Part part of the centroids of a row.
fn row_part(row: Row, part: u32) -> Part {
  return vec4<f32>(unpack2x16float(row[2u * part]), unpack2x16float(row[2u * part + 1u]));
}

fn product(a: Part, b: Part) -> f32 {
  return dot(a, b);
}
`],
  ["schemes/hadamard/centroid_single.hbs", `// The one channel of a group.
alias Part = f32;

// A centroid.
alias Row = f32;

// Group group of the vector of token token.
fn vector_part(token: u32, group: u32, part: u32) -> Part {
  return vectors[token * CHUNKS + (group >> 2u)][group & 3u];
}

// Centroid row, two to a word.
fn centroid_row(codebook: u32, row: u32) -> Row {
  return unpack2x16float(codebooks[codebook + (row >> 1u)])[row & 1u];
}

fn row_part(row: Row, part: u32) -> Part {
  return row;
}

fn product(a: Part, b: Part) -> f32 {
  return a * b;
}
`],
  ["schemes/hadamard/chunk_plain.hbs", `// Chunk chunk of the exact vector at word word, of the token at position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  return kept_chunk(word, (position - layer.sinks) % RECORD_TOKENS, chunk) * channel_signs(chunk) * SPREAD;
}
`],
  ["schemes/hadamard/chunk_rope.hbs", `// Chunk chunk of the exact vector at word word, less its mean, with the rotary embedding of position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  let token = (position - layer.sinks) % RECORD_TOKENS;
  let value = kept_chunk(word, token, chunk) - centre_of(chunk);
{{> (lookup . "signsPartial")}}
  if (chunk >= 2u * ROTARY_CHUNKS) {
    return value * signs;
  }
  // A channel's partner lies beside it, or in the chunk half of the rotary channels away.
  let second_half = chunk >= ROTARY_CHUNKS;
  let apart = select(select(chunk + ROTARY_CHUNKS, chunk - ROTARY_CHUNKS, second_half), chunk, INTERLEAVED);
  let partner = kept_chunk(word, token, apart) - centre_of(apart);
  let other = select(select(-partner, partner, second_half), value.yxwz * vec4<f32>(-1.0, 1.0, -1.0, 1.0), INTERLEAVED);
  let angle = angle_of(position, select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED));
  let odd_chunk = chunk % 2u == 1u;
  let cosine = select(angle.cosine, select(angle.cosine.xxyy, angle.cosine.zzww, odd_chunk), INTERLEAVED);
  let sine = select(angle.sine, select(angle.sine.xxyy, angle.sine.zzww, odd_chunk), INTERLEAVED);
  return (value * cosine + other * sine) * signs;
}
`],
  ["schemes/hadamard/decode_rotated.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
{{#with record}}
{{> (lookup . "constantsPartial")}}
const {{upper}}_CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
{{/with}}

override SIDE: u32 = 0u; // 0 decodes keys, 1 values
override IO_HALF: bool = false; // the host's tensors hold f16, not f32
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> pages}}

{{> write_vector}}

{{> grid}}

{{> (lookup . "codebookPartial")}}

{{#with record}}
{{> (lookup . "loadPartial")}}
{{/with}}

{{> rotation_hadamard}}

var<workgroup> rotated: array<vec4<f32>, WORKGROUP>;

{{> (lookup . "anglePartial")}}

// -1 where an odd number of bits is set, else 1.
fn parity_sign(bits: u32) -> f32 {
  return 1.0 - 2.0 * f32(countOneBits(bits) & 1u);
}

// Decodes count coded tokens from coded token start on into the host's tensor, and undoes their Hadamard rotation.
// A workgroup has whole heads. Grid: (vec4s of one token / workgroup size, most tokens of an entry, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  if (workgroup.y >= entry.count) {
    return;
  }
  let item = workgroup.x * WORKGROUP + lane;
  let chunk = item % CHUNKS;
  let head = min(item / CHUNKS, layer.kv_heads - 1u); // lanes past the last head repeat it
  let token = entry.start + workgroup.y;
  let page = page_word(entry.slot, head, token / PAGE_TOKENS, CODED_RECORD_TOKENS, CODED_RECORD_WORDS);
  let record = page + (token % PAGE_TOKENS) / CODED_RECORD_TOKENS * CODED_RECORD_WORDS;
  let model_head = layer.first_head + head;
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u) + model_head * CODED_CODEBOOK_WORDS;
{{> (lookup . "loadedPartial")}}
  workgroupBarrier();
  var sum = vec4<f32>();
  for (var other = 0u; other < CHUNKS; other += 1u) {
    sum += parity_sign(chunk & other) * rotated[lane - chunk + other];
  }
{{> (lookup . "unrotatedPartial")}}
{{> (lookup . "finishPartial")}}
  if (item < layer.kv_heads * CHUNKS) {
    write_vector(entry.first + workgroup.y, model_head, chunk, vector);
  }
}
`],
  ["schemes/hadamard/decoded_mean_rope.hbs", `{{> decoded_rope}}
  vector += coded_mean4(record, chunk);
`],
  ["schemes/hadamard/decoded_plain.hbs", `  let vector = plain;
`],
  ["schemes/hadamard/decoded_rope.hbs", `  workgroupBarrier();
  rotated[lane] = plain;
  workgroupBarrier();
  var vector = plain;
  if (chunk < 2u * ROTARY_CHUNKS) {
    // The rotary embedding of the token's position is undone.
    let angle = angle_of(layer.sinks + token, select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED));
    let even = rotated[select(lane - chunk + chunk % ROTARY_CHUNKS, lane, INTERLEAVED)];
    let odd = rotated[select(lane - chunk + chunk % ROTARY_CHUNKS + ROTARY_CHUNKS, lane, INTERLEAVED)];
    if (INTERLEAVED) {
      let high = chunk % 2u == 1u;
      let cosine = select(angle.cosine.xy, angle.cosine.zw, high);
      let sine = select(angle.sine.xy, angle.sine.zw, high);
      let first = plain.xz * cosine + plain.yw * sine;
      let second = plain.yw * cosine - plain.xz * sine;
      vector = vec4<f32>(first.x, second.x, first.y, second.y);
    } else if (chunk < ROTARY_CHUNKS) {
      vector = even * angle.cosine + odd * angle.sine;
    } else {
      vector = odd * angle.cosine - even * angle.sine;
    }
  }
`],
  ["schemes/hadamard/decoded_waves.hbs", `  var vector = plain;
  for (var i = 0u; i < select(0u, WAVES, SIDE == 0u); i += 1u) {
    let at = record + CHUNKS + 2u * i;
    let wave = vec2<u32>(coded_records[at], coded_records[at + 1u]);
    if (wave.y == 0u) {
      break;
    }
    if ((wave.x & 0xffu) / 4u == chunk) {
      vector[wave.x & 3u] += wave_at(wave, token % CODED_RECORD_TOKENS);
    }
  }
`],
  ["schemes/hadamard/encode_rotated.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const CHANNELS: u32 = {{channels}}u; // channels per code
const BITS: u32 = {{codeBits}}u; // bits per code
const ROW_CENTROIDS: u32 = {{rowCentroids}}u; // that one load brings
const CENTROIDS: u32 = {{centroids}}u; // of all heads and groups
const CODES: u32 = {{codes}}u; // codes per token
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
const TOKEN_WORDS: u32 = CODES * BITS / 32u; // of a token's codes
const TOKENS: u32 = {{tokens}}u; // tokens coded at once, which divide those of a record
const LANES: u32 = {{lanes}}u; // lanes that share the search for one code
const SPREAD: f32 = {{spread}}; // the factor of the rotation

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> vectors: array<vec4<f32>, TOKENS * CHUNKS>;
var<workgroup> codes: array<u32, TOKENS * CODES>;
var<workgroup> deviations: array<f32, TOKENS>;
var<workgroup> half_squares: array<f32, CENTROIDS>; // of the centroids' lengths
var<workgroup> likenesses: array<f32, TOKENS * WORKGROUP>;
var<workgroup> nearest: array<u32, TOKENS * WORKGROUP>;

{{> hadamard_signs}}

{{> hadamard4}}

// Chunk chunk, which is four channels, of the exact vector at word word.
fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

{{> (lookup . "anglePartial")}}

{{> (lookup . "chunkPartial")}}

// Ends the Walsh-Hadamard transform of the vectors, whose chunks hadamard4 has transformed one by one.
fn transform_vectors(lane: u32) {
  for (var stride = 1u; stride < CHUNKS; stride *= 2u) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS / 2u; item += WORKGROUP) {
      let first = item / stride * (2u * stride) + item % stride;
      let a = vectors[first];
      let b = vectors[first + stride];
      vectors[first] = a + b;
      vectors[first + stride] = a - b;
    }
  }
  workgroupBarrier();
  for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
    vectors[item] = centred(vectors[item], item % CHUNKS);
  }
  workgroupBarrier();
}

{{> (lookup . "centroidPartial")}}

{{> (lookup . "centrePartial")}}

{{> (lookup . "scalesPartial")}}

// Codes of the tokens that leave the exact tier: centred, rotated, divided by their size, and then the nearest centroid of
// each group, ties to the lowest index. A workgroup owns a whole record, so tokens coded before are kept without atomics.
// Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let codebook = select(layer.value_codebook, 0u, SIDE == 0u);
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;
  for (var row = lane; row < CENTROIDS / ROW_CENTROIDS; row += WORKGROUP) {
    let centroids = centroid_row(codebook, row);
{{#each searched}}
{{#each parts}}
    let {{centroid}} = row_part(centroids, {{rowPart}}u);
{{/each}}
    half_squares[row * ROW_CENTROIDS + {{index}}u] = 0.5 * ({{#each parts}}product({{centroid}}, {{centroid}}){{joint}}{{/each}});
{{/each}}
  }
  begin_record(entry, head, record, record_first, lane);

  var energy = 0.0; // of what the lane has found the sizes of
  for (var batch = 0u; batch < RECORD_TOKENS; batch += TOKENS) {
    workgroupBarrier();
    for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
      let token = clamp(record_first + batch + item / CHUNKS, entry.encode_from, encode_end - 1u);
      let position = layer.sinks + token;
      let word = exact_word(entry.slot, SIDE, position, head);
      vectors[item] = hadamard4(signed_chunk(word, position, item % CHUNKS));
    }
    transform_vectors(lane);
    for (var token = lane; token < TOKENS; token += WORKGROUP) {
      var square = 0.0;
      for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
        let value = vectors[token * CHUNKS + chunk];
        square += dot(value, value);
      }
      energy += square;
      // As binary16, so that rounding here hardly ever decides between two centroids.
      let deviation = pack2x16float(vec2<f32>(min(sqrt(square / f32(HEAD_DIM)), 65504.0), 0.0));
      deviations[token] = unpack2x16float(deviation).x;
    }
    workgroupBarrier();

    for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
      let group = min(round + lane / LANES, CODES - 1u); // idle lanes repeat the last group
{{#each batch}}
      let deviation_{{token}} = deviations[{{token}}u];
{{#each parts}}
      let {{vector}} = vector_part({{token}}u, group, {{part}}u);
{{/each}}
      var best_{{token}} = -3.0e38;
      var code_{{token}} = 0u;
{{/each}}
      // |x / deviation - c|^2 is least where x.c - deviation |c|^2 / 2 is largest; no division, so that ties are exact.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let centroids = centroid_row(codebook, row);
{{#each searched}}
        let {{code}} = row * ROW_CENTROIDS + {{index}}u;
{{#each parts}}
        let {{centroid}} = row_part(centroids, {{rowPart}}u);
{{/each}}
        let {{half}} = 0.5 * ({{#each parts}}product({{centroid}}, {{centroid}}){{joint}}{{/each}});
{{#each batch}}
        let {{likeness}} = {{#each parts}}product({{vector}}, {{centroid}}){{joint}}{{/each}} - deviation_{{token}} * {{half}};
        code_{{token}} = select(code_{{token}}, {{code}}, {{likeness}} > best_{{token}});
        best_{{token}} = max(best_{{token}}, {{likeness}});
{{/each}}
{{/each}}
      }
{{#each batch}}
      likenesses[{{token}}u * WORKGROUP + lane] = best_{{token}};
      nearest[{{token}}u * WORKGROUP + lane] = code_{{token}};
{{/each}}
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var highest = likenesses[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = likenesses[other] == highest && nearest[other] < winner;
          if (likenesses[other] > highest || tie) {
            highest = likenesses[other];
            winner = nearest[other];
          }
        }
        let item_group = round + item % (WORKGROUP / LANES);
        if (item_group < CODES) {
          codes[item / (WORKGROUP / LANES) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }

    write_scales(entry, record, record_first + batch, batch, encode_end, lane);
    for (var item = lane; item < TOKENS * TOKEN_WORDS; item += WORKGROUP) {
      let token = record_first + batch + item / TOKEN_WORDS;
      if (token >= entry.encode_from) {
        let at = record + METADATA_WORDS + batch * TOKEN_WORDS + item;
        records[at] = select(0u, code_word(item / TOKEN_WORDS, item % TOKEN_WORDS), token < encode_end);
      }
    }
  }
  end_record(energy, lane);
}

// Word word of the codes of token token of the batch.
fn code_word(token: u32, word: u32) -> u32 {
  let end = min(CODES, (word * 32u + 31u) / BITS + 1u);
  var bits = 0u;
  for (var item = word * 32u / BITS; item < end; item += 1u) {
    let code = codes[token * CODES + item];
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  return bits;
}
`],
  ["schemes/hadamard/find_waves.hbs", `{{> wave}}

const LEAST_SHARE: f32 = 0.75; // of its energy that a wave has
const TRIES: u32 = 64u; // steps that are tried at once
const WAVE_LANES: u32 = WORKGROUP / WAVES; // lanes that try steps for one channel
const QUADS: u32 = RECORD_TOKENS / 4u;

var<workgroup> waves: array<vec2<u32>, WAVES>;
var<private> wave_total: u32; // of the record
var<workgroup> wave_channels: array<u32, WAVES>; // those that may have one
var<workgroup> loud_channels: atomic<u32>;
var<workgroup> wave_count: u32; // of those

// What the record's waves add to chunk chunk of token token.
fn waves_of(token: u32, chunk: u32) -> vec4<f32> {
  var sum = vec4<f32>();
  for (var i = 0u; i < wave_total; i += 1u) {
    let wave = waves[i];
    let channels = vec4<u32>(0u, 1u, 2u, 3u) + 4u * chunk;
    if ((wave.x & 0xffu) / 4u == chunk) {
      sum += select(vec4<f32>(), vec4<f32>(wave_at(wave, token)), channels == vec4<u32>(wave.x & 0xffu));
    }
  }
  return sum;
}

// The wave of least squares with a given step in one channel's numbers, its energy and theirs.
struct WaveFit {
  cosine: f32,
  sine: f32,
  energy: f32,
  total: f32,
}

// The numbers lie in vectors from quad first on. Cosines and sines around the middle are orthogonal, and each number has another as
// far from the middle.
fn fit_wave(first: u32, step: u32) -> WaveFit {
  let starts = array<vec2<f32>, 4>(
    cosine_sine(7u * step),
    cosine_sine(5u * step),
    cosine_sine(3u * step),
    cosine_sine(step),
  );
  var cosines = vec4<f32>(starts[0].x, starts[1].x, starts[2].x, starts[3].x);
  var sines = vec4<f32>(starts[0].y, starts[1].y, starts[2].y, starts[3].y);
  let turn = cosine_sine(8u * step);
  var even = vec4<f32>();
  var odd = vec4<f32>();
  var sine_squares = vec4<f32>();
  var total = vec4<f32>();
  for (var quad = 0u; quad < QUADS / 2u; quad += 1u) {
    let before = vectors[first + QUADS / 2u - 1u - quad];
    let behind = vectors[first + QUADS / 2u + quad].wzyx;
    even += (behind + before) * cosines;
    odd += (behind - before) * sines;
    sine_squares += 2.0 * sines * sines;
    total += before * before + behind * behind;
    let turned = cosines * turn.x - sines * turn.y;
    sines = sines * turn.x + cosines * turn.y;
    cosines = turned;
  }
  let ones = vec4<f32>(1.0);
  let squares = dot(sine_squares, ones);
  let slope = dot(odd, ones);
  let cosine = dot(even, ones) / (f32(RECORD_TOKENS) - squares);
  // The slower the wave, the larger the factor of a slope, up to the largest that is kept.
  let sine = clamp(slope / max(squares, 1e-12), -BEYOND, BEYOND);
  let energy = cosine * dot(even, ones) + sine * (2.0 * slope - sine * squares);
  return WaveFit(cosine, sine, energy, dot(total, ones));
}

// Of steps around middle, spacing apart, the one whose wave has most energy, of several the least.
fn best_step(first: u32, middle: u32, spacing: u32, lane: u32) -> u32 {
  var most = -1.0;
  var best = 0u;
  for (var i = lane % WAVE_LANES; i < TRIES; i += WAVE_LANES) {
    let step = max(middle + i * spacing, TRIES / 2u * spacing) - TRIES / 2u * spacing;
    let energy = fit_wave(first, step).energy;
    best = select(best, step, energy > most);
    most = max(most, energy);
  }
  likenesses[lane] = most;
  nearest[lane] = best;
  workgroupBarrier();
  let own = lane / WAVE_LANES * WAVE_LANES;
  for (var other = own; other < own + WAVE_LANES; other += 1u) {
    let tie = likenesses[other] == most && nearest[other] < best;
    best = select(best, nearest[other], likenesses[other] > most || tie);
    most = max(most, likenesses[other]);
  }
  workgroupBarrier();
  return best;
}

{{> key_noise}}

// What a model adds to single channels of all keys, such as a bias, turns with the position in keys as they are scored, so that no
// mean takes it off. Finds it in channels that are far louder than others, and writes it behind the mean.
fn find_waves(entry: Entry, head: u32, record: u32, record_first: u32, lane: u32) {
  if (lane < CHUNKS) {
    var energy = vec4<f32>();
    var steadiness = no_steadiness();
    for (var token = 0u; token < RECORD_TOKENS; token += 1u) {
      let numbers = limited_chunk(token_word(entry, head, record_first, token), lane);
      energy += numbers * numbers;
      steadiness = with_next(steadiness, numbers, token);
    }
    vectors[lane] = energy;
    likenesses[lane] = dot(noise_of(steadiness), vec4<f32>(1.0));
  }
  workgroupBarrier();
  let typical = typical_of(atomicLoad(&magnitude_bits));
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let energy = vectors[channel / 4u][channel % 4u];
    if (energy > typical * typical * f32(RECORD_TOKENS)) {
      var rank = 0u;
      for (var other = 0u; other < HEAD_DIM; other += 1u) {
        let own = vectors[other / 4u][other % 4u];
        rank += select(0u, 1u, own > energy || (own == energy && other < channel));
      }
      if (rank < WAVES) {
        wave_channels[rank] = channel;
      }
      atomicAdd(&loud_channels, 1u);
    }
  }
  workgroupBarrier();
  if (lane == 0u) {
    for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
      key_noise += likenesses[chunk];
    }
    wave_count = min(atomicLoad(&loud_channels), WAVES);
  }
  let count = workgroupUniformLoad(&wave_count);
  if (count > 0u) {
    for (var item = lane; item < WAVES * QUADS; item += WORKGROUP) {
      let channel = wave_channels[min(item / QUADS, count - 1u)];
      var numbers = vec4<f32>();
      for (var i = 0u; i < 4u; i += 1u) {
        let word = token_word(entry, head, record_first, item % QUADS * 4u + i);
        numbers[i] = limited_chunk(word, channel / 4u)[channel % 4u];
      }
      vectors[item] = numbers;
    }
    workgroupBarrier();
    let own = lane / WAVE_LANES;
    let first = own * QUADS;
    // All steps up to a quarter turn, then ever closer around the best. No rotary embedding turns by more than a radian.
    let coarse = best_step(first, (TRIES / 2u) << 16u, 1u << 16u, lane);
    let fine = best_step(first, coarse, 1u << 11u, lane);
    let step = best_step(first, fine, 1u << 6u, lane);
    let fit = fit_wave(first, step);
    let kept = own < count && fit.energy >= LEAST_SHARE * fit.total;
    nearest[own] = select(0u, 1u, kept);
    workgroupBarrier();
    var place = 0u;
    for (var other = 0u; other < count; other += 1u) {
      wave_total += nearest[other];
      place += select(0u, nearest[other], other < own);
    }
    if (kept && lane % WAVE_LANES == 0u) {
      let factors = clamp(vec2<f32>(fit.cosine, fit.sine), vec2<f32>(-BEYOND), vec2<f32>(BEYOND));
      waves[place] = vec2<u32>(wave_channels[own] | (step << 8u), pack2x16float(factors));
    }
    workgroupBarrier();
  }
  for (var word = lane; word < CHUNKS; word += WORKGROUP) {
    records[record + CHUNKS + word] = select(0u, waves[min(word / 2u, WAVES - 1u)][word % 2u], word < 2u * WAVES);
  }
}
`],
  ["schemes/hadamard/hadamard4.hbs", `// The Walsh-Hadamard transform of four channels. That of a head is the sum of its chunks, transformed so, each
// with -1 where its number and that of the result have an odd number of set bits in common.
fn hadamard4(x: vec4<f32>) -> vec4<f32> {
  let y = vec4<f32>(x.x + x.y, x.x - x.y, x.z + x.w, x.z - x.w);
  return vec4<f32>(y.x + y.z, y.y + y.w, y.x - y.z, y.y - y.w);
}
`],
  ["schemes/hadamard/hadamard_signs.hbs", `// The signs of a chunk's channels before a Hadamard rotation: the Rudin-Shapiro sequence, whose transform is flat. A sign is
// -1 where a channel's number has an odd number of neighbouring pairs of set bits.
fn channel_signs(chunk: u32) -> vec4<f32> {
  let channels = 4u * chunk + vec4<u32>(0u, 1u, 2u, 3u);
  return 1.0 - 2.0 * vec4<f32>(countOneBits(channels & (channels >> vec4<u32>(1u))) & vec4<u32>(1u));
}
`],
  ["schemes/hadamard/header_angle.hbs", `const NEAR: u32 = {{nearTokens}}u; // distances the table has one by one
{{> rope_overrides}}
`],
  ["schemes/hadamard/header_no_angle.hbs", `{{! Vectors have no rotary embedding to be given or taken. }}
`],
  ["schemes/hadamard/header_rotated_plain.hbs", `{{> header_plain}}
var<workgroup> rotated_tile: array<vec4<f32>, ROWS * CHUNKS>; // queries as coded keys take them
`],
  ["schemes/hadamard/header_rotated_rope.hbs", `// Keys come before the rotary embedding, and were coded with it.
{{> rope_overrides}}
var<workgroup> rotated_tile: array<vec4<f32>, ROWS * CHUNKS>; // queries as coded keys take them
`],
  ["schemes/hadamard/key_noise.hbs", `const DROWNED: f32 = 16.0; // what is coded, in multiples of the noise, where keys drown in what could not be taken off

var<private> key_noise: f32; // energy of what changes from token to token, over the record; only lane 0 knows

// How well numbers follow from those before and behind them: in a wave of any frequency, and in a constant, the sum of two numbers
// is a multiple of the one between.
struct Steadiness {
  before: vec4<f32>,
  middle: vec4<f32>,
  sums: vec4<f32>, // squared sums of neighbours
  products: vec4<f32>, // of these sums and the numbers between
  squares: vec4<f32>, // of the numbers between
}

fn no_steadiness() -> Steadiness {
  return Steadiness(vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>(), vec4<f32>());
}

fn with_next(found: Steadiness, next: vec4<f32>, token: u32) -> Steadiness {
  let around = select(vec4<f32>(), found.before + next, token >= 2u);
  let middle = select(vec4<f32>(), found.middle, token >= 2u);
  return Steadiness(
    found.middle,
    next,
    found.sums + around * around,
    found.products + around * middle,
    found.squares + middle * middle,
  );
}

// The energy of what does not follow from the neighbours.
fn noise_of(found: Steadiness) -> vec4<f32> {
  let factor = found.products / max(found.squares, vec4<f32>(1e-12));
  let rest = max(found.sums - factor * found.products, vec4<f32>());
  return rest / (2.0 + factor * factor) * (f32(RECORD_TOKENS) / f32(RECORD_TOKENS - 2u));
}
`],
  ["schemes/hadamard/load_beside_mean.hbs", `{{> (lookup . "codePartial")}}
{{> (lookup . "meanPartial")}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record, rotated, without the record's mean: part of one
// centroid, times the token's scale. All heads and groups have the same centroids.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
{{> scaled_centroid}}
  return centroid * scale;
}
`],
  ["schemes/hadamard/load_mean_scale.hbs", `{{> (lookup . "codePartial")}}
{{> (lookup . "meanPartial")}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record, rotated: part of one centroid, times the token's
// scale, and the record's mean. All heads and groups have the same centroids.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
{{> scaled_centroid}}
  return centroid * scale + {{side}}_mean4(record, chunk);
}
`],
  ["schemes/hadamard/load_scale.hbs", `{{> (lookup . "codePartial")}}
// The centroid of code index, one channel, two to a word; all heads and channels have the same centroids.
fn {{side}}_centroid(codebook: u32, record: u32, token: u32, channel: u32) -> f32 {
  let code = {{side}}_code(record + {{upper}}_METADATA_WORDS, token * {{upper}}_CODES + channel);
  return unpack2x16float(codebooks[codebook + (code >> 1u)])[code & 1u];
}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record, rotated: centroids times the token's scale.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let channel = chunk * 4u;
  let scale = unpack2x16float({{side}}_records[record + (token >> 1u)])[token & 1u];
  return scale *
    vec4<f32>(
      {{side}}_centroid(codebook, record, token, channel),
      {{side}}_centroid(codebook, record, token, channel + 1u),
      {{side}}_centroid(codebook, record, token, channel + 2u),
      {{side}}_centroid(codebook, record, token, channel + 3u),
    );
}
`],
  ["schemes/hadamard/loaded_codes.hbs", `  rotated[lane] = coded_load4(Grid(), codebook, record, token % CODED_RECORD_TOKENS, chunk);
`],
  ["schemes/hadamard/long_numbers.hbs", `// Four whole numbers of two bytes each.
fn {{side}}_long4(words: vec2<u32>) -> vec4<f32> {
  let high = vec4<u32>(words.x << 16u, words.x, words.y << 16u, words.y);
  return vec4<f32>(bitcast<vec4<i32>>(high) >> vec4<u32>(16u));
}
`],
  ["schemes/hadamard/mean_by_side.hbs", `{{> long_numbers}}

{{> short_numbers}}

{{> mean_step}}

// Channels 4 chunk to 4 chunk + 3 of the record's mean: a byte a channel of keys, two of values.
fn {{side}}_mean4(record: u32, chunk: u32) -> vec4<f32> {
  let at = record + select(2u, 1u, SIDE == 0u) * chunk;
  let short = {{side}}_short4({{side}}_records[at]);
  let long = {{side}}_long4(vec2<u32>({{side}}_records[at], {{side}}_records[at + 1u]));
  return select(long, short, SIDE == 0u) * {{side}}_step(record);
}
`],
  ["schemes/hadamard/mean_long.hbs", `{{> long_numbers}}

{{> mean_step}}

// Channels 4 chunk to 4 chunk + 3 of the record's mean, two bytes a channel.
fn {{side}}_mean4(record: u32, chunk: u32) -> vec4<f32> {
  let at = record + 2u * chunk;
  return {{side}}_long4(vec2<u32>({{side}}_records[at], {{side}}_records[at + 1u])) * {{side}}_step(record);
}
`],
  ["schemes/hadamard/mean_short.hbs", `{{> short_numbers}}

{{> mean_step}}

// Channels 4 chunk to 4 chunk + 3 of the record's mean, a byte a channel.
fn {{side}}_mean4(record: u32, chunk: u32) -> vec4<f32> {
  return {{side}}_short4({{side}}_records[record + chunk]) * {{side}}_step(record);
}
`],
  ["schemes/hadamard/mean_staged.hbs", `{{> long_numbers}}
`],
  ["schemes/hadamard/mean_step.hbs", `// The step that the record's means are whole numbers of.
fn {{side}}_step(record: u32) -> f32 {
  return bitcast<f32>({{side}}_records[record + 2u * CHUNKS]);
}
`],
  ["schemes/hadamard/mix_page_mean.hbs", `    mix_mean(word, chunk);
`],
  ["schemes/hadamard/mix_rotated.hbs", `{{> mix_values}}

{{> unrotate_mixed}}
`],
  ["schemes/hadamard/mix_rotated_mean.hbs", `// Values are mixed without the mean that those of a page share; it comes when the page is mixed.
var<private> page_weight: vec4<f32>; // of the page's tokens that the lane has mixed

fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let values = value_chunks(codebook, record, token, chunk);
  page_weight += weight;
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(values[i], weight);
  }
}

fn mix_mean(record: u32, chunk: u32) {
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    mixed[i] += weighted(value_mean4(record, chunk + i), page_weight);
  }
  page_weight = vec4<f32>();
}

{{> unrotate_mixed}}
`],
  ["schemes/hadamard/prepare_rotated_plain.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> query_rows atRotated}}

{{> query_chunk_plain}}

// Coded keys are rotated by a Hadamard matrix; so are the queries they meet, once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
{{> rotate_chunks}}
}
`],
  ["schemes/hadamard/prepare_rotated_rope.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> pairs}}

{{> query_rows atRotated}}

{{> query_chunk}}

// Coded keys have their rotary embedding, and are rotated by a Hadamard matrix then; so are the queries they meet, once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> rotate_queries atStart}}
{{> rotate_chunks}}
}
`],
  ["schemes/hadamard/query_chunk.hbs", `// A chunk of a query in the order of its channels, where query_tile has them pair by pair.
fn query_chunk(row: u32, chunk: u32) -> vec4<f32> {
  if (chunk >= 2u * ROTARY_CHUNKS) {
    return query_tile[row * CHUNKS + chunk];
  }
  let pair = select(chunk % ROTARY_CHUNKS, chunk / 2u, INTERLEAVED);
  let even = query_tile[row * CHUNKS + 2u * pair];
  let odd = query_tile[row * CHUNKS + 2u * pair + 1u];
  if (INTERLEAVED) {
    return select(vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w), chunk % 2u == 1u);
  }
  return select(even, odd, chunk >= ROTARY_CHUNKS);
}
`],
  ["schemes/hadamard/query_chunk_plain.hbs", `fn query_chunk(row: u32, chunk: u32) -> vec4<f32> {
  return query_tile[row * CHUNKS + chunk];
}
`],
  ["schemes/hadamard/rotate_chunks.hbs", `  var chunks = mat4x4<f32>();
  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let chunk = lane % CHUNK_LANES * LANE_CHUNKS + i;
      chunks[i] = query_chunk(lane / CHUNK_LANES, chunk) * UNSPREAD * channel_signs(chunk);
    }
  }
  chunks = transform_lanes(chunks, lane);
  workgroupBarrier();
  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      rotated_tile[lane * LANE_CHUNKS + i] = chunks[i];
    }
  }
  workgroupBarrier();
`],
  ["schemes/hadamard/rotation_hadamard.hbs", `const UNSPREAD: f32 = {{unspread}}; // the factor of the inverse rotation, which queries take as well

{{> hadamard_signs}}

{{> hadamard4}}
`],
  ["schemes/hadamard/rotation_lanes.hbs", `{{> rotation_hadamard}}

{{> transform_lanes}}
`],
  ["schemes/hadamard/rotation_none.hbs", `{{! Nothing is rotated by a Hadamard matrix. }}
`],
  ["schemes/hadamard/scaled_centroid.hbs", `  let group = chunk / ({{upper}}_CHANNELS / 4u);
  let code = {{side}}_code(record + {{upper}}_METADATA_WORDS, token * {{upper}}_CODES + group);
  let at = codebook + code * ({{upper}}_CHANNELS / 2u) + (chunk % ({{upper}}_CHANNELS / 4u)) * 2u;
  let centroid = vec4<f32>(unpack2x16float(codebooks[at]), unpack2x16float(codebooks[at + 1u]));
  let scales = {{side}}_records[record + {{upper}}_METADATA_WORDS - {{upper}}_RECORD_TOKENS / 4u + (token >> 2u)];
  let scale = unpack2x16float(((scales >> ((token & 3u) * 8u)) & 0xffu) << 7u).x;
`],
  ["schemes/hadamard/scales_byte.hbs", `// Writes the scales of the batch's tokens, four to a word: what is decoded is as long as what was coded.
fn write_scales(
  entry: Entry,
  record: u32,
  first: u32,
  batch: u32,
  encode_end: u32,
  lane: u32,
) {
  for (var token = lane; token < TOKENS; token += WORKGROUP) {
    var total = 0.0;
    for (var group = 0u; group < CODES; group += 1u) {
      total += 2.0 * half_squares[codes[token * CODES + group]];
    }
    let scale = deviations[token] / sqrt(total / f32(HEAD_DIM));
    // Binary16 without its sign and its lowest bits.
    let half = pack2x16float(vec2<f32>(min(scale, 65504.0), 0.0)) & 0x7fffu;
    deviations[token] = f32(min((half + 0x40u) >> 7u, 0xf7u));
  }
  workgroupBarrier();
  for (var word = lane; word < TOKENS / 4u; word += WORKGROUP) {
    records[record + METADATA_WORDS - RECORD_TOKENS / 4u + batch / 4u + word] = u32(deviations[4u * word]) |
      (u32(deviations[4u * word + 1u]) << 8u) | (u32(deviations[4u * word + 2u]) << 16u) |
      (u32(deviations[4u * word + 3u]) << 24u);
  }
}
`],
  ["schemes/hadamard/scales_half.hbs", `// Writes the scales of the batch's tokens, two to a word, beside those that are kept.
fn write_scales(
  entry: Entry,
  record: u32,
  first: u32,
  batch: u32,
  encode_end: u32,
  lane: u32,
) {
  for (var pair = lane; pair < TOKENS / 2u; pair += WORKGROUP) {
    let token = first + 2u * pair;
    let at = record + (batch >> 1u) + pair;
    let scales = pack2x16float(vec2<f32>(deviations[2u * pair], deviations[2u * pair + 1u]));
    let low = select(0u, scales & 0xffffu, token < encode_end);
    let high = select(0u, scales & 0xffff0000u, token + 1u < encode_end);
    let kept = select(0u, records[at] & 0xffffu, token < entry.encode_from);
    records[at] = select(low, kept, token < entry.encode_from) | high;
  }
}
`],
  ["schemes/hadamard/score_mean_rope.hbs", `{{> prepare_rotated_rope}}

var<workgroup> page_means: array<vec2<u32>, MAX_SPAN * CHUNKS>; // of the tile's pages, which are records, as they lie there
var<workgroup> page_steps: array<f32, MAX_SPAN>; // what they count

// Puts the block's rows, rotated to the tile's origin, into query_tile: pair by pair (even, odd), then what does not rotate.
// What is not coded meets them, and so do means.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  for (var item = lane; item < select(0u, SPAN * CHUNKS, tile.coded); item += WORKGROUP) {
    let position = min(tile.first + item / CHUNKS * PAGE_TOKENS, tile.end - 1u);
    let page = (position - layer.sinks) / PAGE_TOKENS;
    let record = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
    let at = record + item % CHUNKS * 2u;
    page_means[item] = vec2<u32>(key_records[at], key_records[at + 1u]);
    if (item % CHUNKS == 0u) {
      page_steps[item / CHUNKS] = bitcast<f32>(key_records[record + 2u * CHUNKS]);
    }
  }
{{> rotate_queries atTile}}
}

fn mean_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn mean_of(page: u32, chunk: u32) -> vec4<f32> {
  return key_long4(page_means[page * CHUNKS + chunk]) * page_steps[page];
}

fn mean_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  return mat2x4<f32>(mean_of(at.word, chunk), mean_of(at.word, chunk + 1u));
}

// Scores of the lane's tokens for every row: a coded key is its record's mean, before the rotary embedding, and its codes.
// Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let mean_chunks = coded_chunks;
  let mean_pairs = min(mean_chunks, ROTARY_CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
{{> plain_dot coded first="0u"}}
{{> rope_dot mean}}
{{> rope_dot exactly}}
}
`],
  ["schemes/hadamard/score_rotated_plain.hbs", `{{> (lookup . "preparePartial")}}

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
{{> (lookup . "startPartial")}}
{{> plain_dot coded first="0u"}}
{{> plain_dot exactly first="0u"}}
}
`],
  ["schemes/hadamard/score_rotated_rope.hbs", `{{> (lookup . "preparePartial")}}

// Puts the block's rows, rotated to the tile's origin, into query_tile: pair by pair (even, odd), then what does not rotate.
// What is not coded meets them.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
{{> rotate_queries atTile}}
}

// Scores of the lane's tokens for every row. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  let exact_pairs = min(exact_chunks, ROTARY_CHUNKS);
{{> (lookup . "startPartial")}}
{{> plain_dot coded first="0u"}}
{{> rope_dot exactly}}
}
`],
  ["schemes/hadamard/score_waved_plain.hbs", `{{> prepare_rotated_plain}}

{{> wave}}

const PAGE_PARTS: u32 = WORKGROUP / MAX_SPAN; // lanes that share a page's mean

var<workgroup> page_scores: array<vec4<f32>, WORKGROUP>; // what a page's mean adds to every score, in parts
var<workgroup> page_waves: array<u32, MAX_SPAN>; // most waves that a page may have

// Scores what a page's tokens share: a page is a record.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let position = min(tile.first + lane / PAGE_PARTS * PAGE_TOKENS, tile.end - 1u);
  let page = (position - min(layer.sinks, position)) / PAGE_TOKENS;
  let part = lane % PAGE_PARTS;
  var score = vec4<f32>();
  if (tile.coded) {
    let record = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
    for (var chunk = part; chunk < CHUNKS; chunk += PAGE_PARTS) {
      score = add_products(score, key_mean4(record, chunk), rotated_rows(chunk));
    }
    if (part == 0u) {
      page_waves[lane / PAGE_PARTS] = select(WAVES, 0u, key_records[record + CHUNKS + 1u] == 0u);
    }
  }
  page_scores[lane] = score;
  workgroupBarrier();
  if (part == 0u) {
    for (var other = 1u; other < PAGE_PARTS; other += 1u) {
      score += page_scores[lane + other];
    }
    page_scores[lane] = score;
  }
  workgroupBarrier();
}

// One channel of all rows, as exact keys meet it.
fn query_channel(channel: u32) -> vec4<f32> {
  let chunk = channel / 4u;
  let i = channel % 4u;
  return vec4<f32>(
    query_tile[chunk][i],
    query_tile[CHUNKS + chunk][i],
    query_tile[2u * CHUNKS + chunk][i],
    query_tile[3u * CHUNKS + chunk][i],
  );
}

// Scores of the lane's tokens for every row: a coded key is its record's mean, its codes, and the record's waves, which were taken
// off before it was rotated. Only one of the two sources has a trip count above 0.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
  let exact_chunks = trips(tile, false, CHUNKS);
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = page_scores[i * PAGE_PARTS];
  }
{{> plain_dot coded first="0u"}}
{{> plain_dot exactly first="0u"}}
  for (var i = 0u; i < SPAN; i += 1u) {
    for (var item = 0u; item < trips(tile, true, page_waves[i]); item += 1u) {
      let at = key_at[i].word + CHUNKS + 2u * item;
      let wave = vec2<u32>(key_records[at], key_records[at + 1u]);
      if (wave.y == 0u) {
        break;
      }
      scores[i] += wave_at(wave, key_at[i].token) * query_channel(wave.x & 0xffu);
    }
  }
}
`],
  ["schemes/hadamard/short_numbers.hbs", `// Four whole numbers of one byte each.
fn {{side}}_short4(word: u32) -> vec4<f32> {
  let high = vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u);
  return vec4<f32>(bitcast<vec4<i32>>(high) >> vec4<u32>(24u));
}
`],
  ["schemes/hadamard/signs_fixed.hbs", `  let signs = channel_signs(chunk) * SPREAD;
`],
  ["schemes/hadamard/start_none.hbs", `{{! Scores of coded tokens start at 0. }}
`],
  ["schemes/hadamard/transform_lanes.hbs", `// The Walsh-Hadamard transform of all rows' vectors, which ROW_LANES share: of each lane's chunks, then between lanes.
fn transform_lanes(chunks: mat4x4<f32>, lane: u32) -> mat4x4<f32> {
  var sum = mat4x4<f32>(
    chunks[0] + chunks[1],
    chunks[0] - chunks[1],
    chunks[2] + chunks[3],
    chunks[2] - chunks[3],
  );
  sum = mat4x4<f32>(
    hadamard4(sum[0] + sum[2]),
    hadamard4(sum[1] + sum[3]),
    hadamard4(sum[0] - sum[2]),
    hadamard4(sum[1] - sum[3]),
  );
  for (var apart = 1u; apart < CHUNK_LANES; apart *= 2u) {
    workgroupBarrier();
    if (lane < ROW_LANES) {
      for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
        {{exchange}}[lane * LANE_CHUNKS + i] = sum[i];
      }
    }
    workgroupBarrier();
    sum *= select(1.0, -1.0, (lane & apart) > 0u);
    if (lane < ROW_LANES) {
      for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
        sum[i] += {{exchange}}[(lane ^ apart) * LANE_CHUNKS + i];
      }
    }
  }
  return sum;
}
`],
  ["schemes/hadamard/universal_constants.hbs", `{{> coded_constants}}
const {{upper}}_METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
`],
  ["schemes/hadamard/unrotate_mixed.hbs", `// Undoes the Hadamard rotation of the sums of coded values.
fn finish_coded(entry: Entry, block: Block, lane: u32) {
  sums = transform_lanes(sums, lane);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    sums[i] *= UNSPREAD * channel_signs(lane_chunk(lane) + i);
  }
}
`],
  ["schemes/hadamard/unrotated_signs.hbs", `  let plain = UNSPREAD * hadamard4(sum) * channel_signs(chunk);
`],
  ["schemes/hadamard/wave.hbs", `const WAVES: u32 = {{waves}}u; // most of a record
const HALF_PI: f32 = 1.5707964;

// Cosine and sine of an angle, in 2^-25 of a turn.
fn cosine_sine(angle: u32) -> vec2<f32> {
  let quarter = ((angle & 0x1ffffffu) + 0x400000u) >> 23u;
  let rest = i32(angle & 0x1ffffffu) - i32(quarter << 23u);
  let x = f32(rest) * (HALF_PI / 8388608.0);
  let y = x * x;
  let sine = x * (1.0 + y * (-1.0 / 6.0 + y * (1.0 / 120.0 + y * (-1.0 / 5040.0 + y / 362880.0))));
  let cosine = 1.0 + y * (-0.5 + y * (1.0 / 24.0 + y * (-1.0 / 720.0 + y / 40320.0)));
  let turned = select(vec2<f32>(cosine, sine), vec2<f32>(-sine, cosine), (quarter & 1u) == 1u);
  return select(turned, -turned, (quarter & 2u) == 2u);
}

// What a wave adds to its channel, in token token of a record. Its first word has the channel, and from bit 8 on how far it turns
// from token to token, in 2^-24 of a turn; its second the factors of cosine and sine, counted from the record's middle, in f16.
fn wave_at(wave: vec2<u32>, token: u32) -> f32 {
  let angle = (wave.x >> 8u) * (2u * token - {{lastToken}}u); // modulo 2^32, as a turn is modulo 2^25
  let factors = unpack2x16float(wave.y) * cosine_sine(angle);
  return factors.x + factors.y;
}
`],
  ["schemes/hadamard/write_means.hbs", `const LEAST_EXPONENT: u32 = {{leastExponent}}u; // of the largest mean that the step of a record's means follows

var<workgroup> mean: array<vec4<f32>, CHUNKS>; // as it will be read; zero until it is known
var<workgroup> largest_mean: atomic<u32>; // the bits of its magnitude

// Keeps chunk chunk of the mean as it is.
fn hold_mean(chunk: u32, value: vec4<f32>) {
  mean[chunk] = value;
  let magnitudes = abs(value);
  let most = max(max(magnitudes.x, magnitudes.y), max(magnitudes.z, magnitudes.w));
  atomicMax(&largest_mean, bitcast<u32>(most));
}

// Writes the mean as whole numbers of one step, the smallest power of two that the largest of them allows, and keeps it as it will be
// read. Numbers have two bytes, or one where they are short.
fn write_means(record: u32, short: bool, lane: u32) {
  workgroupBarrier();
  let exponent = max(atomicLoad(&largest_mean) >> 23u, LEAST_EXPONENT) - select(14u, 6u, short);
  let step = bitcast<f32>(exponent << 23u);
  let most = vec4<f32>(select(32767.0, 127.0, short));
  for (var chunk = lane; chunk < CHUNKS; chunk += WORKGROUP) {
    let steps = clamp(round(mean[chunk] * bitcast<f32>((254u - exponent) << 23u)), -most, most);
    let numbers = bitcast<vec4<u32>>(vec4<i32>(steps));
    mean[chunk] = steps * step;
    if (short) {
      let bytes = numbers & vec4<u32>(0xffu);
      records[record + chunk] = bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
    } else {
      records[record + 2u * chunk] = (numbers.x & 0xffffu) | (numbers.y << 16u);
      records[record + 2u * chunk + 1u] = (numbers.z & 0xffffu) | (numbers.w << 16u);
    }
  }
  if (lane == 0u) {
    records[record + 2u * CHUNKS] = bitcast<u32>(step);
  }
}
`],
  ["schemes/half/chunks_half.hbs", `// Channels 4 chunk to 4 chunk + {{lastChannel}} of a token, a chunk a column; chunk is even.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let at = (record >> 2u) + (chunk >> 1u);
{{#each quads}}
  let halves_{{index}} = halves_of({{../side}}_quads[at + {{index}}u]);
{{/each}}
  return mat{{chunkCount}}x4<f32>(
{{#each chunks}}
    halves_{{quad}}[{{column}}],
{{/each}}
  );
}
`],
  ["schemes/half/encode_half.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

// Copies the tokens that leave the exact tier into records, which hold f16 as the tier does. Grid: (tokens, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let token = entry.encode_from + workgroup.x;
  if (token >= coded_visible(entry, entry.start + entry.count - 1u)) {
    return;
  }
  let exact_at = exact_word(entry.slot, SIDE, layer.sinks + token, head);
  let to = page_word(entry.slot, head, token / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (token % PAGE_TOKENS) * RECORD_WORDS;
  for (var word = lane; word < RECORD_WORDS; word += WORKGROUP) {
    records[to + word] = exact[exact_at + word];
  }
}
`],
  ["schemes/half/half_constants.hbs", `const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
`],
  ["schemes/half/load_half.hbs", `
// Channels 4 chunk to 4 chunk + 3 of a token.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let at = record + chunk * 2u;
  return vec4<f32>(unpack2x16float({{side}}_records[at]), unpack2x16float({{side}}_records[at + 1u]));
}
`],
  ["schemes/octets/chunks_octets.hbs", `{{> (lookup . "octetPartial")}}

// Channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk a column; chunk is even.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
{{#each octets}}
  let octet_{{index}} = {{../side}}_load8(record, token, chunk / 2u + {{index}}u);
{{/each}}
  return mat{{chunkCount}}x4<f32>(
{{#each octets}}
    octet_{{index}}[0],
    octet_{{index}}[1],
{{/each}}
  );
}
`],
  ["schemes/octets/load_octet.hbs", `{{> (lookup . "octetPartial")}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let octet = {{side}}_load8(record, token, chunk / 2u);
  return select(octet[0], octet[1], chunk % 2u == 1u);
}
`],
  ["schemes/octets/mix_octets.hbs", `// Values are mixed as codes. Scales and minima, or means, which those of a page share, come when the page is mixed.
var<private> page_mixed: array<mat4x4<f32>, LANE_CHUNKS>;
var<private> page_weight: vec4<f32>; // of the page's tokens that the lane has mixed

fn mix_coded(codebook: u32, record: u32, token: u32, chunk: u32, weight: vec4<f32>) {
  let values = value_chunks(codebook, record, token, chunk);
  page_weight += weight;
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    page_mixed[i] += weighted(values[i], weight);
  }
}

fn mix_page(record: u32, chunk: u32) {
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    let levels = value_levels4(record, chunk + i);
    let rows = page_mixed[i];
    mixed[i] += weighted(levels[1], page_weight) +
      mat4x4<f32>(levels[0] * rows[0], levels[0] * rows[1], levels[0] * rows[2], levels[0] * rows[3]);
    page_mixed[i] = mat4x4<f32>();
  }
  page_weight = vec4<f32>();
}

fn finish_coded(entry: Entry, block: Block, lane: u32) {}
`],
  ["schemes/octets/mix_page_levels.hbs", `    mix_page(word, chunk);
`],
  ["schemes/promoted/coded_keys_promoted.hbs", `// What all tokens of a page share, of the pages of a tile.
var<workgroup> page_levels: array<vec4<u32>, MAX_SPAN * CHUNKS>; // scales and minima, chunk by chunk
var<workgroup> page_octets: array<u32, MAX_SPAN * CHUNKS / 2u>; // which of eight channels are promoted

fn stage_pages(entry: Entry, block: Block, tile: Tile, lane: u32) {
  let first_page = (tile.first - min(layer.sinks, tile.first)) / PAGE_TOKENS;
  let pages_of_tile = select(0u, (tile.end - tile.first + PAGE_TOKENS - 1u) / PAGE_TOKENS, tile.coded);
  for (var item = lane; item < pages_of_tile * CHUNKS; item += WORKGROUP) {
    let page = first_page + item / CHUNKS;
    let record = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
    page_levels[item] = key_words4(record, item % CHUNKS);
  }
  for (var item = lane; item < pages_of_tile * CHUNKS / 2u; item += WORKGROUP) {
    let page = first_page + item / (CHUNKS / 2u);
    let record = page_word(entry.slot, block.head, page, KEY_RECORD_TOKENS, KEY_RECORD_WORDS);
    page_octets[item] = key_promoted8(record, item % (CHUNKS / 2u));
  }
}

fn coded_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

// at.word is the page of the tile.
fn coded_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  let key = key_at[at.word];
  let first = at.word * CHUNKS + chunk;
  let codes = key_codes8(key.word, key.token, chunk / 2u, page_octets[first / 2u]);
  let left = key_unpacked4(page_levels[first]);
  let right = key_unpacked4(page_levels[first + 1u]);
  return mat2x4<f32>(left[0] * codes[0] + left[1], right[0] * codes[1] + right[1]);
}
`],
  ["schemes/promoted/codes_promoted.hbs", `{{> (lookup . "highPartial")}}

// The codes of channels 8 octet to 8 octet + 7 of token token of the record at record, a chunk a column. own has a bit for each of
// the eight that is promoted, and behind these how many are before them.
fn {{side}}_codes8(record: u32, token: u32, octet: u32, own: u32) -> mat2x4<f32> {
  let bit = (token * CHUNKS * 4u + octet * 8u) * {{upper}}_BITS;
  let low = {{side}}_records[record + {{upper}}_LOW + (bit >> 5u)] >> (bit & 31u);
  let high = {{side}}_high(record, (token * {{upper}}_PROMOTED + (own >> 8u)) * {{upper}}_BITS);
  let code = vec4<u32>((1u << {{upper}}_BITS) - 1u);
  let places = vec4<u32>(0u, 1u, 2u, 3u);
  let first = countOneBits(vec4<u32>(own) & vec4<u32>(0u, 1u, 3u, 7u)) * {{upper}}_BITS;
  let second = countOneBits(vec4<u32>(own) & vec4<u32>(15u, 31u, 63u, 127u)) * {{upper}}_BITS;
  let first_high = (vec4<u32>(high) >> first) & code & (vec4<u32>() - ((vec4<u32>(own) >> places) & vec4<u32>(1u)));
  let second_high = (vec4<u32>(high) >> second) & code & (vec4<u32>() - ((vec4<u32>(own) >> (places + 4u)) & vec4<u32>(1u)));
  let first_low = (vec4<u32>(low) >> (places * {{upper}}_BITS)) & code;
  let second_low = (vec4<u32>(low) >> ((places + 4u) * {{upper}}_BITS)) & code;
  return mat2x4<f32>(
    vec4<f32>(vec4<i32>(first_low | (first_high << vec4<u32>({{upper}}_BITS)))),
    vec4<f32>(vec4<i32>(second_low | (second_high << vec4<u32>({{upper}}_BITS)))),
  );
}

// Which of channels 8 octet to 8 octet + 7 of the record at record are promoted, and behind eight bits how many before them.
fn {{side}}_promoted8(record: u32, octet: u32) -> u32 {
  let shift = octet % 4u * 8u;
  let mask = {{side}}_records[record + octet / 4u];
  var before = countOneBits(mask & ((1u << shift) - 1u));
  for (var word = 0u; word < octet / 4u; word += 1u) {
    before += countOneBits({{side}}_records[record + word]);
  }
  return ((mask >> shift) & 255u) | (before << 8u);
}

// Scales and minima, as binary16, of channels 4 chunk to 4 chunk + 3 of the record at record.
fn {{side}}_words4(record: u32, chunk: u32) -> vec4<u32> {
  let at = record + {{upper}}_LEVELS + 4u * chunk;
  return vec4<u32>({{side}}_records[at], {{side}}_records[at + 1u], {{side}}_records[at + 2u], {{side}}_records[at + 3u]);
}

// The same as numbers.
fn {{side}}_unpacked4(words: vec4<u32>) -> mat2x4<f32> {
  let x = unpack2x16float(words.x);
  let y = unpack2x16float(words.y);
  let z = unpack2x16float(words.z);
  let w = unpack2x16float(words.w);
  return mat2x4<f32>(vec4<f32>(x.x, y.x, z.x, w.x), vec4<f32>(x.y, y.y, z.y, w.y));
}
`],
  ["schemes/promoted/encode_promoted.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const BITS: u32 = {{codeBits}}u; // bits per code of a plane
const RECORD_TOKENS: u32 = {{recordTokens}}u; // a block
const RECORD_WORDS: u32 = {{recordWords}}u;
const PROMOTED: u32 = {{promoted}}u; // channels that have codes in both planes
const MASK_WORDS: u32 = HEAD_DIM / 32u; // whose bits say which
const WORD_CODES: u32 = 32u / BITS;
const LOW_WORDS: u32 = RECORD_TOKENS * HEAD_DIM / WORD_CODES;
const HIGH_WORDS: u32 = RECORD_TOKENS * PROMOTED / WORD_CODES;
const GROUP: u32 = RECORD_TOKENS; // numbers of a channel
const GROUPS: u32 = HEAD_DIM;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> ranges: array<f32, HEAD_DIM>;
var<workgroup> mask: array<atomic<u32>, MASK_WORDS>;
var<workgroup> promoted: array<u32, PROMOTED>; // the channels, in order
var<workgroup> levels: array<u32, HEAD_DIM>; // of each channel: scale, and in the upper half the minimum, as binary16

{{> members_tokens}}

{{> member_of}}

{{> float16_quotient}}

{{> level_code}}

{{> channel_limits}}

// Levels from the smallest number to the largest. Of the two zeros, the positive one is kept.
fn range_levels(limits: Limits, steps: f32) -> u32 {
  let minimum = pack2x16float(vec2<f32>(0.0, select(limits.low, 0.0, limits.low == 0.0)));
  return minimum | quotient_bits(limits.high - limits.low, steps);
}

{{> (lookup . "fitPartial")}}

fn is_promoted(channel: u32) -> bool {
  return ((atomicLoad(&mask[channel / 32u]) >> (channel % 32u)) & 1u) == 1u;
}

// The highest code of a channel.
fn highest_code(channel: u32) -> f32 {
  return f32((1u << select(BITS, 2u * BITS, is_promoted(channel))) - 1u);
}

// Finds the channels of largest range, of equal ones the lower.
fn promote_channels(lane: u32) {
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let limits = channel_limits(channel);
    ranges[channel] = limits.high - limits.low;
  }
  workgroupBarrier();
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let own = ranges[channel];
    var ahead = 0u;
    for (var other = 0u; other < HEAD_DIM; other += 1u) {
      let range = ranges[other];
      ahead += select(0u, 1u, range > own || (range == own && other < channel));
    }
    if (ahead < PROMOTED) {
      atomicOr(&mask[channel / 32u], 1u << (channel % 32u));
    }
  }
  workgroupBarrier();
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    if (is_promoted(channel)) {
      var before = countOneBits(atomicLoad(&mask[channel / 32u]) & ((1u << (channel % 32u)) - 1u));
      for (var word = 0u; word < channel / 32u; word += 1u) {
        before += countOneBits(atomicLoad(&mask[word]));
      }
      promoted[before] = channel;
    }
  }
}

// The code, of both planes, of a channel of the exact vector at word word.
fn code_of(word: u32, channel: u32) -> u32 {
  return level_code(exact_channel(word, channel), unpack2x16float(levels[channel]), 0.0, highest_code(channel));
}

// The first word of the exact vector of token token of the record.
fn token_word(entry: Entry, head: u32, record_first: u32, token: u32) -> u32 {
  return exact_word(entry.slot, SIDE, layer.sinks + record_first + token, head);
}

// Codes of the block that leaves the exact tier: for each channel a scale and a minimum, and twice the bits for those of largest
// range. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;

  find_extremes(entry, head, record_first, encode_end, lane);
  promote_channels(lane);
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    let own = fit_channel(entry, head, record_first, encode_end, channel);
    levels[channel] = own;
    records[record + MASK_WORDS + channel] = own;
  }
  for (var word = lane; word < MASK_WORDS; word += WORKGROUP) {
    records[record + word] = atomicLoad(&mask[word]);
  }
  workgroupBarrier();
  let low_at = record + MASK_WORDS + HEAD_DIM;
  for (var item = lane; item < LOW_WORDS; item += WORKGROUP) {
    let word = token_word(entry, head, record_first, item * WORD_CODES / HEAD_DIM);
    let first = item * WORD_CODES % HEAD_DIM;
    var bits = 0u;
    for (var i = 0u; i < WORD_CODES; i += 1u) {
      bits |= (code_of(word, first + i) & ((1u << BITS) - 1u)) << (i * BITS);
    }
    records[low_at + item] = bits;
  }
  for (var item = lane; item < HIGH_WORDS; item += WORKGROUP) {
    var bits = 0u;
    for (var i = 0u; i < WORD_CODES; i += 1u) {
      let at = item * WORD_CODES + i;
      let word = token_word(entry, head, record_first, at / PROMOTED);
      bits |= (code_of(word, promoted[at % PROMOTED]) >> BITS) << (i * BITS);
    }
    records[low_at + LOW_WORDS + item] = bits;
  }
}
`],
  ["schemes/promoted/fit_pairs.hbs", `{{> exact_sums}}

const ROUNDS: u32 = 3u; // in which two levels move to the means of the numbers nearest to them

// Levels of a channel: two, of small squared error, unless it is promoted.
fn fit_channel(entry: Entry, head: u32, record_first: u32, encode_end: u32, channel: u32) -> u32 {
  let limits = channel_limits(channel);
  if (is_promoted(channel)) {
    return range_levels(limits, highest_code(channel));
  }
  var sum = vec2<i32>();
  for (var i = 0u; i < GROUP; i += 1u) {
    let number = member_of(entry, head, record_first, encode_end, channel, i);
    sum += units_of(clamp(number, limits.low, limits.high));
  }
  var middle = carried(sum); // GROUP times what parts the numbers: first their mean
  var low = 0u;
  var high = 0u;
  for (var round = 0u; round < ROUNDS; round += 1u) {
    var above = vec2<i32>();
    var count = 0u;
    for (var i = 0u; i < GROUP; i += 1u) {
      let number = member_of(entry, head, record_first, encode_end, channel, i);
      let inside = clamp(number, limits.low, limits.high);
      let is_above = !is_less(units_of(f32(GROUP) * inside), middle);
      above += select(vec2<i32>(), units_of(inside), is_above);
      count += select(0u, 1u, is_above);
    }
    high = mean_bits(carried(above), f32(count));
    low = high;
    if (count < GROUP) {
      low = mean_bits(carried(sum - above), f32(GROUP - count));
    }
    middle = carried(i32(GROUP / 2u) * (units_of(unpack2x16float(low).x) + units_of(unpack2x16float(high).x)));
  }
  let scale = min(unpack2x16float(high).x - unpack2x16float(low).x, 65504.0);
  return (low << 16u) | quotient_bits(scale, 1.0);
}
`],
  ["schemes/promoted/fit_ranges.hbs", `// Levels of a channel.
fn fit_channel(entry: Entry, head: u32, record_first: u32, encode_end: u32, channel: u32) -> u32 {
  return range_levels(channel_limits(channel), highest_code(channel));
}
`],
  ["schemes/promoted/high_word.hbs", `// The codes of the upper plane from bit bit on. A token's lie in one word.
fn {{side}}_high(record: u32, bit: u32) -> u32 {
  return {{side}}_records[record + {{upper}}_HIGH + (bit >> 5u)] >> (bit & 31u);
}
`],
  ["schemes/promoted/high_words.hbs", `// The codes of the upper plane from bit bit on, eight at least, which may straddle two words.
fn {{side}}_high(record: u32, bit: u32) -> u32 {
  let word = record + {{upper}}_HIGH + (bit >> 5u);
  let shift = bit & 31u;
  var codes = {{side}}_records[word] >> shift;
  if (shift + 8u * {{upper}}_BITS > 32u) {
    codes |= {{side}}_records[word + 1u] << (32u - shift);
  }
  return codes;
}
`],
  ["schemes/promoted/load_promoted.hbs", `{{> codes_promoted}}

// Channels 8 octet to 8 octet + 7 of token token of the record at record.
fn {{side}}_load8(record: u32, token: u32, octet: u32) -> mat2x4<f32> {
  let codes = {{side}}_codes8(record, token, octet, {{side}}_promoted8(record, octet));
  let first = {{side}}_unpacked4({{side}}_words4(record, 2u * octet));
  let second = {{side}}_unpacked4({{side}}_words4(record, 2u * octet + 1u));
  return mat2x4<f32>(first[0] * codes[0] + first[1], second[0] * codes[1] + second[1]);
}
`],
  ["schemes/promoted/load_promoted_codes.hbs", `{{> codes_promoted}}

// Channels 8 octet to 8 octet + 7 of token token of the record at record, without scale and minimum.
fn {{side}}_load8(record: u32, token: u32, octet: u32) -> mat2x4<f32> {
  return {{side}}_codes8(record, token, octet, {{side}}_promoted8(record, octet));
}

// Scales and minima of channels 4 chunk to 4 chunk + 3 of the record at record.
fn {{side}}_levels4(record: u32, chunk: u32) -> mat2x4<f32> {
  return {{side}}_unpacked4({{side}}_words4(record, chunk));
}
`],
  ["schemes/promoted/prepare_pages_plain.hbs", `fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  stage_pages(entry, block, tile, lane);
  workgroupBarrier();
}
`],
  ["schemes/promoted/prepare_pages_rope.hbs", `// Puts what the tile's pages share, and the block's rows, rotated to the tile's origin, into workgroup memory.
fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {
  stage_pages(entry, block, tile, lane);
{{> rotate_queries atTile}}
}
`],
  ["schemes/promoted/promoted_constants.hbs", `const {{upper}}_BITS: u32 = {{codeBits}}u; // bits per code of a plane
const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
const {{upper}}_PROMOTED: u32 = {{promoted}}u; // channels that have codes in both planes
const {{upper}}_LEVELS: u32 = {{levelsWord}}u; // words before the levels, whose bits say which
const {{upper}}_LOW: u32 = {{lowWord}}u; // words before the lower plane
const {{upper}}_HIGH: u32 = {{highWord}}u; // words before the upper plane
`],
  ["schemes/span/channels_of_four_planes.hbs", `  sums = transpose(sums);
`],
  ["schemes/span/channels_of_two_planes.hbs", `  sums = mat4x4<f32>(
    vec4<f32>(sums[0].x, sums[1].x, sums[0].y, sums[1].y),
    vec4<f32>(sums[0].z, sums[1].z, sums[0].w, sums[1].w),
    vec4<f32>(sums[2].x, sums[3].x, sums[2].y, sums[3].y),
    vec4<f32>(sums[2].z, sums[3].z, sums[2].w, sums[3].w),
  );
`],
  ["schemes/span/codebook_levels.hbs", `// First word of the levels of a head of the span in slot; side 0 has those of keys, side 1 of values. Spans are in one part.
fn levels_word(slot: u32, side: u32, head: u32) -> u32 {
  return ((slot * 2u + side) * layer.kv_heads + head) * HEAD_DIM;
}

// What the codes of four channels stand for, from their levels, the first at word at: a scale, and in the upper half a minimum.
fn levels_at(at: u32, stride: u32) -> Grid {
  let x = unpack2x16float(levels[at]);
  let y = unpack2x16float(levels[at + stride]);
  let z = unpack2x16float(levels[at + 2u * stride]);
  let w = unpack2x16float(levels[at + 3u * stride]);
  return Grid(vec4<f32>(x.y, y.y, z.y, w.y), vec4<f32>(x.x, y.x, z.x, w.x));
}

// The same of channels 4 chunk to 4 chunk + 3, from a head's levels at word.
fn levels_grid(word: u32, chunk: u32) -> Grid {
  return levels_at(word + 4u * chunk, 1u);
}
`],
  ["schemes/span/encode_span.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const BITS: u32 = {{codeBits}}u; // bits per code
const HIGHEST: f32 = {{highest}}.0; // code
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const TOKEN_WORDS: u32 = HEAD_DIM * BITS / 32u; // of a token's codes
const WORD_CODES: u32 = 32u / BITS;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

{{> level_code}}

// Codes of a span's tokens: for each number the nearest level of its channel. A record is a page. Behind the last token it is
// zero. Grid: (records, KV heads, 1).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let record_first = workgroup.x * RECORD_TOKENS;
  if (record_first >= entry.count) {
    return;
  }
  let record = page_word(entry.slot, head, workgroup.x, RECORD_TOKENS, RECORD_WORDS);
  let own = ((entry.slot * 2u + SIDE) * layer.kv_heads + head) * HEAD_DIM;
  for (var item = lane; item < RECORD_TOKENS * TOKEN_WORDS; item += WORKGROUP) {
    let token = record_first + item / TOKEN_WORDS;
    let word = exact_word(entry.slot, SIDE, min(token, entry.count - 1u), head);
    let first = item % TOKEN_WORDS * WORD_CODES;
    var bits = 0u;
    for (var i = 0u; i < select(0u, WORD_CODES, token < entry.count); i += 1u) {
      let channel = first + i;
      let number = unpack2x16float(exact[word + (channel >> 1u)])[channel & 1u];
      bits |= level_code(number, unpack2x16float(levels[own + channel]), 0.0, HIGHEST) << (i * BITS);
    }
    records[record + item] = bits;
  }
}
`],
  ["schemes/span/finish_planes.hbs", `fn value_grid(word: u32, chunk: u32) -> Grid {
  return plane_grid(word, chunk);
}

fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = levels_word(entry.slot, 1u, block.head);
{{> finish_levels}}
  // From planes to channels.
{{> (lookup . "channelsPartial")}}
}
`],
  ["schemes/span/fit_span.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const WORDS: u32 = HEAD_DIM / 2u; // of an exact vector
const LANE_WORDS: u32 = {{laneWords}}u; // words of a vector read at once
const SLICES: u32 = WORKGROUP / LANE_WORDS; // tokens read at once

override SIDE: u32 = 0u; // 0 fits keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

var<workgroup> lows: array<vec2<f32>, WORKGROUP>;
var<workgroup> highs: array<vec2<f32>, WORKGROUP>;

{{> float16_quotient}}

// The binary16 number nearest to number, ties to even; never the negative zero.
fn nearest_bits(number: f32) -> u32 {
  let bits = quotient_bits(abs(number), 1.0);
  return bits | select(0u, 0x8000u, number < 0.0 && bits != 0u);
}

{{> (lookup . "fitPartial")}}

// Fits the levels of every channel to all tokens of a span, a scale and in the upper half a minimum. Grid: (KV heads, 1, 1).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[0];
  let head = workgroup.x;
  let levels = ((entry.slot * 2u + SIDE) * layer.kv_heads + head) * HEAD_DIM;
  let slice = lane / LANE_WORDS;
  for (var first = 0u; first < WORDS; first += LANE_WORDS) {
    let word = first + lane % LANE_WORDS;
    var low = vec2<f32>(65504.0);
    var high = vec2<f32>(-65504.0);
    let tokens = select(0u, entry.count, slice < SLICES && word < WORDS);
    for (var token = slice; token < tokens; token += SLICES) {
      let pair = unpack2x16float(exact[exact_word(entry.slot, SIDE, token, head) + word]);
      low = min(low, pair);
      high = max(high, pair);
    }
    lows[lane] = low;
    highs[lane] = high;
    workgroupBarrier();
    if (slice == 0u && word < WORDS) {
      for (var other = 1u; other < SLICES; other += 1u) {
        low = min(low, lows[other * LANE_WORDS + lane]);
        high = max(high, highs[other * LANE_WORDS + lane]);
      }
      levels_written[levels + 2u * word] = fit_channel(low.x, high.x);
      levels_written[levels + 2u * word + 1u] = fit_channel(low.y, high.y);
    }
    workgroupBarrier();
  }
}
`],
  ["schemes/span/fit_span_pair.hbs", `// Two levels about the middle of the range, half of it apart for keys, and 5/16 of it for values.
fn fit_channel(low: f32, high: f32) -> u32 {
  let share = select(0.5, 0.3125, SIDE == 1u);
  let minimum = ((1.0 + share) * low + (1.0 - share) * high) * 0.5;
  return quotient_bits(share * (high - low), 1.0) | (nearest_bits(minimum) << 16u);
}
`],
  ["schemes/span/fit_span_range.hbs", `const STEPS: f32 = {{steps}}.0; // scales between the smallest number and the largest

// Levels from the smallest number to the largest. Of the two zeros, the positive one is kept.
fn fit_channel(low: f32, high: f32) -> u32 {
  return quotient_bits(high - low, STEPS) | (nearest_bits(low) << 16u);
}
`],
  ["schemes/span/key_steps_planes.hbs", `fn key_steps(word: u32, chunk: u32) -> Grid {
  return plane_grid(word, chunk);
}
`],
  ["schemes/span/load_span_codes.hbs", `{{> level_codes}}

// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record. The span's levels are applied elsewhere:
// to queries before, and to sums of values after.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  return {{side}}_codes4(record, token, chunk);
}
`],
  ["schemes/span/mix_span.hbs", `{{> mix_levels}}

fn value_grid(codebook: u32, chunk: u32) -> Grid {
  return levels_grid(codebook, chunk);
}

fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = levels_word(entry.slot, 1u, block.head);
{{> finish_levels}}
}
`],
  ["schemes/span/plane_words.hbs", `// A span has no centroids.
fn {{side}}_row(codebook: u32, chunk: u32) -> u32 {
  return 0u;
}

// Codes of channels of token token of the record at record, from chunk chunk on: a word for each plane, of every PLANES-th code of a
// word, shifted to the tops of its bytes. So a word is cut into planes by a shift and a mask each.
fn {{side}}_words(row: u32, record: u32, token: u32, chunk: u32) -> array<u32, {{chunkCount}}> {
  let first = record + {{upper}}_METADATA_WORDS + (token * CHUNKS + chunk) / PLANES;
{{#each planeWords}}
  let word_{{index}} = {{../side}}_records[first + {{index}}u];
{{/each}}
  return array<u32, {{chunkCount}}>(
{{#each planes}}
    (word_{{word}} << {{shift}}u) & PLANE_MASK,
{{/each}}
  );
}
`],
  ["schemes/span/planes.hbs", `const PLANES: u32 = {{planes}}u; // codes of a byte: a chunk of planes has every so many channels, from one on
const PLANE_MASK: u32 = {{planeMask}}u; // the code at the top of each byte
const PLANE_STEP: f32 = {{planeStep}}; // of a code that lies there

// The first channel of a chunk of planes.
fn plane_channel(chunk: u32) -> u32 {
  return chunk / PLANES * (4u * PLANES) + chunk % PLANES;
}

// What codes of a chunk of planes stand for, from a head's levels at word.
fn plane_grid(word: u32, chunk: u32) -> Grid {
  let grid = levels_at(word + plane_channel(chunk), PLANES);
  return Grid(grid.low, grid.step * PLANE_STEP);
}
`],
  ["schemes/span/score_span.hbs", `{{> (lookup . "codedKeysPartial")}}

var<workgroup> biases: array<f32, ROWS * CHUNKS>; // products of queries with the minima of four channels
var<private> row_biases: vec4<f32>;

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

// A score is the sum of query * minimum, the same for all tokens, and of query * scale * code: the span's levels are multiplied
// with the queries once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
  let word = levels_word(entry.slot, 0u, block.head);
  for (var item = lane; item < ROWS * CHUNKS; item += WORKGROUP) {
    let row = min(block.first_row + item / CHUNKS, block.rows - 1u);
    let query = query_load4(entry, block.head, row, (item % CHUNKS) * 4u, 1u);
    let grid = levels_grid(word, item % CHUNKS);
    query_tile[item] = Chunk(query * grid.step);
    biases[item] = dot(query, grid.low);
  }
  workgroupBarrier();
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    row_biases += vec4<f32>(
      biases[chunk],
      biases[CHUNKS + chunk],
      biases[2u * CHUNKS + chunk],
      biases[3u * CHUNKS + chunk],
    );
  }
}

// Scores of the lane's tokens for every row. A span has no exact tokens.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let coded_chunks = trips(tile, true, CHUNKS);
{{> plain_dot coded first="0u"}}
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] += row_biases;
  }
}
`],
  ["schemes/span/score_span_integers.hbs", `{{> planes}}

{{> digits}}

fn prepare_tile(entry: Entry, block: Block, tile: Tile, lane: u32) {}

// Queries have the order of planes: a span has no exact tokens, which would need another.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> query_items channel="plane_channel(item % CHUNKS)" stride="PLANES"}}
  workgroupBarrier();
  digit_queries(levels_word(entry.slot, 0u, block.head), lane);
}

// Scores of the lane's tokens for every row.
fn score_tokens(block: Block, tile: Tile, lane: u32) {
  let centroids = 0u;
  let coded_chunks = trips(tile, true, CHUNKS);
{{> digit_sums}}
}
`],
  ["schemes/ternary/encode_ternary.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u; // as many as tokens of a record, so that a lane has one
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const BITS: u32 = {{codeBits}}u; // bits per code
const CODES: u32 = {{codes}}u; // codes per token
const RECORD_TOKENS: u32 = {{recordTokens}}u; // a block
const RECORD_WORDS: u32 = {{recordWords}}u;
const METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
const CODE_WORDS: u32 = RECORD_TOKENS * CODES * BITS / 32u;
const NUMBERS: u32 = 6561u; // of eight trits
const GROUP: u32 = RECORD_TOKENS; // numbers of a channel
const GROUPS: u32 = HEAD_DIM;

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> levels: array<u32, HEAD_DIM>; // of each channel: scale, and behind eight bits the mean, as stored
var<workgroup> magnitudes: array<vec4<f32>, GROUP>; // of four channels, less their means
var<workgroup> sums: array<vec2<i32>, 4u * GROUP>; // of each number and all of larger magnitude, channel by channel
var<workgroup> counts: array<u32, 4u * GROUP>; // how many these are
var<workgroup> codes: array<u32, RECORD_TOKENS * CODES / 2u>; // two a word

{{> members_tokens}}

{{> member_of}}

{{> channel_limits}}

{{> exact_sums}}

// The number that a mean stands for.
fn mean_of(bits: u32) -> f32 {
  return 256.0 * unpack2x16float(((bits & 0x80u) << 8u) | ((bits & 0x7fu) << 7u)).x;
}

// The number that a scale stands for.
fn scale_of(bits: u32) -> f32 {
  return unpack2x16float(bits << 7u).x;
}

// The mean of a channel's numbers within limits, in four bits of exponent: binary16 of a 256th, rounded.
fn fit_mean(entry: Entry, head: u32, record_first: u32, encode_end: u32, channel: u32) -> u32 {
  let limits = channel_limits(channel);
  var sum = vec2<i32>();
  for (var i = 0u; i < GROUP; i += 1u) {
    let number = member_of(entry, head, record_first, encode_end, channel, i);
    sum += units_of(clamp(number, limits.low, limits.high));
  }
  let total = carried(sum);
  let half = mean_bits(total, 256.0 * f32(GROUP));
  return min(((half & 0x7fffu) + 0x40u) >> 7u, 0x7fu) | select(0u, 0x80u, total.x < 0);
}

// A sum in digits of 11 bits, the lowest first.
fn digits_of(sum: vec2<i32>) -> array<i32, 5> {
  return array<i32, 5>(
    sum.y & 2047,
    (sum.y >> 11u) | ((sum.x & 3) << 9u),
    (sum.x >> 2u) & 2047,
    (sum.x >> 13u) & 2047,
    sum.x >> 24u,
  );
}

// Whether the numbers in candidate a, coded as one scale, take off more of the squared error than those in b: whether
// sum_a^2 / count_a > sum_b^2 / count_b, or both are equal and a has fewer. No division and no rounding.
fn is_better(a: u32, b: u32) -> bool {
  var x = digits_of(sums[a]);
  var y = digits_of(sums[b]);
  let x_factor = i32(counts[b]);
  let y_factor = i32(counts[a]);
  var carry = 0;
  var rest = 0;
  for (var place = 0u; place < 9u; place += 1u) {
    for (var i = max(place, 4u) - 4u; i <= min(place, 4u); i += 1u) {
      carry += x[i] * x[place - i] * x_factor - y[i] * y[place - i] * y_factor;
    }
    rest |= carry & 2047;
    carry >>= 11u;
  }
  let equal = carry == 0 && rest == 0;
  return carry > 0 || (carry == 0 && rest != 0) || (equal && counts[a] < counts[b]);
}

// The best of count candidates from first on, stride apart, is put first.
fn put_best_first(first: u32, stride: u32, count: u32) {
  var best = first;
  for (var i = 1u; i < count; i += 1u) {
    if (is_better(first + i * stride, best)) {
      best = first + i * stride;
    }
  }
  sums[first] = sums[best];
  counts[first] = counts[best];
}

// Word word of the codes.
fn code_word(word: u32) -> u32 {
  let end = min(RECORD_TOKENS * CODES, (word * 32u + 31u) / BITS + 1u);
  var bits = 0u;
  for (var item = word * 32u / BITS; item < end; item += 1u) {
    let code = (codes[item / 2u] >> (item % 2u * 16u)) & 0xffffu;
    let first = item * BITS;
    if (first >= word * 32u) {
      bits |= code << (first - word * 32u);
    } else {
      bits |= code >> (word * 32u - first);
    }
  }
  return bits;
}

// Codes of the block that leaves the exact tier: for each channel a mean, the scale of least squared error, and for each number
// the nearest of three levels, of equally near ones the mean. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;

  find_extremes(entry, head, record_first, encode_end, lane);
  for (var channel = lane; channel < HEAD_DIM; channel += WORKGROUP) {
    levels[channel] = fit_mean(entry, head, record_first, encode_end, channel) << 8u;
  }
  workgroupBarrier();

  var number = 0u; // of the trits of eight channels
  for (var chunk = 0u; chunk < CHUNKS; chunk += 1u) {
    var rest = vec4<f32>(); // of the lane's token
    for (var i = 0u; i < 4u; i += 1u) {
      let channel = 4u * chunk + i;
      let limits = channel_limits(channel);
      let own = member_of(entry, head, record_first, encode_end, channel, lane);
      rest[i] = clamp(own, limits.low, limits.high) - mean_of(levels[channel] >> 8u);
    }
    let magnitude = abs(rest);
    magnitudes[lane] = magnitude;
    workgroupBarrier();
    // Each number proposes itself and all of larger magnitude, of equal ones those before it.
    var sum_0 = vec2<i32>();
    var sum_1 = vec2<i32>();
    var sum_2 = vec2<i32>();
    var sum_3 = vec2<i32>();
    var count = vec4<u32>();
    for (var i = 0u; i < GROUP; i += 1u) {
      let other = magnitudes[i];
      let is_ahead = (other > magnitude) | ((other == magnitude) & vec4<bool>(i <= lane));
      sum_0 += select(vec2<i32>(), units_of(other.x), is_ahead.x);
      sum_1 += select(vec2<i32>(), units_of(other.y), is_ahead.y);
      sum_2 += select(vec2<i32>(), units_of(other.z), is_ahead.z);
      sum_3 += select(vec2<i32>(), units_of(other.w), is_ahead.w);
      count += select(vec4<u32>(), vec4<u32>(1u), is_ahead);
    }
    sums[lane] = carried(sum_0);
    sums[GROUP + lane] = carried(sum_1);
    sums[2u * GROUP + lane] = carried(sum_2);
    sums[3u * GROUP + lane] = carried(sum_3);
    counts[lane] = count.x;
    counts[GROUP + lane] = count.y;
    counts[2u * GROUP + lane] = count.z;
    counts[3u * GROUP + lane] = count.w;
    workgroupBarrier();
    put_best_first(lane * 4u, 1u, 4u);
    workgroupBarrier();
    if (lane < 4u) {
      let first = lane * GROUP;
      put_best_first(first, 4u, GROUP / 4u);
      // Binary16 without its sign and its lowest bits.
      let half = mean_bits(sums[first], f32(counts[first]));
      levels[4u * chunk + lane] |= min((half + 0x40u) >> 7u, 0xf7u);
    }
    workgroupBarrier();
    for (var i = 0u; i < 4u; i += 1u) {
      let scale = scale_of(levels[4u * chunk + i] & 0xffu);
      let trit = select(select(1u, 0u, 2.0 * rest[i] < -scale), 2u, 2.0 * rest[i] > scale);
      number = 3u * number + select(trit, 1u, scale == 0.0);
    }
    if (chunk % 2u == 1u) {
      let code = (number << BITS) / NUMBERS + select(1u, 0u, (number << BITS) % NUMBERS == 0u);
      let item = lane * CODES + chunk / 2u;
      codes[item / 2u] |= code << (item % 2u * 16u);
      number = 0u;
    }
  }
  workgroupBarrier();
  for (var word = lane; word < METADATA_WORDS; word += WORKGROUP) {
    records[record + word] = levels[2u * word] | (levels[2u * word + 1u] << 16u);
  }
  for (var word = lane; word < CODE_WORDS; word += WORKGROUP) {
    records[record + METADATA_WORDS + word] = code_word(word);
  }
}
`],
  ["schemes/ternary/load_ternary.hbs", `{{> trits}}

// Channels 8 octet to 8 octet + 7 of token token of the record at record.
fn {{side}}_load8(record: u32, token: u32, octet: u32) -> mat2x4<f32> {
  let trits = {{side}}_trits8(record, token, octet);
  let first = {{side}}_levels4(record, 2u * octet);
  let second = {{side}}_levels4(record, 2u * octet + 1u);
  return mat2x4<f32>(first[0] * trits[0] + first[1], second[0] * trits[1] + second[1]);
}
`],
  ["schemes/ternary/load_trits.hbs", `{{> trits}}

// Channels 8 octet to 8 octet + 7 of token token of the record at record, without scale and mean.
fn {{side}}_load8(record: u32, token: u32, octet: u32) -> mat2x4<f32> {
  return {{side}}_trits8(record, token, octet);
}
`],
  ["schemes/ternary/ternary_constants.hbs", `const {{upper}}_BITS: u32 = {{codeBits}}u; // bits per code
const {{upper}}_MASK: u32 = {{mask}}u;
const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
const {{upper}}_METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
`],
  ["schemes/ternary/trits.hbs", `{{> code_straddling}}

// Channels 8 octet to 8 octet + 7 of token token of the record at record, as -1, 0 or 1. A code is a fraction: times 3, its whole
// part is a trit.
fn {{side}}_trits8(record: u32, token: u32, octet: u32) -> mat2x4<f32> {
  let code = {{side}}_code(record + {{upper}}_METADATA_WORDS, token * (CHUNKS / 2u) + octet);
  let first = ((code * vec4<u32>(1u, 3u, 9u, 27u)) & vec4<u32>({{upper}}_MASK)) * 3u;
  let second = ((code * vec4<u32>(81u, 243u, 729u, 2187u)) & vec4<u32>({{upper}}_MASK)) * 3u;
  return mat2x4<f32>(
    vec4<f32>(vec4<i32>(first >> vec4<u32>({{upper}}_BITS)) - 1),
    vec4<f32>(vec4<i32>(second >> vec4<u32>({{upper}}_BITS)) - 1),
  );
}

// Scales and means of channels 4 chunk to 4 chunk + 3 of the record at record, two channels a word.
fn {{side}}_levels4(record: u32, chunk: u32) -> mat2x4<f32> {
  let words = vec2<u32>({{side}}_records[record + 2u * chunk], {{side}}_records[record + 2u * chunk + 1u]);
  let scales = (words & vec2<u32>(0x00ff00ffu)) << vec2<u32>(7u);
  let means = (words & vec2<u32>(0x80008000u)) | ((words & vec2<u32>(0x7f007f00u)) >> vec2<u32>(1u));
  return mat2x4<f32>(
    vec4<f32>(unpack2x16float(scales.x), unpack2x16float(scales.y)),
    256.0 * vec4<f32>(unpack2x16float(means.x), unpack2x16float(means.y)),
  );
}
`],
  ["schemes/uniform/encode_levels.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const BITS: u32 = {{codeBits}}u; // bits per code
const STEPS: f32 = {{steps}}.0; // scales in what a group spans
const HIGHEST: f32 = f32((1u << BITS) - 1u); // code
const ZERO: f32 = {{zero}}.0; // the code of the minimum, or of 0 where there is none
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
const TOKEN_WORDS: u32 = HEAD_DIM * BITS / 32u; // of a token's codes
const WORD_CODES: u32 = 32u / BITS;
const GROUP: u32 = {{groupNumbers}}u; // numbers that share a scale
const GROUPS: u32 = {{groups}}u; // of a record

override SIDE: u32 = 0u; // 0 encodes keys, 1 values

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> levels: array<u32, GROUPS>; // of each group: scale, and in the upper half the minimum, as binary16

{{> (lookup . "membersPartial")}}

{{> member_of}}

{{> float16_quotient}}

{{> (lookup . "fitPartial")}}

{{> (lookup . "groupsPartial")}}

{{> level_code}}

{{> (lookup . "metadataPartial")}}

// Codes of the tokens that leave the exact tier: for each group of numbers a scale, and for each number the nearest level.
// A workgroup owns a whole record, so tokens coded before are kept without atomics. Grid: (records, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let record_first = (entry.encode_from / RECORD_TOKENS + workgroup.x) * RECORD_TOKENS;
  if (record_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  let record = page_word(entry.slot, head, record_first / PAGE_TOKENS, RECORD_TOKENS, RECORD_WORDS) +
    (record_first % PAGE_TOKENS) / RECORD_TOKENS * RECORD_WORDS;

  fit_groups(entry, head, record_first, encode_end, lane);
  write_metadata(entry, record, record_first, encode_end, lane);
  for (var item = lane; item < RECORD_TOKENS * TOKEN_WORDS; item += WORKGROUP) {
    let token = record_first + item / TOKEN_WORDS;
    if (token >= entry.encode_from) {
      var bits = 0u;
      let word = exact_word(entry.slot, SIDE, layer.sinks + min(token, encode_end - 1u), head);
      let first = item % TOKEN_WORDS * WORD_CODES;
      for (var i = 0u; i < select(0u, WORD_CODES, token < encode_end); i += 1u) {
        let own = unpack2x16float(levels[group_of(token - record_first, first + i)]);
        bits |= level_code(exact_channel(word, first + i), own, ZERO, HIGHEST) << (i * BITS);
      }
      records[record + METADATA_WORDS + item] = bits;
    }
  }
}
`],
  ["schemes/uniform/fit_extreme.hbs", `// Levels farther on that side of 0 where the largest magnitude is: the lowest code's, whatever the sign.
fn fit_group(low: f32, high: f32) -> u32 {
  return quotient_bits(max(-low, high), STEPS) | select(0u, 0x8000u, high > -low);
}
`],
  ["schemes/uniform/fit_magnitude.hbs", `// Levels as far on either side of 0 as the largest magnitude.
fn fit_group(low: f32, high: f32) -> u32 {
  return quotient_bits(max(-low, high), STEPS);
}
`],
  ["schemes/uniform/fit_range.hbs", `// Levels from the smallest number to the largest. Of the two zeros, the positive one is kept.
fn fit_group(low: f32, high: f32) -> u32 {
  let minimum = pack2x16float(vec2<f32>(0.0, select(low, 0.0, low == 0.0)));
  return minimum | quotient_bits(high - low, STEPS);
}
`],
  ["schemes/uniform/groups_limited.hbs", `{{> channel_limits}}

// Fits each group's levels to its numbers. A group is a channel of a block.
fn fit_groups(entry: Entry, head: u32, record_first: u32, encode_end: u32, lane: u32) {
  find_extremes(entry, head, record_first, encode_end, lane);
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    let limits = channel_limits(group);
    levels[group] = fit_group(limits.low, limits.high);
  }
  workgroupBarrier();
}
`],
  ["schemes/uniform/groups_plain.hbs", `// Fits each group's levels to its numbers.
fn fit_groups(entry: Entry, head: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    var low = 3.0e38;
    var high = -3.0e38;
    for (var i = 0u; i < GROUP; i += 1u) {
      let number = member_of(entry, head, record_first, encode_end, group, i);
      low = min(low, number);
      high = max(high, number);
    }
    levels[group] = fit_group(low, high);
  }
  workgroupBarrier();
}
`],
  ["schemes/uniform/level_codes.hbs", `// The codes of channels 4 chunk to 4 chunk + 3 of token token of the record at record, which lie in one word. They are signed
// on the way, because processors have no instruction for unsigned numbers.
fn {{side}}_codes4(record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let bit = (token * CHUNKS + chunk) * 4u * {{upper}}_BITS;
  let word = {{side}}_records[record + {{upper}}_METADATA_WORDS + (bit >> 5u)] >> (bit & 31u);
  let places = vec4<u32>(0u, 1u, 2u, 3u) * {{upper}}_BITS;
  return vec4<f32>(vec4<i32>((vec4<u32>(word) >> places) & vec4<u32>((1u << {{upper}}_BITS) - 1u)));
}
`],
  ["schemes/uniform/level_constants.hbs", `const {{upper}}_BITS: u32 = {{codeBits}}u; // bits per code
const {{upper}}_RECORD_TOKENS: u32 = {{recordTokens}}u;
const {{upper}}_RECORD_WORDS: u32 = {{recordWords}}u;
const {{upper}}_METADATA_WORDS: u32 = {{metadataWords}}u; // in front of a record's codes
`],
  ["schemes/uniform/load_levels_channels.hbs", `{{> level_codes}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: a scale and a minimum for 32 channels of the token.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let levels = unpack2x16float({{side}}_records[record + token * (CHUNKS / 8u) + chunk / 8u]);
  return levels.x * {{side}}_codes4(record, token, chunk) + levels.y;
}
`],
  ["schemes/uniform/load_levels_head.hbs", `{{> level_codes}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: a scale and a minimum for all channels of the token.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let levels = unpack2x16float({{side}}_records[record + token]);
  return levels.x * {{side}}_codes4(record, token, chunk) + levels.y;
}
`],
  ["schemes/uniform/load_levels_tokens.hbs", `{{> level_codes}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: a scale and a minimum for each channel.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let at = record + 4u * chunk;
  let x = unpack2x16float({{side}}_records[at]);
  let y = unpack2x16float({{side}}_records[at + 1u]);
  let z = unpack2x16float({{side}}_records[at + 2u]);
  let w = unpack2x16float({{side}}_records[at + 3u]);
  return vec4<f32>(x.x, y.x, z.x, w.x) * {{side}}_codes4(record, token, chunk) + vec4<f32>(x.y, y.y, z.y, w.y);
}
`],
  ["schemes/uniform/load_symmetric.hbs", `{{> level_codes}}

// Channels 4 chunk to 4 chunk + 3 of token token of the record at record: a scale for 32 channels of the token.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let group = token * (CHUNKS / 8u) + chunk / 8u;
  let scale = unpack2x16float({{side}}_records[record + (group >> 1u)])[group & 1u];
  return scale * ({{side}}_codes4(record, token, chunk) - {{upper}}_ZERO);
}
`],
  ["schemes/uniform/members_channels.hbs", `// A group is GROUP consecutive channels of one token.
fn group_of(token: u32, channel: u32) -> u32 {
  return (token * HEAD_DIM + channel) / GROUP;
}

fn member_token(group: u32, member: u32) -> u32 {
  return group / (HEAD_DIM / GROUP);
}

fn member_channel(group: u32, member: u32) -> u32 {
  return group % (HEAD_DIM / GROUP) * GROUP + member;
}
`],
  ["schemes/uniform/metadata_halves.hbs", `// Writes what the record says of its groups, two to a word, which may belong to two tokens. What is behind the last group is 0:
// another sequence may have left something there.
fn write_metadata(entry: Entry, record: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var word = lane; word < METADATA_WORDS; word += WORKGROUP) {
    let before = records[record + word];
    var bits = 0u;
    for (var group = 2u * word; group < min(2u * word + 2u, GROUPS); group += 1u) {
      let shift = (group & 1u) * 16u;
      let token = record_first + member_token(group, 0u);
      let scale = select(0u, levels[group], token < encode_end);
      bits |= select((before >> shift) & 0xffffu, scale, token >= entry.encode_from) << shift;
    }
    records[record + word] = bits;
  }
}
`],
  ["schemes/uniform/metadata_words.hbs", `// Writes what the record says of its groups, a word each.
fn write_metadata(entry: Entry, record: u32, record_first: u32, encode_end: u32, lane: u32) {
  for (var group = lane; group < GROUPS; group += WORKGROUP) {
    let token = record_first + member_token(group, 0u);
    if (token >= entry.encode_from) {
      records[record + group] = select(0u, levels[group], token < encode_end);
    }
  }
}
`],
  ["schemes/uniform/symmetric_constants.hbs", `{{> level_constants}}
const {{upper}}_ZERO: f32 = {{zero}}.0; // the code of 0
`],
  ["schemes/vecinfer/chunk_smoothed.hbs", `// Chunk chunk of the exact vector at word word, of the token at position, as the transform takes it.
fn signed_chunk(word: u32, position: u32, chunk: u32) -> vec4<f32> {
  return exact_chunk(word, chunk) * smoothing(chunk);
}
`],
  ["schemes/vecinfer/chunk_turned.hbs", `fn kept_chunk(word: u32, token: u32, chunk: u32) -> vec4<f32> {
  return exact_chunk(word, chunk);
}

fn centre_of(chunk: u32) -> vec4<f32> {
  return vec4<f32>();
}

{{> chunk_rope}}
`],
  ["schemes/vecinfer/chunks_shared_c4.hbs", `{{> shared_grid}}

{{> (lookup . "codesPartial")}}
// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk and a word of a centroid each.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let codes = {{side}}_codes(record, token, chunk);
  let centroids = codebook + HEAD_DIM + {{upper}}_CHANNELS;
  return mat{{chunkCount}}x4<f32>(
{{#each laneCodes}}
    levels_of(codebook_word(centroids + codes[{{index}}])),
{{/each}}
  );
}
`],
  ["schemes/vecinfer/chunks_shared_c8.hbs", `{{> shared_grid}}

{{> (lookup . "codesPartial")}}
// Levels of channels 4 chunk to 4 chunk + {{lastChannel}} of token token of the record at record, a chunk a column.
fn {{side}}_chunks(codebook: u32, record: u32, token: u32, chunk: u32) -> mat{{chunkCount}}x4<f32> {
  let codes = {{side}}_codes(record, token, chunk / 2u);
  let centroids = codebook + HEAD_DIM + {{upper}}_CHANNELS;
{{#each laneCodes}}
  let pair_{{index}} = codebook_pair(centroids, codes[{{index}}]);
{{/each}}
  return mat{{chunkCount}}x4<f32>(
{{#each laneCodes}}
    levels_of(pair_{{index}}.x),
    levels_of(pair_{{index}}.y),
{{/each}}
  );
}
`],
  ["schemes/vecinfer/coded_keys_shared.hbs", `// All groups have the same grids, and a channel has one mean: both are in the queries and in coded_base.
fn coded_grids(block: Block, chunk: u32) -> Grids {
  return Grids();
}

fn coded_key8(grids: Grids, block: Block, at: KeyAt, chunk: u32) -> mat2x4<f32> {
  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  return key_chunks(codebook, at.word, at.token, chunk);
}

var<workgroup> base_parts: array<f32, ROW_LANES>;
var<private> coded_base: vec4<f32>; // what the lowest levels and the means add to every score
`],
  ["schemes/vecinfer/encode_shared.wgsl.hbs", `const HEAD_DIM: u32 = {{headDim}}u;
const CHUNKS: u32 = HEAD_DIM / 4u; // vec4s per head
const WORKGROUP: u32 = {{workgroupSize}}u;
const PAGE_TOKENS: u32 = {{pageTokens}}u;
const CHANNELS: u32 = {{channels}}u; // channels per code
const QUADS: u32 = CHANNELS / 4u; // vec4s per code, and words of a centroid
const BITS: u32 = {{codeBits}}u; // bits per code
const CENTROIDS: u32 = {{centroids}}u; // of all groups of a head
const ROW_CENTROIDS: u32 = {{rowCentroids}}u; // that one load brings
const CODES: u32 = {{codes}}u; // codes per token
const RECORD_TOKENS: u32 = {{recordTokens}}u;
const RECORD_WORDS: u32 = {{recordWords}}u;
const CODEBOOK_WORDS: u32 = {{codebookWords}}u; // per head
const LANES: u32 = {{lanes}}u; // lanes that share the search for one code
const MAX_TOKENS: u32 = {{tokens}}u;
const SPREAD: f32 = {{spread}}; // the factor of the rotation

override SIDE: u32 = 0u; // 0 encodes keys, 1 values
override TOKENS: u32 = 1u; // tokens a lane compares with a centroid it has loaded, at most MAX_TOKENS
override BLOCK: u32 = RECORD_TOKENS; // tokens of one workgroup: whole records, a multiple of TOKENS
{{> (lookup . "headerPartial")}}

{{> uniforms}}

{{> bindings}}

{{> tiers}}

{{> pages}}

var<workgroup> vectors: array<vec4<f32>, TOKENS * CHUNKS>;
var<workgroup> codes: array<u32, BLOCK * CODES>;
var<workgroup> likenesses: array<f32, WORKGROUP * TOKENS>;
var<workgroup> nearest: array<u32, WORKGROUP * TOKENS>;
var<private> codebook: u32; // first word of the head's
var<private> points: array<vec4<f32>, MAX_TOKENS * QUADS>; // of the lane's group

{{> levels}}

{{> hadamard4}}

// Chunk chunk, which is four channels, of the exact vector at word word.
fn exact_chunk(word: u32, chunk: u32) -> vec4<f32> {
  let at = word + 2u * chunk;
  return vec4<f32>(unpack2x16float(exact[at]), unpack2x16float(exact[at + 1u]));
}

// Factors (low halves) and means of a chunk's channels.
fn transform_words(chunk: u32) -> vec4<u32> {
  return codebook_quads[codebook / 4u + chunk];
}

// What the channels of a chunk are multiplied by before the rotation: 1 where the head is not rotated. Factors are signed
// powers of two, so that their inverses are a matter of exponents.
fn smoothing(chunk: u32) -> vec4<f32> {
  let words = transform_words(chunk);
  let exponents = vec4<u32>(142u) - ((words >> vec4<u32>(10u)) & vec4<u32>(31u));
  let signs = (words & vec4<u32>(0x8000u)) << vec4<u32>(16u);
  let inverse = bitcast<vec4<f32>>(signs | (exponents << vec4<u32>(23u)));
  return select(vec4<f32>(1.0), SPREAD * inverse, (words & vec4<u32>(0xffffu)) != vec4<u32>());
}

fn means(chunk: u32) -> vec4<f32> {
  let words = transform_words(chunk);
  return vec4<f32>(
    unpack2x16float(words.x).y,
    unpack2x16float(words.y).y,
    unpack2x16float(words.z).y,
    unpack2x16float(words.w).y,
  );
}

// The lowest level's numbers and a level's steps of four channels of every group.
fn grid_of(quad: u32) -> mat2x4<f32> {
  let words = codebook_quads[(codebook + HEAD_DIM) / 4u + quad];
  let channel_0 = unpack2x16float(words.x);
  let channel_1 = unpack2x16float(words.y);
  let channel_2 = unpack2x16float(words.z);
  let channel_3 = unpack2x16float(words.w);
  return mat2x4<f32>(
    vec4<f32>(channel_0.x, channel_1.x, channel_2.x, channel_3.x),
    vec4<f32>(channel_0.y, channel_1.y, channel_2.y, channel_3.y) / 64.0,
  );
}

{{> (lookup . "anglePartial")}}

{{> (lookup . "chunkPartial")}}

{{> kept_mask}}

// Codes of the tokens that leave the exact tier (VecInfer, arXiv 2510.06175 §3): smoothed and rotated, then the nearest
// centroid of each group, ties to the lowest index. A workgroup owns whole records, so tokens coded before are kept
// without atomics. Grid: (blocks of tokens, KV heads, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let entry = step.entries[workgroup.z];
  let head = workgroup.y;
  let encode_end = coded_visible(entry, entry.start + entry.count - 1u);
  let block_first = entry.encode_from / RECORD_TOKENS * RECORD_TOKENS + workgroup.x * BLOCK;
  if (block_first >= encode_end || entry.encode_from >= encode_end) {
    return;
  }
  codebook = select(layer.value_codebook, 0u, SIDE == 0u) + (layer.first_head + head) * CODEBOOK_WORDS;
  let rotated = (codebook_quads[codebook / 4u].x & 0xffffu) != 0u;
{{#each quads}}
  let grid_{{index}} = grid_of({{index}}u);
{{/each}}

  for (var batch = 0u; batch < BLOCK; batch += TOKENS) {
    let first = block_first + batch;
    for (var item = lane; item < TOKENS * CHUNKS; item += WORKGROUP) {
      let position = layer.sinks + clamp(first + item / CHUNKS, entry.encode_from, encode_end - 1u);
      let word = exact_word(entry.slot, SIDE, position, head);
      let value = signed_chunk(word, position, item % CHUNKS);
      vectors[item] = select(value, hadamard4(value), rotated);
    }
    for (var stride = 1u; stride < CHUNKS; stride *= 2u) {
      workgroupBarrier();
      for (var item = lane; item < TOKENS * CHUNKS / 2u; item += WORKGROUP) {
        let at = item / stride * (2u * stride) + item % stride;
        let a = vectors[at];
        let b = vectors[at + stride];
        vectors[at] = select(a, a + b, rotated);
        vectors[at + stride] = select(b, a - b, rotated);
      }
    }
    workgroupBarrier();

    for (var round = 0u; round < CODES; round += WORKGROUP / LANES) {
      let group = min(round + lane / LANES, CODES - 1u); // idle lanes repeat the last group
      var best = array<f32, MAX_TOKENS>();
      var best_code = array<u32, MAX_TOKENS>();
      for (var token = 0u; token < TOKENS; token += 1u) {
        best[token] = -3.0e38;
{{#each quads}}
        points[token * QUADS + {{index}}u] = vectors[token * CHUNKS + group * QUADS + {{index}}u] - means(group * QUADS + {{index}}u);
{{/each}}
      }
      // |x - c|^2 is least where x.c - |c|^2 / 2 is largest, which takes fewer digits.
      for (var row = lane % LANES; row < CENTROIDS / ROW_CENTROIDS; row += LANES) {
        let words = codebook_quads[(codebook + HEAD_DIM + CHANNELS) / 4u + row];
{{#each searched}}
        let {{code}} = row * ROW_CENTROIDS + {{index}}u;
{{#each parts}}
        let {{centroid}} = grid_{{quad}}[0] + levels_of(words.{{word}}) * grid_{{quad}}[1];
{{/each}}
        let {{half}} = 0.5 * ({{#each parts}}dot({{centroid}}, {{centroid}}){{joint}}{{/each}});
{{#each batch}}
        if (TOKENS > {{token}}u) {
          let likeness = {{#each parts}}dot(points[{{place}}u], {{centroid}}){{joint}}{{/each}} - {{half}};
          best_code[{{token}}u] = select(best_code[{{token}}u], {{code}}, likeness > best[{{token}}u]);
          best[{{token}}u] = max(best[{{token}}u], likeness);
        }
{{/each}}
{{/each}}
      }
      for (var token = 0u; token < TOKENS; token += 1u) {
        likenesses[token * WORKGROUP + lane] = best[token];
        nearest[token * WORKGROUP + lane] = best_code[token];
      }
      workgroupBarrier();
      for (var item = lane; item < TOKENS * (WORKGROUP / LANES); item += WORKGROUP) {
        let at = item * LANES;
        var highest = likenesses[at];
        var winner = nearest[at];
        for (var other = at + 1u; other < at + LANES; other += 1u) {
          let tie = likenesses[other] == highest && nearest[other] < winner;
          if (likenesses[other] > highest || tie) {
            highest = likenesses[other];
            winner = nearest[other];
          }
        }
        let item_group = round + item % (WORKGROUP / LANES);
        if (item_group < CODES) {
          codes[(batch + item / (WORKGROUP / LANES)) * CODES + item_group] = winner;
        }
      }
      workgroupBarrier();
    }
  }

  for (var word = lane; word < BLOCK / RECORD_TOKENS * RECORD_WORDS; word += WORKGROUP) {
    let record = word / RECORD_WORDS;
    write_word(entry, head, block_first + record * RECORD_TOKENS, record, word % RECORD_WORDS, encode_end);
  }
}

{{> write_codes}}
`],
  ["schemes/vecinfer/load_shared.hbs", `{{> shared_grid}}

{{> (lookup . "codePartial")}}
// Channels 4 chunk to 4 chunk + 3 of token token of the record at record, as they were coded: one word of a centroid.
fn {{side}}_load4(grid: Grid, codebook: u32, record: u32, token: u32, chunk: u32) -> vec4<f32> {
  let quads = {{upper}}_CHANNELS / 4u; // words of a centroid
  let code = {{side}}_code(record, token * {{upper}}_CODES + chunk / quads);
  let at = codebook + HEAD_DIM + {{upper}}_CHANNELS + code * quads + chunk % quads;
  return grid.low + levels_of(codebook_word(at)) * grid.step;
}
`],
  ["schemes/vecinfer/loaded_shared.hbs", `  let grid = coded_grid(codebook, chunk);
  rotated[lane] = coded_load4(grid, codebook, record, token % CODED_RECORD_TOKENS, chunk);
`],
  ["schemes/vecinfer/mix_shared.hbs", `{{> mix_levels}}

fn finish_coded(entry: Entry, block: Block, lane: u32) {
  let codebook = layer.value_codebook + (layer.first_head + block.head) * VALUE_CODEBOOK_WORDS;
  var factors = mat4x4<f32>();
  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let chunk = lane_chunk(lane) + i;
      let grid = value_grid(codebook, chunk);
      sums[i] = grid.low * row_sums[lane / CHUNK_LANES] + grid.step * sums[i];
      factors[i] = value_transform(codebook, chunk)[0];
    }
  }
  let turned = transform_lanes(sums, lane);
  for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
    // Where a head is not rotated, its factors are 0.
    sums[i] = select(sums[i], UNSPREAD * turned[i] * factors[i], factors[i] != vec4<f32>());
  }
}
`],
  ["schemes/vecinfer/prepare_shared_plain.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> query_rows atRotated}}

{{> query_chunk_plain}}

// Coded keys are divided by factors and rotated, where their head is; the queries they meet get the inverse, once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> load_queries}}
  workgroupBarrier();
{{> smooth_queries}}
}
`],
  ["schemes/vecinfer/prepare_shared_rope.hbs", `{{> (lookup . "codedKeysPartial")}}

{{> pairs}}

{{> query_rows atRotated}}

{{> query_chunk}}

// Coded keys have their rotary embedding; then they are divided by factors and rotated, where their head is. The queries
// they meet get the inverse, once.
fn prepare_block(entry: Entry, block: Block, lane: u32) {
{{> rotate_queries atStart}}
{{> smooth_queries}}
}
`],
  ["schemes/vecinfer/shared_grid.hbs", `// Factors, then means, of channels 4 chunk to 4 chunk + 3.
fn {{side}}_transform(codebook: u32, chunk: u32) -> mat2x4<f32> {
  let first = codebook_pair(codebook, 2u * chunk);
  let second = codebook_pair(codebook, 2u * chunk + 1u);
  let channel_0 = unpack2x16float(first.x);
  let channel_1 = unpack2x16float(first.y);
  let channel_2 = unpack2x16float(second.x);
  let channel_3 = unpack2x16float(second.y);
  return mat2x4<f32>(
    vec4<f32>(channel_0.x, channel_1.x, channel_2.x, channel_3.x),
    vec4<f32>(channel_0.y, channel_1.y, channel_2.y, channel_3.y),
  );
}

// The grids of channels 4 chunk to 4 chunk + 3, which all groups share, from the channels' means on.
fn {{side}}_grid(codebook: u32, chunk: u32) -> Grid {
  let at = codebook + HEAD_DIM + chunk % ({{upper}}_CHANNELS / 4u) * 4u;
  let first = codebook_pair(at, 0u);
  let second = codebook_pair(at, 1u);
  let grid_0 = unpack2x16float(first.x);
  let grid_1 = unpack2x16float(first.y);
  let grid_2 = unpack2x16float(second.x);
  let grid_3 = unpack2x16float(second.y);
  return Grid(
    vec4<f32>(grid_0.x, grid_1.x, grid_2.x, grid_3.x) + {{side}}_transform(codebook, chunk)[1],
    vec4<f32>(grid_0.y, grid_1.y, grid_2.y, grid_3.y) / 64.0,
  );
}
`],
  ["schemes/vecinfer/signs_factors.hbs", `  let signs = smoothing(chunk);
`],
  ["schemes/vecinfer/smooth_queries.hbs", `  let codebook = (layer.first_head + block.head) * KEY_CODEBOOK_WORDS;
  var chunks = mat4x4<f32>();
  var factors = mat4x4<f32>();
  var smoothed = mat4x4<f32>();
  var level_steps = mat4x4<f32>();
  var lows = mat4x4<f32>();
  if (lane < ROW_LANES) {
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      let chunk = lane % CHUNK_LANES * LANE_CHUNKS + i;
      let grid = key_grid(codebook, chunk);
      level_steps[i] = grid.step;
      lows[i] = grid.low;
      chunks[i] = query_chunk(lane / CHUNK_LANES, chunk);
      factors[i] = key_transform(codebook, chunk)[0];
      smoothed[i] = UNSPREAD * chunks[i] * factors[i];
    }
  }
  let turned = transform_lanes(smoothed, lane);
  workgroupBarrier();
  if (lane < ROW_LANES) {
    var base = 0.0;
    for (var i = 0u; i < LANE_CHUNKS; i += 1u) {
      // Where a head is not rotated, its factors are 0.
      let query = select(chunks[i], turned[i], factors[i] != vec4<f32>());
      rotated_tile[lane * LANE_CHUNKS + i] = query * level_steps[i];
      base += dot(query, lows[i]);
    }
    base_parts[lane] = base;
  }
  workgroupBarrier();
  for (var part = 0u; part < CHUNK_LANES; part += 1u) {
    coded_base += vec4<f32>(
      base_parts[part],
      base_parts[CHUNK_LANES + part],
      base_parts[2u * CHUNK_LANES + part],
      base_parts[3u * CHUNK_LANES + part],
    );
  }
`],
  ["schemes/vecinfer/start_base.hbs", `  let base = select(vec4<f32>(), coded_base, tile.coded);
  for (var i = 0u; i < SPAN; i += 1u) {
    scores[i] = base;
  }
`],
  ["schemes/vecinfer/unrotated_factors.hbs", `  // Where a head is not rotated, its factors are 0.
  let factors = coded_transform(codebook, chunk)[0];
  let plain = select(rotated[lane], UNSPREAD * hadamard4(sum) * factors, factors != vec4<f32>());
`],
  ["sequences/copy.wgsl.hbs", `const WORKGROUP: u32 = {{workgroupSize}}u;

override UNIT: u32 = 1u; // words of one unit: a page of one side, or a sequence's exact tier

{{> uniforms}}

{{> bindings}}

// Copies whole units within a buffer: entry by entry from unit slot to unit start.
// Grid: (any number of workgroups, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(global_invocation_id) item: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let entry = step.entries[item.y];
  for (var word = item.x; word < UNIT; word += groups.x * WORKGROUP) {
    records[entry.start * UNIT + word] = records[entry.slot * UNIT + word];
  }
}
`],
  ["sequences/page_table.wgsl.hbs", `const WORKGROUP: u32 = {{workgroupSize}}u;

{{> uniforms}}

{{> bindings}}

// Writes runs of consecutive pages into page tables: entry by entry count pages, the first one page start, from word slot on.
// Grid: (pages of the longest run / workgroup size, entries).
@compute @workgroup_size(WORKGROUP)
fn main(@builtin(global_invocation_id) item: vec3<u32>) {
  let entry = step.entries[item.y];
  if (item.x < entry.count) {
    pages_written[entry.slot + item.x] = entry.start + item.x;
  }
}
`],
  ["sequences/restore.wgsl.hbs", `const WORKGROUP: u32 = {{workgroupSize}}u;

override UNIT: u32 = 1u; // words of one unit: a page of one side, or a sequence's exact tier

{{> uniforms}}

{{> bindings}}

// Copies runs of whole units out of a restored sequence's own buffer: entry by entry count units, from unit slot to unit start.
// Grid: (any number of workgroups, entries).
@compute @workgroup_size(WORKGROUP)
fn main(
  @builtin(global_invocation_id) item: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let entry = step.entries[item.y];
  for (var word = item.x; word < entry.count * UNIT; word += groups.x * WORKGROUP) {
    records[entry.start * UNIT + word] = restored[entry.slot * UNIT + word];
  }
}
`],
]);
