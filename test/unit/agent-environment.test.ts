/** Variables of attempts: data at every step, never text of a shell. */
import { execFileSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { buildEnvironment, expandTemplate, quoteWord } from "../../worker/agent/environment.ts";
import { parseKey, parseOwnCgroup } from "../../worker/agent/cgroup.ts";
import { createLogBuffer } from "../../worker/agent/log-buffer.ts";
import { commandOf, folderOf, normalizePlace } from "../../worker/agent/sandbox.ts";

const withoutZero = fc.string({ unit: "binary", maxLength: 40 }).filter((text) => !text.includes("\0"));
const shellish = fc.string({
  unit: fc.constantFrom("'", '"', "$", "`", "\\", "\n", " ", "(", ";", "*", "~", "a", "-", "=", "#", "!", "é"),
  maxLength: 30,
});
const parts = { worker: {}, own: {}, templates: [], parameters: [], files: [] };

describe("quoting", () => {
  test("a real shell reads every quoted list back as it was", () => {
    fc.assert(
      fc.property(fc.array(fc.oneof(withoutZero, shellish), { maxLength: 20 }), (words) => {
        const list = words.map(quoteWord).join(" ");
        const script = 'eval "set -- $LIST"; for word in "$@"; do printf "%s\\0" "$word"; done';
        const read = execFileSync("/bin/sh", ["-c", script], { env: { LIST: list, LC_ALL: "C" }, encoding: "utf8" });
        expect(read).toBe(words.map((word) => `${Buffer.from(word).toString()}\0`).join(""));
      }),
      { numRuns: 60 },
    );
  }, 60_000);

  test("plain paths stay as they are", () => expect(quoteWord("/work/a-b_c.1,2:3@4%5+6")).toBe("/work/a-b_c.1,2:3@4%5+6"));
  test("nothing is still a word", () => expect(quoteWord("")).toBe("''"));
});

describe("templates", () => {
  const lookUp = (name: string): string | undefined => ({ A: "1", B: "$A", AB: "3" })[name];
  test.each([
    ["$A-$AB", "1-3"],
    ["${A}B", "1B"],
    ["$B", "$A"],
    ["$NONE.", "."],
    ["$(A) `A` $$ $1 ${A:-x} ~", "$(A) `A` $$ $1 ${A:-x} ~"],
  ])("%s becomes %s", (template, text) => expect(expandTemplate(template, lookUp)).toBe(text));

  test("see the worker's environment and earlier entries, not later ones", () => {
    const templates = [
      { name: "FIRST", value: "$SCRATCH/x" },
      { name: "SECOND", value: "$FIRST/y$THIRD" },
      { name: "THIRD", value: "z" },
    ];
    const variables = buildEnvironment({ ...parts, worker: { SCRATCH: "/s" }, templates });
    expect(variables).toMatchObject({ FIRST: "/s/x", SECOND: "/s/x/y", THIRD: "z" });
    expect(variables["SCRATCH"]).toBeUndefined();
  });

  test("never see the worker's own AIRAVATA_ variables", () => {
    const worker = { AIRAVATA_TOKEN: "secret", PATH: "/bin", AWS_SECRET: "other" };
    const variables = buildEnvironment({ ...parts, worker, templates: [{ name: "X", value: "<$AIRAVATA_TOKEN>" }] });
    expect({ ...variables }).toEqual({ PATH: "/bin", X: "<>" });
  });

  test("a value that looks like a prototype's is only a value", () => {
    const variables = buildEnvironment({
      ...parts,
      parameters: [{ name: "__proto__", value: "x" }],
      templates: [{ name: "T", value: "[$constructor]" }],
    });
    expect(Object.entries(variables)).toEqual([
      ["T", "[]"],
      ["__proto__", "x"],
    ]);
  });

  test.each(["1A", "A B", "A=B", "", "AIRAVATA_TASK"])("a parameter cannot be named %j", (name) => {
    expect(() => buildEnvironment({ ...parts, parameters: [{ name, value: "" }] })).toThrow(/variable/);
  });
});

describe("places", () => {
  test.each([
    ["a", "a"],
    ["./a//b/", "a/b"],
    ["a/./b", "a/b"],
    ["..a/b..", "..a/b.."],
  ])("%s is %s", (path, place) => {
    expect(normalizePlace(path, "output")).toBe(place);
  });
  test.each(["/etc/passwd", "..", "a/../b", "../x", "", ".", "./", "a\0b", ".airavata/script"])("%j is refused", (path) => {
    expect(() => normalizePlace(path, "output X")).toThrow(/output X/);
  });
  test("folders of distinct leases are distinct and stay below the work directory", () => {
    expect(new Set(["a/b", "a%2Fb", "a-b", "..", "", "."].map(folderOf)).size).toBe(6);
    for (const name of ["..", ".", "", "a/../b"]) expect(folderOf(name)).toMatch(/^[^/.][^/]*$/);
  });
});

describe("scripts", () => {
  test.each([
    ["echo", ["/bin/sh", "S"]],
    ["#!/bin/bash\necho", ["/bin/bash", "S"]],
    ["#! /usr/bin/env -S python3 -u \r\nx", ["/usr/bin/env", "-S python3 -u", "S"]],
    ["#!\necho", ["/bin/sh", "S"]],
  ])("%j runs by %j", (script, command) => expect(commandOf(script, "S")).toEqual(command));
});

describe("the tail of an output", () => {
  test("is the last bytes, whatever the chunks", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 50 })), fc.integer({ min: 1, max: 60 }), (chunks, max) => {
        const log = createLogBuffer();
        for (const chunk of chunks) log.push(Buffer.from(chunk));
        expect(log.tail(max)).toBe(chunks.join("").slice(-max));
      }),
    );
  });
  test("does not begin inside a character", () => {
    const log = createLogBuffer();
    log.push(Buffer.from("aé€")); // 1 + 2 + 3 bytes
    expect(log.tail(4)).toBe("€");
  });
});

describe("cgroups", () => {
  const mounts = "30 25 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n31 25 0:27 / /sys rw - sysfs sysfs rw\n";
  test("the own one is found below the mount", () => {
    expect(parseOwnCgroup("0::/user.slice/x.service\n", mounts)).toBe("/sys/fs/cgroup/user.slice/x.service");
    expect(parseOwnCgroup("0::/docker/a/b\n", mounts.replace("0:26 /", "0:26 /docker/a"))).toBe("/sys/fs/cgroup/b");
    expect(parseOwnCgroup("4:memory:/a\n", mounts)).toBeUndefined();
  });
  test("keys are read by their whole name", () => expect(parseKey("oom 1\noom_kill 2\n", "oom_kill")).toBe(2));
});
