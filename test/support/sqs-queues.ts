/** Queues of one test on some SQS, under a prefix that nobody else has. */
import { randomBytes } from "node:crypto";
import { DeleteQueueCommand, ListQueuesCommand, type SQSClient } from "@aws-sdk/client-sqs";
import { createSqsClient } from "#adapters/sqs/client.ts";
import { createSqsMessageQueue, type SqsMessageQueue } from "#adapters/sqs/message-queue.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";

export interface SqsQueues extends AsyncDisposable {
  readonly client: SQSClient;
  readonly prefix: string;
  readonly queue: SqsMessageQueue;
}

export const sqsClientAt = (endpoint: string): SQSClient =>
  createSqsClient({ endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: "test" } });

export function openSqs(
  endpoint: string,
  prefix: string,
  options: { readonly receivesMax?: number; readonly creates?: boolean } = {},
): { readonly client: SQSClient; readonly queue: SqsMessageQueue } {
  const client = sqsClientAt(endpoint);
  const stores = { client, clock: createSystemClock(), random: createSystemRandom(), prefix };
  return { client, queue: createSqsMessageQueue({ creates: true, ...stores, ...options }) };
}

export function makeQueues(endpoint: string, options: { readonly receivesMax?: number } = {}): SqsQueues {
  const prefix = `t${randomBytes(5).toString("hex")}-`;
  const { client, queue } = openSqs(endpoint, prefix, options);
  const dispose = async (): Promise<void> => {
    const { QueueUrls = [] } = await client.send(new ListQueuesCommand({ QueueNamePrefix: prefix }));
    await Promise.all(QueueUrls.map((QueueUrl) => client.send(new DeleteQueueCommand({ QueueUrl }))));
    client.destroy();
  };
  return { client, prefix, queue, [Symbol.asyncDispose]: dispose };
}
