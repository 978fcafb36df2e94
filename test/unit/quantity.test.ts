/** Walltimes and suggestions. */
import { describe, expect, test } from "vitest";
import { parseWalltimeMs } from "#domain/quantity.ts";
import { editDistance, nearestName, suggestName } from "#domain/suggestion.ts";

describe("a walltime", () => {
  test.each([
    ["0:05:00", 300_000],
    ["100:00:01", 360_001_000],
    ["1-00", 86_400_000],
    ["1-02:03", 93_780_000],
    ["1-02:03:04", 93_784_000],
    ["90s", 90_000],
    ["15m", 900_000],
    ["2 h", 7_200_000],
    ["1d", 86_400_000],
    ["30", 1_800_000],
  ])("%s is read", (text, ms) => expect(parseWalltimeMs(text)).toBe(ms));

  test.each(["", "5:00", "0:60:00", "0:00:60", "1-24", "-5", "1.5", "1h30m", "0:5:00", "soon", "99999999999"])("%j is none", (text) =>
    expect(parseWalltimeMs(text)).toBeUndefined(),
  );
});

describe("a suggestion", () => {
  test("counts inserted, deleted, replaced and swapped letters", () => {
    expect(editDistance("", "abc")).toBe(3);
    expect(editDistance("kitten", "sitting")).toBe(3);
    expect(editDistance("naem", "name")).toBe(1);
  });

  test("is the nearest name, or none when none is near", () => {
    expect(nearestName("TASK_INPUT", ["task_inputs", "task_outputs"])).toBe("task_inputs");
    expect(nearestName("x", ["name"])).toBeUndefined();
    expect(nearestName("n".repeat(10_000), ["n"])).toBeUndefined();
    expect(suggestName("x", [])).toBe("there is none");
    expect(suggestName("x", ["abc", "def"])).toBe("there is abc, def");
  });
});
