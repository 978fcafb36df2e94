/** The rooms that hand tasks out and take them back: all that the scheduler and the timers need. */
import { createPlans, createTaskScheduler, type Hint, type PassReport, type PoolAccess } from "#core/task-scheduler/index.ts";
import { createWorkerLifecycle, dispatchMessage, dispatchQueue } from "#core/worker-lifecycle/index.ts";
import { decodePlan } from "#domain/plan-encoding.ts";
import type { MessageQueue } from "#ports/message-queue.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Space } from "#ports/space.ts";
import type { State } from "./state.ts";

export const SCHEDULE_QUEUE = "schedule";

export type SchedulingStores = Pick<State, "tasks" | "workers" | "costs" | "inputs" | "clock" | "random" | "logger" | "meter"> & {
  readonly objects: ObjectStore;
  readonly queue: MessageQueue;
  /** Where everything is kept on one disk. */
  readonly space?: Space;
};

const NOTHING_DONE: PassReport = { leases: 0, tasks: 0, refusals: 0, skipped: 0, completed: 0, waiting: new Map() };

export function openScheduling(s: SchedulingStores, access: PoolAccess) {
  const plans = createPlans({ store: s.tasks, objects: s.objects, decodePlan });
  const hint = (h: Hint, delayMs = 0): Promise<void> => s.queue.send(SCHEDULE_QUEUE, JSON.stringify(h), { delayMs });
  const rooms = createTaskScheduler({
    store: s.tasks,
    workers: s.workers,
    costs: s.costs,
    plans,
    access,
    clock: s.clock,
    random: s.random,
    logger: s.logger,
    objects: s.objects,
    inputs: s.inputs,
    ...(s.space === undefined ? {} : { shortage: s.space.shortage }),
    hint,
    dispatch: async (lease, gateway, recall) => {
      if (gateway !== undefined) await s.queue.send(dispatchQueue(gateway), dispatchMessage(lease.key, recall));
    },
  });
  /** A pass is for those that its hints name. While the disk is full there is none: hints are found again by the sweep. */
  const schedule = async (hints: readonly Hint[]) => {
    if (s.space?.shortage() !== undefined) return NOTHING_DONE;
    return s.meter.charging(
      hints.map((h) => h.experiment).filter((id) => id !== undefined),
      () => rooms.schedule(hints),
    );
  };
  const scheduler = { ...rooms, schedule };
  const lifecycle = createWorkerLifecycle({
    tasks: s.tasks,
    workers: s.workers,
    scheduler,
    clock: s.clock,
    random: s.random,
    logger: s.logger,
  });
  /** What a lost worker held need not wait for the next sweep. */
  const reap = async () => {
    const report = await lifecycle.reap();
    for (const experiment of new Set(report.reclaimed.map((lease) => lease.experiment))) await hint({ experiment });
    return report;
  };
  return { plans, scheduler, lifecycle: { ...lifecycle, reap }, hint };
}
