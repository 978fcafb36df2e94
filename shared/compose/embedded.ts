/** What every process of the embedded default opens: state in DynamoDB's API, objects in a folder, the queue in a file. */
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createMeteredMessageQueue } from "#adapters/metered/message-queue.ts";
import { createMeteredObjectStore } from "#adapters/metered/object-store.ts";
import { createSpiceDbAuthorization } from "#adapters/spicedb/authorization.ts";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { type Config, dataPaths, deploymentKey, readSecret } from "#config";
import { ensureTable, openState } from "./state.ts";

export async function openEmbedded(config: Config, part: string) {
  await ensureTable(config);
  const state = openState(config, part);
  const { clock } = state;
  const paths = dataPaths(config);
  const signingKey = await deploymentKey(config, "signed-urls");
  const files = await openFileObjectStore({ folder: paths.objects, baseUrl: config.objectsUrl, signingKey, clock });
  const objects = createMeteredObjectStore(files, state.meter);
  const queue = createMeteredMessageQueue(await openSqliteMessageQueue({ file: paths.queue, clock }), state.meter);
  const presharedKey = await readSecret(paths.spicedbKey);
  const authorization = createSpiceDbAuthorization({ endpoint: config.spicedb, presharedKey, transport: "plaintext" });
  return { ...state, files, objects, queue, authorization, signingKey };
}

export type Embedded = Awaited<ReturnType<typeof openEmbedded>>;
