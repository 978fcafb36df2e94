/** The completion scripts in the shells that they are for. Each is found on the PATH. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const MAIN = resolve(import.meta.dirname, "../../cli/main.ts");
const isThere = (shell: string): boolean => spawnSync(shell, ["--version"]).status === 0;

describe.each(["zsh", "fish"] as const)("completion in %s", (shell) => {
  const missing = !isThere(shell);
  if (missing && process.env.REQUIRE_REAL === "1") throw new Error(`${shell} is not installed`);
  let folder: string;
  let script: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "completion-"));
    script = join(folder, "_airavata");
    writeFileSync(script, execFileSync(process.execPath, [MAIN, "completion", shell]));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const run = (text: string): string => {
    writeFileSync(join(folder, "try"), text);
    return execFileSync(shell, [shell === "zsh" ? "-f" : "-N", join(folder, "try")], {
      encoding: "utf8",
      env: { ...process.env, HOME: folder },
    });
  };

  it.skipIf(missing)("is a script that the shell can read", () => {
    expect(spawnSync(shell, ["-n", script]).status).toBe(0);
  });

  it.skipIf(missing)("knows where on the line the cursor is", () => {
    if (shell === "fish") {
      const offered = run(
        `source ${script}\ncomplete -C"airavata experiment re"\necho ====\ncomplete -C"airavata experiment tasks x --state FA"\n`,
      );
      const [commands = "", states = ""] = offered.split("====\n");
      for (const name of ["resume", "retry", "resubmit"]) expect(commands).toContain(`${name}\t`);
      expect(states).toContain("FAILED");
    } else {
      const found = run(
        `autoload -Uz compinit; compinit -u -d ${folder}/dump\nsource ${script}\nprint -r -- "$(_airavata_path --json experiment tasks x)"\n`,
      );
      expect(found).toBe("experiment tasks\n");
    }
  });
});
