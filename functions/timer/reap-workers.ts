/** The deployed timer that marks silent workers as dead and takes back what they held: EventBridge events, once a minute. Safe to run twice at once. */
import { openTimer } from "#compose/timer.ts";
import type { EventBridgeEvent } from "aws-lambda";

const { lifecycle, meter } = openTimer(process.env);
const memoryMib = Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE ?? "256");

export async function handler(_: EventBridgeEvent<"Scheduled Event", unknown>): Promise<void> {
  await meter.invocation({ memoryMib }, () => lifecycle.reap());
  await meter.save();
}
