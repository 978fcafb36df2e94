/** Compute and storage resources, workers. */
import type { WorkerAnswer } from "#api/schema/resource.ts";
import type { Resource } from "#domain/resource.ts";
import { type Worker, workerName } from "#domain/worker.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps, User } from "./deps.ts";
import { pageOf } from "./pages.ts";

const workerOf = (w: Worker): WorkerAnswer => ({
  worker: workerName(w.key),
  pool: w.pool,
  state: w.state,
  size: w.size,
  free: w.free,
  leases: w.leases.size,
  host: w.host,
  version: w.version,
  packages: w.packages,
  expiresAtMs: w.expiresAtMs,
  ...(w.endsAtMs === undefined ? {} : { endsAtMs: w.endsAtMs }),
});

const objectOf = ({ kind, id }: Pick<Resource, "kind" | "id">) =>
  ({ type: kind === "LOCAL" ? "compute_resource" : "storage_resource", id }) as const;

/** What the user may use, by one question for all. */
async function usable({ resources, authorization }: HttpDeps, user: User): Promise<readonly Resource[]> {
  const all = await resources.list();
  const answers = await authorization.checkMany({ type: "user", id: user.id }, "use", all.map(objectOf));
  return all.filter((_, i) => answers[i]);
}

/** `user:*` stands for every user. */
const EVERYBODY = { type: "user", id: "*" } as const;

export function createResourceHandlers(deps: HttpDeps): Handlers<"listResources" | "registerResource" | "listWorkers"> {
  return {
    listResources: async ({ query, user }) => pageOf(await usable(deps, user), (r) => r.name, query),
    registerResource: async ({ body, user }) => {
      const { open, ...rest } = body;
      const { writable, ...resource } = { writable: false, ...rest };
      const made = await deps.resources.register({ owner: user.id, resource });
      const object = objectOf(made);
      // When this fails the resource is there and nobody may use it: repeating the request gets here again.
      await deps.authorization.write([
        { object, relation: "owner", subject: { type: "user", id: user.id } },
        { object, relation: "deployment", subject: { type: "deployment", id: deps.deploymentId } },
        ...(open ? [{ object, relation: "user", subject: EVERYBODY }] : []),
        ...(writable ? [{ object, relation: "writer", subject: EVERYBODY }] : []),
      ]);
      return made;
    },
    listWorkers: async ({ query, user }) => {
      const deployment = { type: "deployment", id: deps.deploymentId } as const;
      const [workers, resources, administers] = await Promise.all([
        deps.workers.list(),
        usable(deps, user),
        deps.authorization.check({ type: "user", id: user.id }, "administer", deployment),
      ]);
      const pools = new Set(resources.map((r) => r.name));
      const page = pageOf(
        workers.filter((w) => administers || pools.has(w.pool)),
        (w) => workerName(w.key),
        query,
      );
      return { ...page, items: page.items.map(workerOf) };
    },
  };
}
