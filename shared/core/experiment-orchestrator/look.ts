/** What several reading operations look at: the experiment with its plan and sets, segments and leases once each. */
import { SchedulerError } from "#domain/error.ts";
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import { taskBindings } from "#domain/expansion.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { Lease } from "#domain/lease.ts";
import type { Plan, PlanSet } from "#domain/plan.ts";
import type { Segment } from "#domain/segment.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

export async function findExperiment(deps: Pick<OrchestratorDeps, "tasks">, id: ExperimentId): Promise<Experiment> {
  const e = await deps.tasks.readExperiment(id);
  if (e === undefined) throw new SchedulerError("not-found", `there is no experiment ${id}`);
  return e;
}

/** Throws `not-found` for a set or task that the plan does not have. */
export function ordinalOf(plan: Plan, set: string, number = 0): number {
  const ordinal = plan.sets.findIndex((s) => s.name === set);
  const found = plan.sets[ordinal];
  if (found === undefined || number < 0 || number >= found.count)
    throw new SchedulerError("not-found", `there is no task ${set}/${number}`);
  return ordinal;
}

export interface Look {
  readonly e: Experiment;
  readonly plan: Plan;
  readonly sets: readonly TaskSet[];
  readonly segment: (set: number, n: number) => Promise<{ s: Segment | undefined; leases: readonly Lease[] }>;
}

export async function lookAt(deps: OrchestratorDeps, e: Experiment): Promise<Look> {
  const { plan } = await deps.plans.of(e.id);
  const known = new Map<string, Promise<{ s: Segment | undefined; leases: readonly Lease[] }>>();
  const segment: Look["segment"] = (set, n) => {
    const key = `${set}/${n}`;
    const read =
      known.get(key) ??
      (async () => {
        const s = await deps.tasks.readSegment({ experiment: e.id, set, segment: n });
        return { s, leases: s === undefined ? [] : await deps.results.leases(s.key) };
      })();
    known.set(key, read);
    return read;
  };
  return { e, plan, sets: await deps.tasks.readSets(e.id), segment };
}

export function parametersOf(plan: Plan, ordinal: number, number: number): Record<string, string> {
  const b = taskBindings(plan, ordinal, number);
  const refs = b.references.map(
    (r) => [r.name, `\${${plan.sets[r.set]?.name}${r.kind === "one" ? `/${r.index}` : ""}.${r.output}}`] as const,
  );
  return Object.fromEntries([
    ...b.texts.map((t) => [t.name, t.value] as const),
    ...b.inputs.map((i) => [i.name, `${i.storage}:${i.path}`] as const),
    ...refs,
  ]);
}

/** `<set ordinal>.<number>`: where the next page begins. */
export function readCursor(cursor: string | undefined): { set: number; number: number } {
  const m = /^(\d{1,3})\.(\d{1,9})$/.exec(cursor ?? "0.0");
  if (m === null) throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  return { set: Number(m[1]), number: Number(m[2]) };
}

/** Tasks looked at for one page of a filtered list: then the page ends, with a cursor, though it may be short. */
const LOOKED_AT_MAX = 20_000;

export async function walk(
  look: Look,
  only: string | undefined,
  cursor: string | undefined,
  visit: (set: number, number: number) => Promise<boolean>,
): Promise<string | undefined> {
  const from = readCursor(cursor);
  const wanted = only === undefined ? undefined : ordinalOf(look.plan, only);
  let looked = 0;
  for (let set = from.set; set < look.plan.sets.length; set++) {
    if (wanted !== undefined && set !== wanted) continue;
    const { count } = look.plan.sets[set] as PlanSet;
    for (let n = set === from.set ? from.number : 0; n < count; n++) {
      if (looked++ >= LOOKED_AT_MAX || !(await visit(set, n))) return `${set}.${n}`;
    }
  }
  return undefined;
}
