/**
 * What every process on a machine of its own opens: state in DynamoDB's API, objects in a folder or a bucket, messages in
 * a file or in SQS, as the settings say.
 */
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createMeteredMessageQueue } from "#adapters/metered/message-queue.ts";
import { createMeteredObjectStore } from "#adapters/metered/object-store.ts";
import { createSpiceDbAuthorization } from "#adapters/spicedb/authorization.ts";
import { createDiskSpace } from "#adapters/system/space.ts";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { dataPaths, deploymentKey, type MachineConfig, spiceDbSettings } from "#config";
import { openBucketObjects, openSqsQueue } from "./aws.ts";
import { ensureTable, openState, type State } from "./state.ts";

export async function openEmbedded(config: MachineConfig, part: string) {
  await ensureTable(config);
  const state = { ...openState(config, part), config };
  const { objects, files } = await openObjects(state, config);
  const queue =
    config.queues === undefined
      ? createMeteredMessageQueue(await openSqliteMessageQueue({ file: dataPaths(config).queue, clock: state.clock }), state.meter)
      : openSqsQueue(state, config.queues, true);
  const authorization = createSpiceDbAuthorization(await spiceDbSettings(config));
  const space = createDiskSpace(config.dataDir, config.diskReserveBytes);
  return { ...state, space, files, objects, queue, authorization };
}

export type Embedded = Awaited<ReturnType<typeof openEmbedded>>;

/** `files`: the folder behind signed URLs that this machine has to serve; a bucket serves its own. */
async function openObjects(state: State, config: MachineConfig) {
  if (config.bucket !== undefined) return { objects: openBucketObjects(state, config.bucket), files: undefined };
  const signingKey = await deploymentKey(config, "signed-urls");
  const options = { folder: dataPaths(config).objects, baseUrl: config.objectsUrl, signingKey, clock: state.clock };
  const store = await openFileObjectStore(options);
  return { objects: createMeteredObjectStore(store, state.meter), files: { store, signingKey } };
}
