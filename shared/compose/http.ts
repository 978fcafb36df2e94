/** The HTTP function in a cloud account. */
import { createSpiceDbAuthorization } from "#adapters/spicedb/authorization.ts";
import { spiceDbSettings } from "#config";
import { openToAll } from "#core/task-scheduler/index.ts";
import { openFunctionStores } from "./aws.ts";
import { openHttpParts } from "./http-parts.ts";
import { openRooms } from "./rooms.ts";

export async function openHttp(environment: Readonly<Record<string, string | undefined>>) {
  const stores = openFunctionStores(environment, "http");
  const authorization = createSpiceDbAuthorization(await spiceDbSettings(stores.config, environment));
  const all = { ...stores, authorization };
  return { parts: await openHttpParts(all, openRooms(all, openToAll)), meter: stores.meter };
}
