/** Objects in S3 and messages in SQS, metered. */
import { createMeteredMessageQueue } from "#adapters/metered/message-queue.ts";
import { createMeteredObjectStore } from "#adapters/metered/object-store.ts";
import { createS3Client } from "#adapters/s3/client.ts";
import { createS3ObjectStore } from "#adapters/s3/object-store.ts";
import { createSqsClient } from "#adapters/sqs/client.ts";
import { createSqsMessageQueue } from "#adapters/sqs/message-queue.ts";
import { type QueueSettings, readFunctionConfig } from "#config";
import { openState, type State } from "./state.ts";

type Surroundings = Pick<State, "clock" | "random" | "meter">;

/** Endpoint and credentials are the SDK's: AWS's own, or what AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names. */
export const openBucketObjects = ({ clock, random, meter }: Surroundings, bucket: string) =>
  createMeteredObjectStore(createS3ObjectStore({ client: createS3Client(), bucket, clock, random }), meter);

/** `creates`: who may make queues, such as a gateway its own. A function finds those that were deployed. */
export const openSqsQueue = ({ clock, random, meter }: Surroundings, queues: QueueSettings, creates: boolean) =>
  createMeteredMessageQueue(createSqsMessageQueue({ client: createSqsClient(), clock, random, ...queues, creates }), meter);

/** What every function in a cloud account opens. */
export function openFunctionStores(environment: Readonly<Record<string, string | undefined>>, part: string) {
  const config = readFunctionConfig(environment);
  const state = openState(config, part);
  return { ...state, objects: openBucketObjects(state, config.bucket), queue: openSqsQueue(state, config.queues, false) };
}
