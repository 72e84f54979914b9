/**
 * Loaded before tests that a mutation should fail: which example fails it matters little, and finding the smallest takes long.
 *
 * @module
 */
import fc from "fast-check";

fc.configureGlobal({ endOnFailure: true });
