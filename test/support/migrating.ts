/** Opens a data folder's migration as a process that is killed in the middle of a step, when it is told so. */
import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Migration, migrate } from "../../local/migration.ts";

/** Doubles each number of `numbers`, one write for each: done twice it would be wrong. */
export const doubling = (die: (written: number) => void): Migration => ({
  from: 1,
  what: "numbers are doubled",
  rewrites: ["numbers", "more/new"],
  run(folder) {
    const path = join(folder, "numbers");
    const lines = readFileSync(path, "utf8").trim().split("\n");
    for (const [i, line] of lines.entries()) {
      lines[i] = String(Number(line) * 2);
      writeFileSync(path, `${lines.join("\n")}\n`);
      die(i + 1);
    }
    appendFileSync(join(folder, "log"), "ended\n");
  },
});

const [folder = "", dieAfter = ""] = process.argv.slice(2);
if (import.meta.main) {
  const die = (written: number) => written === Number(dieAfter) && process.kill(process.pid, "SIGKILL");
  migrate({ folder, version: 1, steps: [doubling(die)], print: () => {} });
}
