// As couplet.ts.
export * from "../../../src/models/mod.ts";
