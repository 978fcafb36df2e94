/** Which SQS queue stands for a queue of ours, and how the pair of it and its dead-letter queue is made. */
import {
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueAttributesCommand,
  GetQueueUrlCommand,
  type QueueAttributeName,
  type SQSClient,
} from "@aws-sdk/client-sqs";
import { DEAD_SUFFIX } from "#domain/message-limits.ts";
import { isMissingQueue, isTakenName } from "./client.ts";
import { DEAD_RETENTION_SECONDS, RETENTION_SECONDS } from "./limits.ts";

export interface QueuesOptions {
  readonly client: SQSClient;
  readonly prefix: string;
  readonly urls: Readonly<Record<string, string>>;
  readonly creates: boolean;
  readonly receivesMax: number;
}

export class Queues {
  readonly #options: QueuesOptions;
  readonly #known = new Map<string, Promise<string>>();

  constructor(options: QueuesOptions) {
    this.#options = options;
  }

  /** The queue's address. Throws SQS's own error when it is missing and not ours to make. */
  url(queue: string): Promise<string> {
    const given = this.#options.urls[queue];
    if (given !== undefined) return Promise.resolve(given);
    const known = this.#known.get(queue) ?? this.#findOrMake(queue);
    this.#known.set(queue, known);
    known.catch(() => this.forget(queue));
    return known;
  }

  forget(queue: string): void {
    this.#known.delete(queue);
  }

  /** Deletes the pair; what is in it is gone. */
  async delete(queue: string): Promise<void> {
    for (const name of [queue, queue + DEAD_SUFFIX]) {
      this.forget(name);
      try {
        const { QueueUrl } = await this.#options.client.send(new GetQueueUrlCommand({ QueueName: this.#options.prefix + name }));
        await this.#options.client.send(new DeleteQueueCommand({ QueueUrl }));
      } catch (error) {
        if (!isMissingQueue(error)) throw error;
      }
    }
  }

  async #findOrMake(queue: string): Promise<string> {
    const { client, prefix, creates } = this.#options;
    try {
      const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: prefix + queue }));
      return QueueUrl as string;
    } catch (error) {
      if (!isMissingQueue(error) || !creates) throw error;
    }
    return this.#makePair(queue);
  }

  async #makePair(queue: string): Promise<string> {
    const { client, receivesMax } = this.#options;
    const base = queue.endsWith(DEAD_SUFFIX) ? queue.slice(0, -DEAD_SUFFIX.length) : queue;
    const deadUrl = await this.#make(base + DEAD_SUFFIX, { MessageRetentionPeriod: String(DEAD_RETENTION_SECONDS) });
    const dead = await client.send(new GetQueueAttributesCommand({ QueueUrl: deadUrl, AttributeNames: ["QueueArn"] }));
    const url = await this.#make(base, {
      MessageRetentionPeriod: String(RETENTION_SECONDS),
      RedrivePolicy: JSON.stringify({ deadLetterTargetArn: dead.Attributes?.QueueArn, maxReceiveCount: String(receivesMax) }),
    });
    return queue === base ? url : deadUrl;
  }

  /** One that another process made meanwhile, or somebody with other settings, is taken as it is. */
  async #make(name: string, attributes: Partial<Record<QueueAttributeName, string>>): Promise<string> {
    const { client, prefix } = this.#options;
    try {
      const made = await client.send(new CreateQueueCommand({ QueueName: prefix + name, Attributes: attributes }));
      return made.QueueUrl as string;
    } catch (error) {
      if (!isTakenName(error)) throw error;
      return (await client.send(new GetQueueUrlCommand({ QueueName: prefix + name }))).QueueUrl as string;
    }
  }
}
