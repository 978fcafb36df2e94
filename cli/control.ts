/** Changing experiments: turning them, editing what they may use, running failures again. */
import { randomUUID } from "node:crypto";
import type { BudgetSpec } from "#domain/budget.ts";
import type { FailureCause } from "#domain/plan.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId, readTaskName } from "./experiment-id.ts";
import { showCount } from "./output.ts";
import { NO_LIMIT, type NoLimit } from "./no-limit.ts";
import { connect, type Session } from "./session.ts";

type Args = readonly string[];

type Turn = "submitExperiment" | "pauseExperiment" | "resumeExperiment" | "resubmitExperiment" | "cancelExperiment";

/** A command that turns one experiment and shows where it is then. */
export const turns =
  (operation: Turn) =>
  async (session: Session, _: object, args: Args): Promise<number> => {
    const id = readExperimentId(args[0]);
    const client = await connect(session);
    const summary = await client.call(operation, { params: { id }, idempotencyKey: randomUUID(), signal: session.signal });
    session.output.result(summary, () => [`${summary.id}  ${summary.status}  (${showCount(summary.tasks)} tasks)`]);
    return EXIT.done;
  };

const limit = <T extends number | BudgetSpec>(given: T | NoLimit): T | null => (given === NO_LIMIT ? null : given);

export interface EditOptions {
  readonly priority?: number;
  readonly weight?: number;
  readonly budget?: BudgetSpec | NoLimit;
  readonly tasksAtOnce?: number | NoLimit;
  readonly keepDays?: number | NoLimit;
  readonly label?: Readonly<Record<string, string>>;
}

export async function edit(session: Session, options: EditOptions, args: Args): Promise<number> {
  const { priority, weight, budget, tasksAtOnce, keepDays, label } = options;
  const body = {
    ...(priority === undefined ? {} : { priority }),
    ...(weight === undefined ? {} : { weight }),
    ...(budget === undefined ? {} : { budget: limit(budget) }),
    ...(tasksAtOnce === undefined ? {} : { tasksAtOnce: limit(tasksAtOnce) }),
    ...(keepDays === undefined ? {} : { retentionDays: limit(keepDays) }),
    ...(label === undefined ? {} : { labels: label }),
  };
  const request = { params: { id: readExperimentId(args[0]) }, body, idempotencyKey: randomUUID(), signal: session.signal };
  const summary = await (await connect(session)).call("editExperiment", request);
  session.output.result(summary, () => [`${summary.id}  ${summary.status}  priority ${summary.priority}, weight ${summary.weight}`]);
  return EXIT.done;
}

export interface RetryOptions {
  readonly set?: readonly string[];
  readonly task?: readonly string[];
  readonly cause?: readonly FailureCause[];
}

export async function retry(session: Session, { set, task, cause }: RetryOptions, args: Args): Promise<number> {
  const body = {
    ...(set === undefined ? {} : { sets: set }),
    ...(task === undefined ? {} : { tasks: task.map(readTaskName) }),
    ...(cause === undefined ? {} : { causes: cause }),
  };
  const request = { params: { id: readExperimentId(args[0]) }, body, idempotencyKey: randomUUID(), signal: session.signal };
  const summary = await (await connect(session)).call("retryExperiment", request);
  session.output.result(summary, () => [`${summary.id}  ${summary.status}  (${showCount(summary.tasks)} tasks)`]);
  return EXIT.done;
}
