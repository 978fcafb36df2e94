/** Explanations: why tasks wait. */
import type { CauseAnswer, ExplanationAnswer } from "#api/schema/explanation.ts";
import { type Explanation, tell } from "#core/task-scheduler/index.ts";
import type { Cause } from "#domain/cause.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";

function causeOf(cause: Cause): CauseAnswer {
  const { kind, ...facts } = cause.why;
  const { message, help } = tell(cause);
  const set = cause.set === undefined ? {} : { set: cause.set };
  return { kind, ...set, message, help, tasks: cause.tasks, exact: cause.exact, facts };
}

const answerOf = ({ experiment, waiting, running, causes, upstream }: Explanation, task?: string): ExplanationAnswer => ({
  id: experiment.id,
  status: experiment.status,
  ...(task === undefined ? {} : { task }),
  waiting,
  running,
  causes: causes.map(causeOf),
  upstream: upstream.map(causeOf),
});

export function createExplainHandlers({ scheduler }: Pick<HttpDeps, "scheduler">): Handlers<"explainExperiment" | "explainTask"> {
  return {
    explainExperiment: async ({ params: { id } }) => answerOf(await scheduler.explain(id)),
    explainTask: async ({ params: { id, set, number } }) => answerOf(await scheduler.explain(id, { set, number }), `${set}/${number}`),
  };
}
