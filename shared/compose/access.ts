/** Which compute resources an owner may use, as the registry and the authorization say; kept for {@link KEPT_MS}. */
import type { Access, PoolAccess } from "#core/task-scheduler/index.ts";
import type { ResourceRegistry } from "#core/resource-registry/index.ts";
import type { Authorization } from "#ports/authorization.ts";
import type { Clock } from "#ports/clock.ts";

const KEPT_MS = 10_000;
const KEPT_MAX = 10_000;

export function createPoolAccess(deps: {
  readonly authorization: Authorization;
  readonly registry: Pick<ResourceRegistry, "list">;
  readonly clock: Pick<Clock, "now">;
}): PoolAccess {
  const kept = new Map<string, { readonly access: Promise<Access>; readonly untilMs: number }>();
  const ask: PoolAccess = async (owner, pool) => {
    const resource = (await deps.registry.list()).find((r) => r.name === pool);
    if (resource === undefined || resource.kind === "POSIX") return "unknown";
    const may = await deps.authorization.check({ type: "user", id: owner }, "use", { type: "compute_resource", id: resource.id });
    return may ? "usable" : "forbidden";
  };
  return (owner, pool) => {
    const name = `${owner} ${pool}`;
    const known = kept.get(name);
    if (known !== undefined && deps.clock.now() < known.untilMs) return known.access;
    const access = ask(owner, pool);
    kept.delete(name);
    kept.set(name, { access, untilMs: deps.clock.now() + KEPT_MS });
    if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value as string);
    // A failed question is asked again.
    access.catch(() => kept.delete(name));
    return access;
  };
}
