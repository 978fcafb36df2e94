import { describe, expect, it } from "vitest";
import { clean, fitLines, showBytes, showDuration, table } from "../../cli/output.ts";
import { describe as describeProgress, nextSteps, progressLine } from "../../cli/progress.ts";
import type { ExperimentViewAnswer } from "../../shared/api/schema/experiment-view.ts";
import { personalProject } from "../../shared/domain/id.ts";
import { ALICE } from "../support/fake-http-deps.ts";

const look = { style: (_: string, text: string) => text, columns: 100 };
const view = (over: Partial<ExperimentViewAnswer> = {}): ExperimentViewAnswer => ({
  id: "exp_00000000000000000000000000" as ExperimentViewAnswer["id"],
  name: "rain",
  owner: ALICE.id,
  project: personalProject(ALICE.id),
  status: "RUNNING",
  priority: 0,
  weight: 1,
  tasks: 1_000_000,
  createdAtMs: 0,
  startedAtMs: 1_000,
  labels: {},
  sets: [
    { set: "count", total: 999_999, done: 500_000, failed: 3, skipped: 0, leased: 256 },
    { set: "merge", total: 1, done: 0, failed: 0, skipped: 0, leased: 0 },
  ],
  ...over,
});

describe("progress", () => {
  it("has a bar for each set, the rate and what is left", () => {
    const [head, count, merge] = describeProgress(view(), look, { nowMs: 61_000, perSecond: 1000 });
    expect(head).toBe("rain  exp_00000000000000000000000000  RUNNING  1 min 0 s  1000.0 tasks/s, 8 min 20 s to go");
    expect(count).toContain(" 50% 500,000/999,999  3 failed, 256 running");
    expect(merge).toMatch(/ {2}merge ·+ {3}0% 0\/1$/);
  });

  it("never shows 100 % before everything is done, and shows a single failure", () => {
    const sets = [{ set: "s", total: 1_000_000, done: 999_998, failed: 1, skipped: 0, leased: 1 }];
    const [, line] = describeProgress(view({ sets }), look);
    expect(line).toContain(" 99% ");
    expect(line).toContain("▒");
  });

  it("is one line where nothing can be redrawn", () => {
    expect(progressLine(view())).toBe("exp_00000000000000000000000000 RUNNING 500000/1000000 done, 3 failed, 256 running");
  });

  it("says what to do next", () => {
    expect(nextSteps(view()).map((line) => line.split(" exp_")[0])).toEqual([
      "failed tasks: airavata experiment tasks",
      "outputs:      airavata experiment download",
    ]);
    expect(nextSteps(view({ sets: [] }))).toEqual([]);
  });
});

describe("text for terminals", () => {
  it("keeps redrawn lines inside the window", () => {
    const lines = ["\u001b[1mlong line\u001b[22m", ...Array.from({ length: 9 }, (_, i) => `set ${i}`)];
    const shown = fitLines(lines, 8, 5);
    expect(shown).toHaveLength(4);
    expect(shown[0]).toBe("long li");
    expect(shown[3]).toBe("  and 7");
  });

  it("takes out control characters but keeps every script", () => {
    expect(clean("a\u001b[31m\u0085b\tc\nd äß 中 🌧")).toBe("a\ufffd[31m\ufffdb\tc\nd äß 中 🌧");
  });

  it("lines tables up, numbers to the right", () => {
    expect(
      table(
        ["NAME", "N"],
        [
          ["a", 5],
          ["bcdef", 10],
        ],
      ),
    ).toEqual(["NAME    N", "a       5", "bcdef  10"]);
  });

  it("writes sizes and durations for people", () => {
    expect([showBytes(0), showBytes(1023), showBytes(1536), showBytes(3 * 1024 ** 3)]).toEqual(["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
    expect([showDuration(900), showDuration(61_000), showDuration(7_260_000)]).toEqual(["1 s", "1 min 1 s", "2 h 1 min"]);
  });
});
