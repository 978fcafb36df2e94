/**
 * The simulator as a test: seeds without violation, and every rule of the protocol found missing when it is dropped.
 * Rules that chance finds too seldom are found by races placed by hand (see directed.ts).
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

/** Rule -> the race that finds it missing. */
const DIRECTED: Readonly<Record<string, readonly string[]>> = {
  revcommit: ["commit-in-commit", "steal-in-commit"],
  fence: ["reclaim-in-commit"],
  reapstrong: ["lease-in-reap"],
  rgen: ["retry-in-pass"],
  rgencomplete: ["retry-in-completion"],
  strongfail: ["retry-in-pass"],
  wstate: ["drain-in-pass"],
  inventory: ["commit-in-beat"],
};
/** Where chance finds a rule first, for those that need more than the first seeds. */
const FROM: Readonly<Record<string, number>> = { unknown: 15 };
const RACES = new Set(Object.values(DIRECTED).flat());
const PAIRS = Object.entries(DIRECTED).flatMap(([rule, races]) => races.map((race) => [rule, race] as const));

describe("the simulation", () => {
  test("finds no violation in 200 seeds", { timeout: LIMIT_MS }, async () => {
    const { code, out } = await simulate("--seeds", "200", "--quiet");
    expect(out).toContain("200 seeds, 0 violations");
    expect(code).toBe(0);
  });

  test.each(Object.keys(MUTATIONS).filter((rule) => DIRECTED[rule] === undefined))(
    "finds that the rule %s is missing",
    { timeout: LIMIT_MS },
    async (rule) => {
      const { code, out } = await simulate("--seeds", "150", "--from", String(FROM[rule] ?? 0), "--until", "--quiet", "--drop", rule);
      expect(out).toMatch(/1 violations/);
      expect(code).toBe(1);
    },
  );

  test.each([...RACES])("the race %s does no harm at any point", { timeout: LIMIT_MS }, async (race) => {
    const { code, out } = await simulate("--directed", race);
    expect(out).toContain("0 violations");
    expect(code).toBe(0);
  });

  test.each(PAIRS)("that the rule %s is missing is found by the race %s", { timeout: LIMIT_MS }, async (rule, race) => {
    const { code, out } = await simulate("--directed", race, "--drop", rule);
    expect(out).toContain("1 violations");
    expect(code).toBe(1);
  });
});
