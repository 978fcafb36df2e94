/** The scheduler function in a cloud account. It asks for no permission and opens no connection to SpiceDB. */
import { openToAll } from "#core/task-scheduler/index.ts";
import { openFunctionStores } from "./aws.ts";
import { openScheduling } from "./scheduling.ts";

export function openSchedule(environment: Readonly<Record<string, string | undefined>>) {
  const stores = openFunctionStores(environment, "schedule");
  const { scheduler } = openScheduling(stores, openToAll);
  return { scheduler, logger: stores.logger, meter: stores.meter };
}
