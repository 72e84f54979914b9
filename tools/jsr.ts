/**
 * `deno task jsr`: writes what JSR gets into `dist/jsr/`, from where `deno publish` takes it, and holds its size against the
 * budget. The exit code is 1 where it is exceeded.
 *
 * @module
 */
import { BUDGETS, judgePublished } from "./budgets.ts";
import { writeJsrPackage } from "./jsr_package.ts";

const FOLDER = "dist/jsr";

const { line, passes } = judgePublished(FOLDER, await writeJsrPackage(FOLDER), BUDGETS.published);
console.log(line);
Deno.exit(passes ? 0 : 1);
