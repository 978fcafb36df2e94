/**
 * One place that answers SQS batches: a record that fails comes back alone, the others are done with.
 *
 * A body that can't be read ({@link parseRecord}) fails like any other: after the queue's receive limit it lies in the
 * dead letter queue, where somebody can look at it. Answering success instead would drop it unseen.
 */
import { SchedulerError } from "#domain/error.ts";
import type { SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";

interface BatchLog {
  warn(message: string, facts?: Readonly<Record<string, string | number | boolean | undefined>>): void;
}

export type BatchHandler = (event: SQSEvent) => Promise<SQSBatchResponse>;

/** The JSON in a record; throws `invalid-input` when it is none. */
export function parseRecord(record: Pick<SQSRecord, "body" | "messageId">): unknown {
  try {
    return JSON.parse(record.body);
  } catch (cause) {
    throw new SchedulerError("invalid-input", `message ${record.messageId} is not JSON`, { cause });
  }
}

/** Records of a batch run side by side (SQS hands out at most 10). The answer never rejects: it names what failed. */
export function createBatchHandler(process: (record: SQSRecord) => Promise<void>, logger?: BatchLog): BatchHandler {
  return async (event) => {
    const outcomes = await Promise.allSettled(event.Records.map(async (record) => process(record)));
    const batchItemFailures = outcomes.flatMap((outcome, i) => {
      const record = event.Records[i];
      if (outcome.status === "fulfilled" || record === undefined) return [];
      const error: unknown = outcome.reason;
      logger?.warn("message failed", {
        message: record.messageId,
        receives: Number(record.attributes.ApproximateReceiveCount),
        kind: error instanceof SchedulerError ? error.kind : "internal",
        error: error instanceof Error ? error.message : String(error),
      });
      return [{ itemIdentifier: record.messageId }];
    });
    return { batchItemFailures };
  };
}
