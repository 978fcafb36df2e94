/**
 * The simulator as a test: seeds without violation, and every rule of the protocol found missing when it is dropped.
 * Rules that chance finds too seldom have a seed of their own here, or a test of their own elsewhere (see THIN).
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { MUTATIONS } from "../simulation/mutations.ts";

const MAIN = fileURLToPath(new URL("../simulation/main.ts", import.meta.url));
const LIMIT_MS = 240_000;

function simulate(...args: string[]): Promise<{ code: number; out: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], { maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? 1), out: stdout + stderr });
    });
  });
}

/** Rules that the seeds below do not find. */
const THIN = new Set(["revcommit", "reapstrong", "rgen", "strongfail"]);
/** Where chance finds a rule first, for those that need more than the first 20 seeds. */
const FROM: Readonly<Record<string, number>> = { inventory: 30, revsettle: 0, wstate: 0 };

describe("the simulation", () => {
  test("finds no violation in 200 seeds", { timeout: LIMIT_MS }, async () => {
    const { code, out } = await simulate("--seeds", "200", "--quiet");
    expect(out).toContain("200 seeds, 0 violations");
    expect(code).toBe(0);
  });

  test.each(Object.keys(MUTATIONS).filter((rule) => !THIN.has(rule)))(
    "finds that the rule %s is missing",
    { timeout: LIMIT_MS },
    async (rule) => {
      const { code, out } = await simulate("--seeds", "150", "--from", String(FROM[rule] ?? 0), "--until", "--quiet", "--drop", rule);
      expect(out).toMatch(/1 violations/);
      expect(code).toBe(1);
    },
  );
});
