/**
 * The kernels that are counted without a name: of each class of decode attention at 128 channels. Where tokens have several
 * positions (`mrope`), data decides which lanes run, and no count holds.
 */
export const COUNTED: readonly string[] = [
  "attend_{f16_f16,c8b8_c8b8}_d128_!(mrope)",
  "attend_c4b8_c4b8_d128_{plain,rope,anchored,table16,table16_int8,anchored_int16,anchored_int8}",
  "attend_{c2b8_c2b8,kc4_kt4,q4_q4,v8b8_v8b8}_d128_{plain,rope}",
  "attend_n16b8x2_n16b8x2_d128_{plain,rope,anchored,anchored_int16,anchored_int8,table16,table16_int8,table_int16}",
  "attend_{n8b8_n8b8,n8b8x2_n8b8x2,n16b8x4_n16b8x4}_d128_{plain,rope,anchored}",
  "attend_{u8b8_u8b8_d128_rope,sc2_sc2_d128_plain}",
  "attend_sc4_sc4_d128_plain{,_int16,_int8}",
  "score_{f16,c8b8,c4b8}_d128_!(mrope)",
  "mix_{f16,c8b8,c4b8}_d128",
];
