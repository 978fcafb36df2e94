/** ResourceRegistry: compute and storage resources by name. Names are unique; a name once taken stays with its resource. */
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId, type UserId } from "#domain/id.ts";
import type { Resource } from "#domain/resource.ts";
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";
import type { ResourceStore } from "#ports/resource-store.ts";

export type ResourceSettings =
  | { readonly kind: "LOCAL"; readonly name: string }
  | { readonly kind: "POSIX"; readonly name: string; readonly root: string };

export interface ResourceRegistry {
  list(): Promise<readonly Resource[]>;
  /** Throws `not-found`. */
  read(name: string): Promise<Resource>;
  /**
   * Repeated by the same owner with the same content it gives what is there: the caller can then finish what follows a
   * registration. Throws `conflict` when the name is taken otherwise.
   */
  register(request: { readonly owner: UserId; readonly resource: ResourceSettings }): Promise<Resource>;
}

export function createResourceRegistry(deps: {
  readonly store: ResourceStore;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "bytes">;
}): ResourceRegistry {
  return {
    list: () => deps.store.listResources(),
    async read(name) {
      const resource = await deps.store.readResource(name);
      if (resource === undefined)
        throw new SchedulerError("not-found", `there is no resource ${name}; register it, or see "resource list"`);
      return resource;
    },
    async register({ owner, resource }) {
      const id = makeId("resource", deps.clock.now(), deps.random.bytes(ID_RANDOM_BYTES));
      const made: Resource = { ...resource, id, owner, createdAtMs: deps.clock.now() };
      if (await deps.store.putResource(made)) return made;
      const taken = await deps.store.readResource(resource.name);
      if (taken === undefined || !isSame(taken, made))
        throw new SchedulerError("conflict", `the name ${resource.name} is taken by another resource`);
      return taken;
    },
  };
}

const isSame = (a: Resource, b: Resource): boolean =>
  a.owner === b.owner && (a.kind === "POSIX" ? b.kind === "POSIX" && a.root === b.root : a.kind === b.kind);
