/** A program that ends, as its argument says, while it shows a bar: `wait` waits for a signal. */
import process from "node:process";
import { Progress } from "../../cli/progress.ts";

const stage = new Progress(1).stage("work");
stage.update(0.5);
switch (Deno.args[0]) {
  case "wait":
    setInterval(() => stage.update(0.5), 20);
    break;
  case "throw":
    throw new Error("a defect");
  case "exit":
    process.exit(1);
    break;
  default:
    stage.done();
}
