/** docs/PROBLEMS.md from the table of problems: `node shared/api/problems-page.ts > docs/PROBLEMS.md`. */
import { ERROR_KINDS } from "#domain/error.ts";
import { PROBLEM_CONTENT_TYPE, PROBLEMS, type ProblemCode } from "./problem.ts";

const REPEATABLE: ReadonlySet<string> = new Set<ProblemCode>(["rate-limited", "idempotency-in-progress"]);

const isWorthRepeating = (code: string): boolean =>
  REPEATABLE.has(code) || (code in ERROR_KINDS && ERROR_KINDS[code as keyof typeof ERROR_KINDS] === "retryable");

export function problemsText(): string {
  const rows = Object.entries(PROBLEMS).map(
    ([code, { status, title }]) => `| \`${code}\` | ${status} | ${title} | ${isWorthRepeating(code) ? "yes" : "no"} |`,
  );
  return `# Problems

Every answer that is not a success is a problem (RFC 9457, \`${PROBLEM_CONTENT_TYPE}\`). \`code\` is stable: programs decide by it,
\`detail\` is for people. \`complaints\` lists what is wrong in the input, with path and, where there is one, line and column.
\`requestId\` finds the request in the logs. "again": the same request may succeed later, unchanged.

| code | status | meaning | again |
|---|---|---|---|
${rows.join("\n")}
`;
}

if (import.meta.main && process.argv[1]?.endsWith("problems-page.ts")) process.stdout.write(problemsText());
