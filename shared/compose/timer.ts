/** The timer functions in a cloud account. They ask for no permission and open no connection to SpiceDB. */
import { openToAll } from "#core/task-scheduler/index.ts";
import { openFunctionStores } from "./aws.ts";
import { openScheduling } from "./scheduling.ts";

export function openTimer(environment: Readonly<Record<string, string | undefined>>) {
  const stores = openFunctionStores(environment, "timer");
  const { scheduler, lifecycle } = openScheduling(stores, openToAll);
  return { scheduler, lifecycle, logger: stores.logger, meter: stores.meter };
}
