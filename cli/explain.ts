/** Why an experiment or one of its tasks waits. */
import { SchedulerError } from "#domain/error.ts";
import type { Client } from "#api/client.ts";
import type { AnswerOf } from "#api/routes.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId, readTaskName } from "./experiment-id.ts";
import { clean, type Output, showCount } from "./output.ts";
import { connect, type Session } from "./session.ts";

export type Explanation = AnswerOf<"explainExperiment">;
type Cause = Explanation["causes"][number];

const concerned = ({ tasks, exact, set }: Cause): string =>
  `${exact ? "" : "about "}${showCount(tasks)} ${tasks === 1 ? "task" : "tasks"}${set === undefined ? "" : ` of ${set}`}`;

const helpOf = (help: string, id: string): string => help.replaceAll("<id>", id);

function causeLines(cause: Cause, id: string, output: Pick<Output, "style">): string[] {
  return [
    `${output.style("bold", cause.kind)}  ${clean(concerned(cause))}`,
    `  ${clean(cause.message)}`,
    `  ${output.style("dim", clean(helpOf(cause.help, id)))}`,
  ];
}

/** The top cause in one line. */
export function topCause({ causes, id }: Explanation): string | undefined {
  const [top] = causes;
  return top === undefined ? undefined : clean(`waits: ${top.message} ${helpOf(top.help, id)}`);
}

function nothing({ status, running, task }: Explanation): string {
  if (status === "RUNNING" || status === "PAUSED")
    return running > 0 ? "Nothing waits: what is left runs." : task === undefined ? "Nothing waits." : "It does not wait.";
  return `Nothing waits: the experiment is ${status}.`;
}

export async function explain(session: Session, _: object, args: readonly string[]): Promise<number> {
  const id = readExperimentId(args[0]);
  const client = await connect(session);
  const task = args[1] === undefined ? undefined : readTaskName(args[1]);
  const found =
    task === undefined
      ? await client.call("explainExperiment", { params: { id }, signal: session.signal })
      : await client.call("explainTask", { params: { id, ...task }, signal: session.signal });
  const { output } = session;
  output.result(found, () => [
    `${found.task ?? id}  ${found.status}  ${showCount(found.waiting)} waiting, ${showCount(found.running)} running`,
    ...(found.causes.length === 0 ? [nothing(found)] : found.causes.flatMap((c) => causeLines(c, id, output))),
    ...(found.upstream.length === 0 ? [] : ["what those before wait for:", ...found.upstream.flatMap((c) => causeLines(c, id, output))]),
  ]);
  return EXIT.done;
}

/** For those who only want a remark: nothing when the server can't say. */
export async function remarkOn(client: Pick<Client, "call">, id: Explanation["id"], signal: AbortSignal): Promise<string | undefined> {
  try {
    return topCause(await client.call("explainExperiment", { params: { id }, signal }));
  } catch (error) {
    if (error instanceof SchedulerError) return undefined;
    throw error;
  }
}
