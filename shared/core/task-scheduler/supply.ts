/** Who has room, as one pass sees it: a hint (G5), the conditions of an assignment decide. */
import { addCapacity, type Capacity, minusCapacity, NO_CAPACITY } from "#domain/capacity.ts";
import type { ExperimentId } from "#domain/id.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { type Worker, workerName } from "#domain/worker.ts";
import type { Clock } from "#ports/clock.ts";
import type { WriteOutcome } from "#ports/task-store.ts";
import type { WorkerStore } from "#ports/worker-store.ts";
import { WORKERS_PER_ROUND } from "./limits.ts";

/** As read at some time of the pass, and changed by what it gave out since. Room that comes free later comes with a hint of its own. */
export interface Supply {
  readonly readAtMs: number;
  workers: readonly Worker[];
  readonly usage: ReadonlyMap<ExperimentId, Capacity>;
}

interface Deps {
  readonly workers: Pick<WorkerStore, "workersWithRoom" | "gateways">;
  readonly clock: Clock;
}

export async function readSupply(deps: Deps): Promise<Supply> {
  const readAtMs = deps.clock.now();
  const [workers, usage] = await Promise.all([deps.workers.workersWithRoom(WORKERS_PER_ROUND), readUsage(deps)]);
  return { readAtMs, workers: workers.filter((w) => w.state === "READY"), usage };
}

export async function readUsage(deps: Pick<Deps, "workers">): Promise<Map<ExperimentId, Capacity>> {
  const usage = new Map<ExperimentId, Capacity>();
  for (const g of await deps.workers.gateways()) {
    for (const [e, c] of g.usage) usage.set(e, addCapacity(usage.get(e) ?? NO_CAPACITY, c));
  }
  return usage;
}

/** Workers that refused, or may have taken, an assignment get nothing more until they are read again. */
export function noteAssigned(supply: Supply, leases: readonly Lease[], outcome: WriteOutcome): void {
  if (outcome.kind === "refused" && outcome.by !== "worker") return;
  const taken = new Map(leases.map((lease) => [workerName(lease.worker), lease]));
  supply.workers = supply.workers.flatMap((w) => {
    const lease = taken.get(workerName(w.key));
    if (lease === undefined) return [w];
    return outcome.kind === "done"
      ? [{ ...w, free: minusCapacity(w.free, lease.reserved), leases: new Set([...w.leases, leaseName(lease.key)]) }]
      : [];
  });
}
