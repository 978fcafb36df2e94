/** Plans of the simulated experiments, and what is submitted and delivered of them. */
import { type Experiment, gatesFor, type TaskSet } from "#domain/experiment.ts";
import { type IndexSet, members } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { encodeLists } from "#domain/lists.ts";
import { EDGES_FORMAT_VERSION, PLAN_FORMAT_VERSION, type Plan, type PlanSet } from "#domain/plan.ts";
import { segmentsFor } from "#domain/segment.ts";
import type { Assignment } from "#protocol/gen/worker.ts";

export function planSet(name: string, count: number, edges: Partial<PlanSet>): PlanSet {
  return {
    name,
    script: "S",
    count,
    axes: [],
    combine: "product",
    constants: [],
    references: [],
    outputs: [],
    foreach: [],
    factor: 1,
    after: [],
    resources: { capacity: { cpuMilli: 1000, memoryMib: 0, gpu: 0 }, diskMib: 0, vramMib: 0, nodes: 1, timeLimitMs: 60_000 },
    retry: { retries: { exit: 1, signal: 1, timeout: 1, "out-of-memory": 1, staging: 2 }, backoffMs: 2_000 },
    ...edges,
  };
}

export function planOf(sets: readonly PlanSet[]): Plan {
  return {
    formatVersion: sets.some((s) => s.edges !== undefined) ? EDGES_FORMAT_VERSION : PLAN_FORMAT_VERSION,
    name: "sim",
    labels: {},
    scripts: { S: "true" },
    environment: [],
    assets: [],
    conda: [],
    pip: [],
    on: [],
    sets,
  };
}

/**
 * Sets of which any task may wait for any earlier one, drawn by `below` (a number from 0 below its argument), and a
 * barrier over the first. Tasks come one after the other into a set by chance, so each set is in a topological order.
 */
export function workflowOf(
  sizes: { readonly sets: number; readonly tasks: number; readonly barrier: number },
  below: (n: number) => number,
): Plan {
  const homes = Array.from({ length: sizes.tasks }, (_, i) => (i < sizes.sets ? i : below(sizes.sets)));
  const members = Array.from({ length: sizes.sets }, (_, set) => homes.flatMap((home, task) => (home === set ? [task] : [])));
  const order = members.flat();
  const numbers = new Map(order.map((task, number) => [task, number]));
  // Parents lie close together, so that there are long chains; some tasks have none, some many.
  const parents = homes.map((_, task) =>
    [...new Set(Array.from({ length: below(4) }, () => task - 1 - below(12)))].filter((parent) => parent >= 0),
  );
  const listsOf = (of: readonly number[]): string =>
    encodeLists(of.map((task) => (parents[task] ?? []).map((p) => numbers.get(p) as number)));
  const sets = members.map((of, i) => planSet(`w${i}`, of.length, { edges: listsOf(of) }));
  return planOf([...sets, planSet("b", sizes.barrier, { after: [0] })]);
}

/** The items that a submission writes before it turns the experiment to RUNNING. */
export function submission(
  plan: Plan,
  as: Pick<Experiment, "id" | "owner"> & { readonly nowMs: number },
): { experiment: Experiment; records: TaskSet[] } {
  const experiment: Experiment = {
    id: as.id,
    owner: as.owner,
    name: "sim",
    status: "CREATED",
    generation: 0,
    version: 0,
    planHash: "h",
    gates: gatesFor(plan.sets.reduce((sum, s) => sum + segmentsFor(s.count), 0)),
    taskCount: 0,
    priority: 0,
    weight: 1,
    createdAtMs: as.nowMs,
    live: false,
  };
  const zeros = { next: 0, closed: 0, done: 0, failed: 0, skipped: 0, generation: 0, skipAll: false };
  const records = plan.sets.map(
    (s, ordinal): TaskSet => ({ experiment: as.id, ordinal, count: s.count, segments: segmentsFor(s.count), ...zeros }),
  );
  return { experiment, records };
}

export const assignmentOf = (plan: Plan, lease: Lease, indices: IndexSet): Assignment => ({
  lease: leaseName(lease.key),
  planHash: "h",
  scriptName: "S",
  script: "true",
  environment: [],
  conda: [],
  pip: [],
  need: (plan.sets[lease.key.set] as PlanSet).resources.capacity,
  timeLimitMs: 60_000,
  diskLimitMib: 0,
  assets: [],
  tasks: members(indices).map((index) => ({
    ...{ index, number: index, parameters: [], inputs: [], outputs: [] },
    ...{ files: [], filesListingUrl: "", filesListingSha256: "", outputFiles: [] },
  })),
});
