/** The scheduler function: a batch of hints becomes one pass. Hints that can't be read fail alone; a failed pass fails the rest. */
import type { Hint, TaskScheduler } from "#core/task-scheduler/index.ts";
import { parseId } from "#domain/id.ts";
import type { SQSEvent, SQSRecord } from "aws-lambda";
import { type BatchHandler, createBatchHandler, parseRecord } from "./batch.ts";

const isCount = (x: unknown): x is number => Number.isInteger(x) && (x as number) >= 0;

function readHint(record: SQSRecord): Hint {
  const body = parseRecord(record) as { experiment?: unknown; set?: unknown; segment?: unknown };
  const experiment = typeof body.experiment === "string" ? parseId("experiment", body.experiment) : undefined;
  return {
    ...(experiment === undefined ? {} : { experiment }),
    ...(isCount(body.set) ? { set: body.set } : {}),
    ...(isCount(body.segment) ? { segment: body.segment } : {}),
  };
}

export function createScheduleHandler(
  scheduler: Pick<TaskScheduler, "schedule">,
  logger: Parameters<typeof createBatchHandler>[1],
): BatchHandler {
  return (event: SQSEvent) => {
    const hints: Hint[] = [];
    let pass: Promise<unknown> | undefined;
    // Each record adds its hint in this turn of the event loop; the one pass starts after the last.
    return createBatchHandler(async (record) => {
      hints.push(readHint(record));
      pass ??= Promise.resolve().then(() => scheduler.schedule(hints));
      await pass;
    }, logger)(event);
  };
}
