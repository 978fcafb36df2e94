/** All rooms that share one process's stores. */
import { createPosixStorage } from "#adapters/posix/storage.ts";
import { createDataMover, createResults } from "#core/data-mover/index.ts";
import { createResourceRegistry } from "#core/resource-registry/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { isStorage, type StorageResource } from "#domain/resource.ts";
import type { Authorization } from "#ports/authorization.ts";
import type { Storage } from "#ports/storage.ts";
import type { PoolAccess } from "#core/task-scheduler/index.ts";
import { createPoolAccess } from "./access.ts";
import { openScheduling, type SchedulingStores } from "./scheduling.ts";
import type { State } from "./state.ts";

export const openStorage = (resource: StorageResource): Storage => createPosixStorage({ root: resource.root });

export type RoomStores = SchedulingStores & Pick<State, "inputs" | "resources"> & { readonly authorization: Authorization };

/** `access`: what the scheduler of this deployment asks; by default the registry and the authorization. */
export function openRooms(s: RoomStores, access?: PoolAccess) {
  const registry = createResourceRegistry({ store: s.resources, clock: s.clock, random: s.random });
  const scheduling = openScheduling(s, access ?? createPoolAccess({ ...s, registry }));
  const { plans } = scheduling;
  const storage = async (experiment: ExperimentId, name: string): Promise<Storage> => {
    const resource = await registry.read(name);
    if (!isStorage(resource)) throw new SchedulerError("invalid-input", `${name} is a compute resource, not a storage resource`);
    const { owner } = await plans.of(experiment);
    const may = await s.authorization.check({ type: "user", id: owner }, "use", { type: "storage_resource", id: resource.id });
    if (!may) throw new SchedulerError("forbidden", `the owner of ${experiment} may not use the storage resource ${name}`);
    return openStorage(resource);
  };
  const data = createDataMover({ tasks: s.tasks, objects: s.objects, inputs: s.inputs, plans, storage, clock: s.clock });
  const results = createResults({ tasks: s.tasks, objects: s.objects });
  return { ...scheduling, registry, data, results };
}

export type Rooms = ReturnType<typeof openRooms>;
