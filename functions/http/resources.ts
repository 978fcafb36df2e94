/** Compute and storage resources, workers. */
import type { WorkerAnswer } from "#api/schema/resource.ts";
import { type Worker, workerName } from "#domain/worker.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";
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

/** `user:*` stands for every user. */
const EVERYBODY = { type: "user", id: "*" } as const;

export function createResourceHandlers(deps: HttpDeps): Handlers<"listResources" | "registerResource" | "listWorkers"> {
  return {
    listResources: async ({ query }) => pageOf(await deps.resources.list(), (r) => r.name, query),
    registerResource: async ({ body, user }) => {
      const { open, ...rest } = body;
      const { writable, ...resource } = { writable: false, ...rest };
      const made = await deps.resources.register({ owner: user.id, resource });
      const object = { type: made.kind === "LOCAL" ? "compute_resource" : "storage_resource", id: made.id } as const;
      // When this fails the resource is there and nobody may use it: repeating the request gets here again.
      await deps.authorization.write([
        { object, relation: "owner", subject: { type: "user", id: user.id } },
        { object, relation: "deployment", subject: { type: "deployment", id: deps.deploymentId } },
        ...(open ? [{ object, relation: "user", subject: EVERYBODY }] : []),
        ...(writable ? [{ object, relation: "writer", subject: EVERYBODY }] : []),
      ]);
      return made;
    },
    listWorkers: async ({ query }) => {
      const page = pageOf(await deps.workers.list(), (w) => workerName(w.key), query);
      return { ...page, items: page.items.map(workerOf) };
    },
  };
}
