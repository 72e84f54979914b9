// A path from deno.json into the library's own project would put all of that's packages into this one's lock.
export * from "../../../mod.ts";
