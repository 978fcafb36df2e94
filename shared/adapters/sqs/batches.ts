/** Batches of at most ten entries, of which some may fail: those are tried again, the others are done with. */
import type { BatchResultErrorEntry } from "@aws-sdk/client-sqs";
import { SchedulerError } from "#domain/error.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import { BATCH_BACKOFF_BASE_MS, BATCH_BACKOFF_CAP_MS, BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_TRIES_MAX } from "./limits.ts";

/** Cuts so that no batch has more than ten entries, or more bytes than SQS takes in one request. */
export function cutBatches<T>(entries: readonly T[], bytesOf: (entry: T) => number): T[][] {
  const batches: T[][] = [];
  let bytes = 0;
  for (const entry of entries) {
    const last = batches.at(-1);
    bytes += bytesOf(entry);
    if (last !== undefined && last.length < BATCH_ENTRIES_MAX && bytes <= BATCH_BYTES_MAX) last.push(entry);
    else {
      batches.push([entry]);
      bytes = bytesOf(entry);
    }
  }
  return batches;
}

export interface Failure {
  /** Place of the entry in the batch. */
  readonly index: number;
  readonly error: Error;
}

/**
 * Sends entries until each was taken or refused for good; gives those that were not taken. `request` sends the entries
 * of these places, each with its place as `Id`, and gives the failed ones.
 */
export async function sendBatch(
  count: number,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  request: (places: readonly number[]) => Promise<readonly BatchResultErrorEntry[]>,
): Promise<readonly Failure[]> {
  const failures: Failure[] = [];
  let left = Array.from({ length: count }, (_, i) => i);
  for (let tries = 1; ; tries++) {
    const failed = await request(left);
    for (const { Id, Code, Message, SenderFault } of failed) {
      if (SenderFault === true)
        failures.push({ index: Number(Id), error: new SchedulerError("invalid-input", `the queue refuses it: ${Message ?? Code}`) });
    }
    left = failed.filter((entry) => entry.SenderFault !== true).map((entry) => Number(entry.Id));
    if (left.length === 0) return failures;
    if (tries === BATCH_TRIES_MAX) {
      const error = new SchedulerError("unavailable", "the message queue did not take it; try again");
      return [...failures, ...left.map((index) => ({ index, error }))];
    }
    await clock.sleep(random.next() * Math.min(BATCH_BACKOFF_CAP_MS, BATCH_BACKOFF_BASE_MS * 2 ** tries));
  }
}
