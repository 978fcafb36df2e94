/**
 * What an experiment with a budget has spent, and how many tasks it may be given now. Only those with a budget are read for.
 *
 * - Tasks and core time stand in the segments. Closed ones change with a generation alone and are remembered.
 * - Cost is what meters have saved, plus an estimate for the leases that this process gave out since.
 * - Attempts that were lost with their worker are in nobody's books.
 */
import { budgetHold, hasBudget, type Spent } from "#domain/budget.ts";
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import type { ExperimentId } from "#domain/id.ts";
import { sizeOf, union } from "#domain/index-set.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import type { Segment } from "#domain/segment.ts";
import type { Clock } from "#ports/clock.ts";
import type { CostStore } from "#ports/cost-store.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { costOf } from "#core/costs/index.ts";
import { LEASE_NANO_USD, SPENDERS_KEPT, UNSAVED_MS } from "./limits.ts";

interface SpendingDeps {
  readonly store: Pick<TaskStore, "readSegments">;
  readonly costs: Pick<CostStore, "read">;
  readonly clock: Clock;
}

export interface Allowance {
  /** Tasks that may be handed out now. */
  readonly tasks: number;
  /** Nothing will be, until the budget is raised; otherwise what is out now may leave some. */
  readonly usedUp: boolean;
}

export interface Spending {
  of(e: Experiment, plan: Plan, sets: readonly TaskSet[]): Promise<Spent>;
  /** `undefined`: there is no budget. */
  allowance(e: Experiment, plan: Plan, sets: readonly TaskSet[]): Promise<Allowance | undefined>;
  /** So many leases were given out. */
  gave(id: ExperimentId, leases: number): void;
}

interface Part {
  readonly tasks: number;
  readonly coreMs: number;
  /** Core time that what is out now will take, by the time that tasks of its segment took. */
  readonly outMs: number;
  /** Of one task, where it is known. */
  readonly eachMs: number | undefined;
}

interface Remembered {
  readonly generation: number;
  readonly closed: Map<string, Part>;
  given: { readonly atMs: number; readonly leases: number }[];
}

const SEGMENT_PAGE = 100;

function partOf({ done, failed, leased, runMs, failedMs }: Segment, { resources }: PlanSet): Part {
  const cores = resources.capacity.cpuMilli / 1_000;
  const ran = sizeOf(done);
  const eachMs = ran === 0 ? undefined : (runMs / ran) * cores;
  const tasks = sizeOf(union(done, failed, leased));
  return { tasks, coreMs: (runMs + failedMs) * cores, outMs: sizeOf(leased) * (eachMs ?? 0), eachMs };
}

export function createSpending({ store, costs, clock }: SpendingDeps): Spending {
  const kept = new Map<ExperimentId, Remembered>();

  function memoryOf({ id, generation }: Pick<Experiment, "id" | "generation">): Remembered {
    const known = kept.get(id);
    if (known?.generation === generation) return known;
    const fresh = { generation, closed: new Map<string, Part>(), given: known?.given ?? [] };
    kept.delete(id);
    kept.set(id, fresh);
    if (kept.size > SPENDERS_KEPT) kept.delete(kept.keys().next().value as ExperimentId);
    return fresh;
  }

  async function parts(e: Experiment, plan: Plan, sets: readonly TaskSet[]): Promise<Part[]> {
    const { closed } = memoryOf(e);
    const found: Part[] = [];
    for (const set of sets) {
      for (let from = 0; from < set.next; from += SEGMENT_PAGE) {
        const page = Array.from({ length: Math.min(SEGMENT_PAGE, set.next - from) }, (_, i) => closed.get(`${set.ordinal}/${from + i}`));
        if (page.every((part) => part !== undefined)) {
          found.push(...page);
          continue;
        }
        for (const segment of await store.readSegments(e.id, set.ordinal, from, SEGMENT_PAGE)) {
          const part = partOf(segment, plan.sets[set.ordinal] as PlanSet);
          found.push(part);
          if (segment.closed && segment.generation === e.generation) closed.set(`${set.ordinal}/${segment.key.segment}`, part);
        }
      }
    }
    return found;
  }

  const sum = (found: readonly Part[], pick: (part: Part) => number): number => found.reduce((n, part) => n + pick(part), 0);

  async function look(e: Experiment, plan: Plan, sets: readonly TaskSet[]): Promise<{ spent: Spent; found: readonly Part[] }> {
    const [found, usage] = await Promise.all([parts(e, plan, sets), costs.read(e.id)]);
    const spent = { nanoUsd: costOf(usage).nanoUsd, coreMs: Math.round(sum(found, (p) => p.coreMs)), tasks: sum(found, (p) => p.tasks) };
    return { spent, found };
  }

  /** Given out by this process and, for all we know, not in what meters have saved. */
  function unsaved(e: Experiment): number {
    const memory = memoryOf(e);
    memory.given = memory.given.filter(({ atMs }) => clock.now() - atMs < UNSAVED_MS);
    return memory.given.reduce((n, { leases }) => n + leases * LEASE_NANO_USD, 0);
  }

  return {
    of: async (e, plan, sets) => (await look(e, plan, sets)).spent,
    async allowance(e, plan, sets) {
      if (!hasBudget(e)) return undefined;
      const { budget } = e;
      const { spent, found } = await look(e, plan, sets);
      const known = found.flatMap(({ eachMs }) => (eachMs === undefined ? [] : [eachMs]));
      const eachMs = Math.max(1, known.reduce((n, ms) => n + ms, 0) / Math.max(1, known.length));
      const byTasks = (budget.tasks ?? Number.POSITIVE_INFINITY) - spent.tasks;
      // A lease costs what it costs, however few tasks it holds.
      const byCost = ((budget.nanoUsd ?? Number.POSITIVE_INFINITY) - spent.nanoUsd - unsaved(e)) / LEASE_NANO_USD;
      const leftMs = (budget.coreMs ?? Number.POSITIVE_INFINITY) - spent.coreMs - sum(found, (p) => p.outMs);
      const byTime = known.length === 0 && leftMs > 0 ? Number.POSITIVE_INFINITY : leftMs / eachMs;
      const usedUp = budgetHold(budget, spent) !== undefined;
      return { tasks: usedUp ? 0 : Math.max(0, Math.ceil(Math.min(byTasks, byCost, byTime))), usedUp };
    },
    gave: (id, leases) => void kept.get(id)?.given.push({ atMs: clock.now(), leases }),
  };
}
