/**
 * `deno task npm`: writes the npm package into `dist/npm/`, from where `npm pack` and `npm publish` take it.
 *
 * @module
 */
import { writeNpmPackage } from "./npm_package.ts";

const FOLDER = "dist/npm";

await writeNpmPackage(FOLDER);
console.log(`${FOLDER}/ is ready for npm`);
