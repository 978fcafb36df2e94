/** What every message queue takes, whatever keeps the messages. */
import { SchedulerError } from "./error.ts";

const BODY_BYTES_MAX = 256 * 1024;
const DELAY_MS_MAX = 900_000;
const RECEIVE_LIMIT_MAX = 10;
/** How often a message is given out before it is dead, unless told. */
export const RECEIVES_MAX_DEFAULT = 5;
/** Ends the name of the queue that holds another one's dead messages. */
export const DEAD_SUFFIX = "-dead";

/** Dead-letter queues carry their suffix beyond the 60 characters of a name. */
export function checkQueueName(queue: string): void {
  if (!/^[a-z0-9-]{1,60}(?:-dead)?$/.test(queue))
    throw new SchedulerError("invalid-input", `queue name ${JSON.stringify(queue)} is not 1 to 60 of a-z, 0-9 and -`);
}

export function checkSend(queue: string, body: string, delayMs: number): void {
  checkQueueName(queue);
  checkRange("delayMs", delayMs, 0, DELAY_MS_MAX);
  // A UTF-16 unit takes at most three bytes: most bodies need no counting.
  if (body.length * 3 > BODY_BYTES_MAX && new TextEncoder().encode(body).length > BODY_BYTES_MAX)
    throw new SchedulerError("too-large", `a message takes at most ${BODY_BYTES_MAX} bytes: store the rest as an object`);
}

export function checkReceive(
  queue: string,
  options: { readonly limit: number; readonly waitMs: number; readonly visibilityMs: number },
): void {
  checkQueueName(queue);
  checkRange("limit", options.limit, 1, RECEIVE_LIMIT_MAX);
  checkRange("waitMs", options.waitMs, 0, Number.MAX_SAFE_INTEGER);
  checkRange("visibilityMs", options.visibilityMs, 0, Number.MAX_SAFE_INTEGER);
}

function checkRange(name: string, value: number, min: number, max: number): void {
  if (!Number.isInteger(value) || value < min || value > max)
    throw new SchedulerError("invalid-input", `${name} must be a whole number from ${min} to ${max}, not ${value}`);
}
