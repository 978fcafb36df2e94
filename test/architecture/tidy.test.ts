/** Every source file is tidy, and every check of that has been seen to fail on a planted text. */
import { globSync, readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { complaintsAbout, FILE_LINES_MAX, FUNCTION_LINES_MAX } from "./tidy.ts";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const FOLDERS = ["bench", "bin", "cli", "console", "examples", "functions", "local", "shared", "stacks", "test", "worker"];
const sources = globSync([`{${FOLDERS.join(",")}}/**/*.{ts,tsx,mjs}`, "*.ts"], { cwd: root }).filter(
  (path) => !path.startsWith("worker/protocol/gen/") && !path.includes("node_modules"),
);

const lines = (n: number, line: string): string => Array.from({ length: n }, () => `${line}\n`).join("");
const functionOf = (n: number): string => `export function f() {\n${lines(n - 2, "  g();")}}\n`;

describe("every source file", () => {
  test("there are some", () => expect(sources.length).toBeGreaterThan(30));
  // Without a build step Node's own stripping of types is the compiler: it refuses a little that tsc takes.
  test.each(sources.filter((path) => path.endsWith(".ts")))("%s can be run by Node", (path) => {
    expect(() => stripTypeScriptTypes(readFileSync(`${root}/${path}`, "utf8"))).not.toThrow();
  });
  test.each(sources)("%s is tidy", (path) => expect(complaintsAbout(path, readFileSync(`${root}/${path}`, "utf8"))).toEqual([]));
});

describe("planted faults are found", () => {
  const TODO = "TO" + "DO";
  const faults: [string, string, string, string][] = [
    ["a long function", "cli/a.ts", functionOf(FUNCTION_LINES_MAX + 1), "function of 71 lines"],
    ["a long arrow function", "test/a.ts", `const f = () => {\n${lines(FUNCTION_LINES_MAX, "g();")}};\n`, "function of 72 lines"],
    ["a long method", "cli/a.ts", `class A {\n  m() {\n${lines(FUNCTION_LINES_MAX, "g();")}}\n}\n`, "line 2: function of 72 lines"],
    ["a long file", "cli/a.ts", lines(FILE_LINES_MAX + 1, "g();"), "file of 601 lines"],
    ["a note instead of work", "cli/a.ts", `g();\n// ${TODO}: the rest\n`, "line 2: do it right now"],
    ["a climbing import", "cli/a.ts", 'import { a } from "../a.ts";\n', "../ is for tests only"],
    ["a climbing import of a type", "cli/a.ts", 'type A = import("../a.ts").A;\n', "../ is for tests only"],
    ["a climbing import at run time", "cli/a.ts", 'const a = await import("../a.ts");\n', "../ is for tests only"],
    ["a climbing export", "cli/a.ts", 'export * from "../a.ts";\n', "../ is for tests only"],
    ["any", "test/a.ts", "let x: Map<string, any>;\n", "line 1: any"],
    ["a check switched off", "test/a.ts", "// @ts-ignore\ng();\n", "switches checks off"],
    ["a vague file name", "cli/string-utils.ts", "g();\n", '"string-utils" does not say'],
    ["a vague folder name", "cli/common/a.ts", "g();\n", '"common" does not say'],
  ];
  test.each(faults)("%s", (_, path, text, complaint) => {
    const found = complaintsAbout(path, text);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(complaint);
  });
});

describe("what is right passes", () => {
  const inner = `  const h = () => {\n${lines(FUNCTION_LINES_MAX - 2, "    g();")}  };\n`;
  const right: [string, string, string][] = [
    ["a function of the largest length", "cli/a.ts", functionOf(FUNCTION_LINES_MAX)],
    ["a factory of long functions", "cli/a.ts", `function create() {\n${inner}${inner.replace("h", "i")}  return { h, i };\n}\n`],
    ["a file of the largest length", "cli/a.ts", lines(FILE_LINES_MAX, "g();")],
    ["a climbing import in a test", "test/unit/a.test.ts", 'import { a } from "../support/a.ts";\n'],
    ["the word any in prose and text", "cli/a.ts", 'g("any"); // any other: see TODOs.ts\n'],
  ];
  test.each(right)("%s", (_, path, text) => expect(complaintsAbout(path, text)).toEqual([]));
});

describe("no project of tests is empty", () => {
  test.each(["unit", "contract", "architecture"])("test/%s", (project) => {
    expect(globSync(`test/${project}/**/*.test.ts`, { cwd: root })).not.toEqual([]);
  });
});

test("every runtime dependency has its reason in docs/decisions", () => {
  const { dependencies, optionalDependencies } = JSON.parse(readFileSync(`${root}/package.json`, "utf8")) as Record<string, object>;
  const decision = readFileSync(`${root}/docs/decisions/0001-dependencies.md`, "utf8");
  const unexplained = Object.keys({ ...dependencies, ...optionalDependencies }).filter((name) => !decision.includes(`| \`${name}\``));
  expect(unexplained).toEqual([]);
});
