/** Help, examples and completion, of every command there is. */
import { execFileSync } from "node:child_process";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { completionScript } from "../../cli/completion.ts";
import { EXAMPLES } from "../../cli/examples.ts";
import { createOutput } from "../../cli/output.ts";
import { addCommands } from "../../cli/program.ts";

const io = { stdin: process.stdin, stdout: process.stdout, stderr: process.stderr, env: {} };
function makeProgram(): Command {
  const program = new Command("airavata");
  addCommands(program, { io, signal: new AbortController().signal, done: () => undefined });
  return program;
}

/** Commands that do something, by path. `admin` is a program of its own. */
function leavesOf(command: Command, path: readonly string[] = []): Map<string, Command> {
  if (command.commands.length === 0) return new Map([[path.join(" "), command]]);
  return new Map(command.commands.flatMap((child) => [...leavesOf(child, [...path, child.name()])]));
}
const leaves = leavesOf(makeProgram());
leaves.delete("admin");

describe("every command", () => {
  it.each([...leaves.keys()])("%s has an example, and takes it", (path) => {
    const examples = EXAMPLES[path] ?? [];
    expect(examples.length).toBeGreaterThan(0);
    for (const line of examples) {
      const command = leavesOf(makeProgram()).get(path) as Command;
      const [words = ""] = line.split(/ [|>] /);
      const start = `airavata ${path}`;
      expect(words.startsWith(start)).toBe(true);
      const { operands, unknown } = command.parseOptions(
        words
          .slice(start.length)
          .split(" ")
          .filter((word) => word !== ""),
      );
      expect(unknown).toEqual([]);
      const { registeredArguments: known } = command;
      expect(operands.length).toBeGreaterThanOrEqual(known.filter((argument) => argument.required).length);
      if (!known.some((argument) => argument.variadic)) expect(operands.length).toBeLessThanOrEqual(known.length);
      expect(command.description()).not.toBe("");
    }
  });

  it("is what the examples are for", () => {
    expect(Object.keys(EXAMPLES).filter((path) => !leaves.has(path))).toEqual([]);
  });
});

describe("completion in bash", () => {
  const script = completionScript("bash", makeProgram());
  const complete = (...words: readonly string[]): string[] =>
    execFileSync(
      "bash",
      ["-c", `${script}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _airavata; printf '%s\\n' "\${COMPREPLY[@]}"`, "bash", ...words],
      {
        encoding: "utf8",
      },
    )
      .split("\n")
      .filter((line) => line !== "");

  it("offers commands, then theirs, then options", () => {
    expect(complete("airavata", "exp")).toEqual(["experiment"]);
    expect(complete("airavata", "experiment", "re")).toEqual(expect.arrayContaining(["resume", "retry", "resubmit"]));
    expect(complete("airavata", "experiment", "run", "--set")).toEqual(expect.arrayContaining(["--set", "--set-compute"]));
    expect(complete("airavata", "--json", "experiment", "pl")).toEqual(["plan"]);
  });

  it("offers the values of an option that takes one of a few", () => {
    expect(complete("airavata", "experiment", "tasks", "exp_1", "--state", "FA")).toEqual(["FAILED"]);
  });

  it("runs nothing that stands on the line", () => {
    expect(complete("airavata", "$(touch /tmp/never)", "`false`", "exp")).toEqual(["experiment"]);
  });
});

describe("--quiet", () => {
  function printed(value: unknown, options: { readonly quiet?: boolean; readonly json?: boolean }): string {
    let text = "";
    const stream = (write: (chunk: string) => void) => ({ write, isTTY: false }) as unknown as NodeJS.WriteStream;
    const output = createOutput(
      { stdout: stream((chunk) => (text += chunk)), stderr: stream((chunk) => (text += chunk)), env: {} },
      options,
    );
    output.note("a remark");
    output.result(value, () => ["for people"]);
    return text;
  }

  it("prints ids or names alone", () => {
    expect(
      printed(
        {
          items: [
            { id: "exp_1", name: "a" },
            { id: "exp_2", name: "b" },
          ],
        },
        { quiet: true },
      ),
    ).toBe("exp_1\nexp_2\n");
    expect(printed({ task: "count/3", state: "QUEUED" }, { quiet: true })).toBe("count/3\n");
    expect(printed({ ok: true }, { quiet: true })).toBe("");
    expect(printed({ id: "exp_1" }, {})).toBe("a remark\nfor people\n");
    expect(printed({ id: "exp_1" }, { quiet: true, json: true })).toBe('{"id":"exp_1"}\n');
  });
});
