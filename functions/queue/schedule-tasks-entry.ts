/** The deployed scheduler function: SQS events, answered with partial batch responses. */
import { openSchedule } from "#compose/schedule.ts";
import type { SQSBatchResponse, SQSEvent } from "aws-lambda";
import { createScheduleHandler } from "./schedule-tasks.ts";

const { scheduler, logger, meter } = openSchedule(process.env);
const schedule = createScheduleHandler(scheduler, logger);
const memoryMib = Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE ?? "512");

export async function handler(event: SQSEvent): Promise<SQSBatchResponse> {
  const answer = await meter.invocation({ memoryMib }, () => schedule(event));
  await meter.save();
  return answer;
}
