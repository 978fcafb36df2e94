/** What failed in an experiment, in a few lines. */
import type { AnswerOf } from "#api/routes.ts";
import { clean, showCount } from "./output.ts";

type Summary = AnswerOf<"getFailures">;
type Group = Summary["groups"][number];

function describeGroup({ set, cause, tasks, looked, exitCodes, examples }: Group): string[] {
  const codes = exitCodes.map((c) => `exit code ${c.exitCode}: ${showCount(c.tasks)}`).join(", ");
  const among = looked < tasks ? ` (of ${showCount(looked)} looked at)` : "";
  const lines = examples.map((e) => {
    const why = e.lastLine ?? e.message ?? e.signal ?? (e.exitCode === undefined ? "" : `exit code ${e.exitCode}`);
    return clean(`    ${e.task}  ${why}`).trimEnd();
  });
  return [clean(`  ${set}: ${showCount(tasks)} by ${cause}${codes === "" ? "" : `; ${codes}${among}`}`), ...lines];
}

export const describeFailures = ({ failed, counted, groups }: Summary): string[] =>
  failed === 0
    ? []
    : [
        `failures: ${showCount(failed)} tasks${counted < failed ? `, ${showCount(counted)} of them looked at` : ""}`,
        ...groups.flatMap(describeGroup),
      ];
