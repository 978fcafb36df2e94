/**
 * MessageQueue on SQS, standard queues.
 *
 * - A queue of ours is `<prefix><name>`, its dead letters `<prefix><name>-dead`, tied by a redrive policy. Who may
 *   create makes a missing pair at its first use; who may not gets `not-found`.
 * - Sends of one turn of the event loop go together, at most ten a request. Each of them succeeds or fails alone.
 * - Delays and visibility are whole seconds, rounded up.
 * - A receive whose signal aborts ends at once. Its long poll goes on unseen, and what it still brings is put back: a
 *   cut connection would leave such a message hidden until its visibility ends.
 */
import {
  ChangeMessageVisibilityBatchCommand,
  DeleteMessageBatchCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { assert, SchedulerError } from "#domain/error.ts";
import { checkQueueName, checkReceive, checkSend, RECEIVES_MAX_DEFAULT } from "#domain/message-limits.ts";
import type { Clock } from "#ports/clock.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";
import type { Random } from "#ports/random.ts";
import { cutBatches, sendBatch } from "./batches.ts";
import { asSchedulerError, isMissingQueue } from "./client.ts";
import { BATCH_ENTRIES_MAX, NAME_CHARACTERS_MAX, POLL_SECONDS_MAX, VISIBILITY_SECONDS_MAX } from "./limits.ts";
import { Queues } from "./queues.ts";

export interface SqsMessageQueueOptions {
  readonly client: SQSClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Begins the name of every queue of this deployment; at most 15 characters. */
  readonly prefix: string;
  /** Addresses of queues that are known beforehand, by name: they are not asked for. */
  readonly urls?: Readonly<Record<string, string>>;
  /** Makes queues that are missing. */
  readonly creates: boolean;
  /** Of the queues that it makes: how often a message is given out before it moves to `<queue>-dead`; 5 unless told. */
  readonly receivesMax?: number;
}

export interface SqsMessageQueue extends MessageQueue {
  /** Deletes a queue and its dead letters with all that is in them; one that is not there is no error. */
  deleteQueue(queue: string): Promise<void>;
}

const PREFIX_CHARACTERS_MAX = NAME_CHARACTERS_MAX - 65;
const MS = 1_000;

export function createSqsMessageQueue(options: SqsMessageQueueOptions): SqsMessageQueue {
  const wellFormed = /^[A-Za-z0-9_-]*$/.test(options.prefix) && options.prefix.length <= PREFIX_CHARACTERS_MAX;
  if (!wellFormed)
    throw new SchedulerError("invalid-input", `the prefix of queues is at most ${PREFIX_CHARACTERS_MAX} of A-Z a-z 0-9 _ and -`);
  return new Sqs(options);
}

type ReceiveOptions = Parameters<MessageQueue["receive"]>[1];

interface Outgoing {
  readonly body: string;
  readonly delaySeconds: number;
  readonly done: (error?: Error) => void;
}

class Sqs implements SqsMessageQueue {
  readonly #options: SqsMessageQueueOptions;
  readonly #queues: Queues;
  readonly #outgoing = new Map<string, Outgoing[]>();

  constructor(options: SqsMessageQueueOptions) {
    this.#options = options;
    const { client, prefix, urls = {}, creates, receivesMax = RECEIVES_MAX_DEFAULT } = options;
    this.#queues = new Queues({ client, prefix, urls, creates, receivesMax });
  }

  async send(queue: string, body: string, { delayMs = 0 }: { readonly delayMs?: number } = {}): Promise<void> {
    checkSend(queue, body, delayMs);
    await new Promise<void>((resolve, reject) => {
      const waiting = this.#outgoing.get(queue) ?? [];
      const done = (error?: Error): void => (error === undefined ? resolve() : reject(error));
      if (waiting.push({ body, delaySeconds: Math.ceil(delayMs / MS), done }) > 1) return;
      this.#outgoing.set(queue, waiting);
      setImmediate(() => this.#flush(queue));
    });
  }

  async receive(queue: string, options: ReceiveOptions): Promise<readonly QueueMessage[]> {
    checkReceive(queue, options);
    const { clock } = this.#options;
    const { signal, waitMs } = options;
    const endsAtMs = clock.now() + waitMs;
    for (let left = waitMs; signal?.aborted !== true; left = endsAtMs - clock.now()) {
      const seconds = Math.max(0, Math.min(POLL_SECONDS_MAX, Math.ceil(left / MS)));
      const polled = this.#poll(queue, options, seconds);
      const messages = signal === undefined ? await polled : await this.#unlessAborted(queue, polled, signal);
      if (messages.length > 0 || seconds === 0 || left <= seconds * MS) return messages;
    }
    return [];
  }

  async remove(queue: string, receipts: readonly string[]): Promise<void> {
    checkQueueName(queue);
    const named = receipts.filter((receipt) => receipt !== "");
    for (const batch of cutBatches(named, () => 1)) {
      await this.#at(queue, async (QueueUrl) => {
        const failures = await sendBatch(batch.length, this.#options, async (places) => {
          const Entries = places.map((place) => ({ Id: String(place), ReceiptHandle: batch[place] }));
          const { Failed = [] } = await this.#options.client.send(new DeleteMessageBatchCommand({ QueueUrl, Entries }));
          return Failed.filter(({ Code = "" }) => !Code.endsWith("ReceiptHandleIsInvalid")); // not everybody calls it the sender's fault
        });
        // What SQS calls the sender's fault is a receipt that it does not know, too.
        const passing = failures.find(({ error }) => error instanceof SchedulerError && error.kind === "unavailable");
        if (passing !== undefined) throw passing.error;
      });
    }
  }

  async depth(queue: string): Promise<number> {
    checkQueueName(queue);
    const names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"] as const;
    return this.#at(queue, async (QueueUrl) => {
      const { Attributes = {} } = await this.#options.client.send(new GetQueueAttributesCommand({ QueueUrl, AttributeNames: [...names] }));
      return names.reduce((sum, name) => sum + Number(Attributes[name] ?? 0), 0);
    });
  }

  async deleteQueue(queue: string): Promise<void> {
    checkQueueName(queue);
    await this.#queues.delete(queue).catch((error: unknown) => {
      throw asSchedulerError(error, queue);
    });
  }

  /** An address that was remembered of a queue that is gone is asked for once more. */
  async #at<T>(queue: string, work: (url: string) => Promise<T>): Promise<T> {
    try {
      const url = await this.#queues.url(queue);
      return await work(url).catch(async (error: unknown) => {
        if (!isMissingQueue(error)) throw error;
        this.#queues.forget(queue);
        return work(await this.#queues.url(queue));
      });
    } catch (error) {
      throw asSchedulerError(error, queue);
    }
  }

  #flush(queue: string): void {
    const all = this.#outgoing.get(queue) ?? [];
    this.#outgoing.delete(queue);
    for (const batch of cutBatches(all, ({ body }) => Buffer.byteLength(body))) void this.#sendTogether(queue, batch);
  }

  async #sendTogether(queue: string, batch: readonly Outgoing[]): Promise<void> {
    try {
      const failures = await this.#at(queue, (QueueUrl) =>
        sendBatch(batch.length, this.#options, async (places) => {
          const Entries = places.map((place) => {
            const { body, delaySeconds } = batch[place] as Outgoing;
            return { Id: String(place), MessageBody: body, DelaySeconds: delaySeconds };
          });
          return (await this.#options.client.send(new SendMessageBatchCommand({ QueueUrl, Entries }))).Failed ?? [];
        }),
      );
      const errors = new Map(failures.map(({ index, error }) => [index, error]));
      for (const [index, one] of batch.entries()) one.done(errors.get(index));
    } catch (error) {
      for (const one of batch) one.done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #poll(queue: string, { limit, visibilityMs }: ReceiveOptions, seconds: number): Promise<QueueMessage[]> {
    return this.#at(queue, async (QueueUrl) => {
      const answer = await this.#options.client.send(
        new ReceiveMessageCommand({
          QueueUrl,
          MaxNumberOfMessages: limit,
          VisibilityTimeout: Math.min(VISIBILITY_SECONDS_MAX, Math.ceil(visibilityMs / MS)),
          WaitTimeSeconds: seconds,
          MessageSystemAttributeNames: ["ApproximateReceiveCount"],
        }),
      );
      return (answer.Messages ?? []).map(({ MessageId = "", ReceiptHandle = "", Body = "", Attributes }) => ({
        id: MessageId,
        receipt: ReceiptHandle,
        body: Body,
        receives: Number(Attributes?.ApproximateReceiveCount ?? 1),
      }));
    });
  }

  async #unlessAborted(queue: string, polled: Promise<QueueMessage[]>, signal: AbortSignal): Promise<QueueMessage[]> {
    const { promise: aborted, resolve } = Promise.withResolvers<"aborted">();
    const abort = (): void => resolve("aborted");
    signal.addEventListener("abort", abort, { once: true });
    try {
      const first = await Promise.race([polled, aborted]);
      if (first !== "aborted") return first;
    } finally {
      signal.removeEventListener("abort", abort);
    }
    // Nobody waits for this, and a message that cannot be put back shows again by itself.
    void polled.then((messages) => this.#putBack(queue, messages)).catch(() => undefined);
    return [];
  }

  async #putBack(queue: string, messages: readonly QueueMessage[]): Promise<void> {
    if (messages.length === 0) return;
    assert(messages.length <= BATCH_ENTRIES_MAX, "a receive gives at most ten messages");
    const Entries = messages.map(({ receipt }, place) => ({ Id: String(place), ReceiptHandle: receipt, VisibilityTimeout: 0 }));
    await this.#at(queue, (QueueUrl) => this.#options.client.send(new ChangeMessageVisibilityBatchCommand({ QueueUrl, Entries })));
  }
}
