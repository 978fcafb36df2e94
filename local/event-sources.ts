/** Queues and timers as event sources of Lambda handlers. */
import { createHash, randomUUID } from "node:crypto";
import type { Clock } from "#ports/clock.ts";
import type { Logger } from "#ports/logger.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";
import type { EventBridgeEvent, SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";

const BATCH_MAX = 10;
const WAIT_MS = 10_000;
const VISIBILITY_MS = 30_000;
/** After the queue itself failed. */
const TROUBLE_PAUSE_MS = 1_000;
const REGION = "local";
const ACCOUNT = "000000000000";

export interface QueueSource {
  readonly queue: string;
  readonly handler: (event: SQSEvent) => Promise<SQSBatchResponse>;
  /** Batches at once. */
  readonly concurrency: number;
  /** 1..10 */
  readonly batchSize?: number;
  /** Must be longer than the handler ever takes. */
  readonly visibilityMs?: number;
}

export type ScheduledEvent = EventBridgeEvent<"Scheduled Event", Record<string, never>>;

export interface TimerSource {
  readonly name: string;
  readonly everyMs: number;
  readonly handler: (event: ScheduledEvent) => Promise<void>;
}

interface Surroundings {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

function recordOf(queue: string, message: QueueMessage, nowMs: number): SQSRecord {
  return {
    messageId: message.id,
    receiptHandle: message.receipt,
    body: message.body,
    attributes: {
      ApproximateReceiveCount: String(message.receives),
      SentTimestamp: String(nowMs),
      SenderId: ACCOUNT,
      ApproximateFirstReceiveTimestamp: String(nowMs),
    },
    messageAttributes: {},
    md5OfBody: createHash("md5").update(message.body).digest("hex"),
    eventSource: "aws:sqs",
    eventSourceARN: `arn:aws:sqs:${REGION}:${ACCOUNT}:${queue}`,
    awsRegion: REGION,
  };
}

/** Receipts to delete. As in Lambda: an identifier that is not in the batch fails the whole batch. */
function succeeded(messages: readonly QueueMessage[], answer: SQSBatchResponse): string[] {
  const failed = new Set(answer.batchItemFailures.map((failure) => failure.itemIdentifier));
  const known = new Set(messages.map((message) => message.id));
  if ([...failed].some((id) => !known.has(id))) return [];
  return messages.filter((message) => !failed.has(message.id)).map((message) => message.receipt);
}

/** What is not deleted comes back when its visibility ends, and ends in the dead letter queue. */
export async function runQueueSource(
  source: QueueSource,
  { messages, clock, logger, signal }: Surroundings & { readonly messages: MessageQueue },
): Promise<void> {
  const { queue, handler, batchSize = BATCH_MAX, visibilityMs = VISIBILITY_MS } = source;
  while (!signal.aborted) {
    try {
      const batch = await messages.receive(queue, { limit: batchSize, waitMs: WAIT_MS, visibilityMs, signal });
      if (batch.length === 0) continue;
      const answer = await handler({ Records: batch.map((message) => recordOf(queue, message, clock.now())) });
      await messages.remove(queue, succeeded(batch, answer));
    } catch (error) {
      if (signal.aborted) return;
      logger.error("queue source failed", { queue, error: error instanceof Error ? error.message : String(error) });
      await clock.sleep(TROUBLE_PAUSE_MS, signal);
    }
  }
}

function scheduledEvent(name: string, nowMs: number): ScheduledEvent {
  return {
    version: "0",
    id: randomUUID(),
    "detail-type": "Scheduled Event",
    source: "aws.events",
    account: ACCOUNT,
    time: new Date(nowMs).toISOString(),
    region: REGION,
    resources: [`arn:aws:events:${REGION}:${ACCOUNT}:rule/${name}`],
    detail: {},
  };
}

export async function runTimerSource({ name, everyMs, handler }: TimerSource, { clock, logger, signal }: Surroundings): Promise<void> {
  for (;;) {
    await clock.sleep(everyMs, signal);
    if (signal.aborted) return;
    try {
      await handler(scheduledEvent(name, clock.now()));
    } catch (error) {
      logger.error("timer failed", { timer: name, error: error instanceof Error ? error.message : String(error) });
    }
  }
}
