/**
 * Pages of tasks with filters. Whole segments are judged at once, as sets of indices; values of parameters are sought
 * (seek.ts). One request reads a bounded number of segments and leases: a page that ends there is short and has a cursor.
 * The cursor is a place in the order of sets and numbers, so pages stay as they are while tasks move on.
 */
import { edgesOf } from "#domain/edges.ts";
import { type Experiment, isTerminal, type TaskSet } from "#domain/experiment.ts";
import { emptySet, hasIndex, type IndexSet, intersect, isEmptySet, minus, SEGMENT_TASKS, setOf, union } from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { PlanSet } from "#domain/plan.ts";
import { locate, pendingOf, type Segment, type SegmentKey, segmentName, wholeSegment } from "#domain/segment.ts";
import { TASK_STATES, type TaskState } from "#domain/task.ts";
import { workerName } from "#domain/worker.ts";
import { parentPlaces, readiness } from "#core/task-scheduler/index.ts";
import type { TaskFilter, TaskView } from "./index.ts";
import { ordinalOf, parametersOf, readCursor } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { type Seek, seekIn } from "./seek.ts";

/** Segments that one page looks into, and pages of leases that it reads. */
const SEGMENTS_LOOKED_MAX = 100;
const LEASE_PAGES_MAX = 20;
const LEASE_PAGE = 100;
/** A look at what workers have costs some requests more. */
const HELD_COSTS = 4;
/** Open leases are the newest ones. */
const NEWEST = 8;

type Masks = ReadonlyMap<TaskState, IndexSet>;

export interface Reading {
  readonly deps: OrchestratorDeps;
  readonly e: Experiment;
  readonly plan: Parameters<typeof parametersOf>[0];
  readonly sets: readonly TaskSet[];
  readonly segment: (key: SegmentKey) => Promise<Segment | undefined>;
  /** Reads segments of a set together; {@link segment} then has them. */
  readonly ahead: (key: SegmentKey, to: number) => void;
}

export async function openReading(deps: OrchestratorDeps, e: Experiment): Promise<Reading> {
  const [{ plan }, sets] = await Promise.all([deps.plans.of(e.id), deps.tasks.readSets(e.id)]);
  const known = new Map<string, Promise<Segment | undefined>>();
  const segment: Reading["segment"] = (key) => {
    const name = segmentName(key);
    const reading = known.get(name) ?? deps.tasks.readSegment(key);
    known.set(name, reading);
    return reading;
  };
  const ahead: Reading["ahead"] = (key, to) => {
    const { experiment, set, segment: from } = key;
    const reading = deps.tasks.readSegments(experiment, set, from, to - from);
    reading.catch(() => undefined); // thrown where it is awaited
    for (let n = from; n < to; n++) {
      const name = segmentName({ ...key, segment: n });
      if (!known.has(name))
        known.set(
          name,
          reading.then((all) => all.find((s) => s.key.segment === n)),
        );
    }
  };
  return { deps, e, plan, sets, segment, ahead };
}

/** Newest first, only as many as hold everything that is leased: `leased` is the union of what open leases hold. */
export async function openLeases(deps: Pick<OrchestratorDeps, "tasks">, segment: Segment): Promise<Lease[]> {
  const open: Lease[] = [];
  let left = segment.leased;
  let cursor: string | undefined;
  while (!isEmptySet(left)) {
    const limit = cursor === undefined ? NEWEST : LEASE_PAGE;
    const page = await deps.tasks.listLeases(segment.key, { limit, ...(cursor === undefined ? {} : { cursor }) });
    for (const lease of page.items.filter((l) => l.state === "OPEN")) {
      open.push(lease);
      left = minus(left, lease.hold);
    }
    cursor = page.cursor;
    if (cursor === undefined) break;
  }
  return open;
}

/** Which tasks of a segment are in which state; without `held`, of those that no worker has. */
export async function statesIn(at: Reading, key: SegmentKey, stored: Segment | undefined, held = true): Promise<Masks> {
  const { e, plan, sets, deps } = at;
  const planSet = plan.sets[key.set] as PlanSet;
  const set = sets[key.set] as TaskSet;
  const whole = wholeSegment(planSet.count, key.segment);
  const masks = new Map<TaskState, IndexSet>();
  const add = (state: TaskState, tasks: IndexSet) => masks.set(state, union(masks.get(state) ?? emptySet(), tasks));
  if (set.skipAll) return masks.set("SKIPPED", whole);
  if (stored !== undefined) {
    add("COMPLETED", stored.done);
    add("FAILED", stored.failed);
    add("SKIPPED", stored.skipped);
    if (held) await Promise.all((await openLeases(deps, stored)).map((lease) => addHeld(at, lease, add)));
  }
  const pending = stored === undefined ? whole : pendingOf(stored, planSet.count);
  if (isEmptySet(pending)) return masks;
  if (e.status === "CANCELED") add("CANCELED", pending);
  else if (isTerminal(e.status)) add("SKIPPED", pending);
  else {
    const ready = await readyIn(at, key, planSet);
    add("QUEUED", intersect(pending, ready));
    add("WAITING", minus(pending, ready));
  }
  return masks;
}

/** What its worker said last of a lease's tasks; what it committed is done, whether folded or not. */
async function addHeld({ deps }: Reading, lease: Lease, add: (state: TaskState, tasks: IndexSet) => void): Promise<void> {
  const { hold, done, failed } = lease;
  add("COMPLETED", intersect(hold, done));
  const rest = minus(hold, done);
  const phases = (await deps.workers.readWorker(lease.worker))?.phases.get(leaseName(lease.key));
  if (phases === undefined) return add("RUNNING", rest);
  const left = minus(rest, failed);
  add("QUEUED", intersect(left, phases.queued));
  add("STAGING_IN", intersect(left, phases.stagingIn));
  add("STAGING_OUT", intersect(left, phases.stagingOut));
  add("RUNNING", minus(rest, phases.queued, phases.stagingIn, phases.stagingOut));
}

async function readyIn({ plan, sets, segment }: Reading, key: SegmentKey, planSet: PlanSet): Promise<IndexSet> {
  const segments = new Map<number, Map<number, Segment>>();
  for (const found of await Promise.all(parentPlaces(plan, key).map((p) => segment({ ...key, ...p })))) {
    if (found === undefined) continue;
    const { set, segment: n } = found.key;
    segments.set(set, (segments.get(set) ?? new Map<number, Segment>()).set(n, found));
  }
  const edges = edgesOf(plan)?.into(key);
  return readiness(planSet, key.segment, { sets, segments, ...(edges === undefined ? {} : { edges }) }).ready;
}

export async function listTasks(
  deps: OrchestratorDeps,
  e: Experiment,
  filter: TaskFilter,
): Promise<{ items: TaskView[]; cursor?: string }> {
  const at = await openReading(deps, e);
  const only = filter.set === undefined ? undefined : ordinalOf(at.plan, filter.set);
  const from = readCursor(filter.cursor);
  const items: TaskView[] = [];
  const budget = { segments: SEGMENTS_LOOKED_MAX, leasePages: LEASE_PAGES_MAX };
  for (let set = only ?? from.set; set < at.plan.sets.length && (only === undefined || set === only); set++) {
    if (set < from.set) continue;
    const next = await listSet(at, filter, { set, from: set === from.set ? from.number : 0, items, budget });
    if (next !== undefined) return { items, cursor: `${set}.${next}` };
  }
  return { items };
}

interface Page {
  readonly set: number;
  readonly from: number;
  readonly items: TaskView[];
  readonly budget: { segments: number; leasePages: number };
}

/** Gives where the next page goes on in this set, when it does. */
async function listSet(at: Reading, filter: TaskFilter, page: Page): Promise<number | undefined> {
  const planSet = at.plan.sets[page.set] as PlanSet;
  const { next } = at.sets[page.set] as TaskSet;
  const { budget, items } = page;
  const seek = seekIn(planSet, filter.parameters ?? new Map());
  let n = seek(page.from);
  for (let looked = 0; n !== undefined; ) {
    const { segment } = locate(n);
    if (isHopeless(filter, at.sets[page.set] as TaskSet, segment)) return undefined;
    if (items.length >= filter.limit || budget.segments <= 0 || (budget.leasePages <= 0 && looked > 0)) return n;
    looked++;
    budget.segments -= needsHeld(filter) ? HELD_COSTS : 1;
    const key = { experiment: at.e.id, set: page.set, segment };
    if (segment < next && filter.parameters === undefined && looked > 1 && (looked - 2) % READ_AHEAD === 0)
      at.ahead(key, Math.min(next, segment + READ_AHEAD));
    n = await listSegment(at, filter, { key, born: segment < next, from: n, seek, page });
  }
  return undefined;
}

interface InSegment {
  readonly key: SegmentKey;
  readonly born: boolean;
  readonly from: number;
  readonly seek: Seek;
  readonly page: Page;
}

/** Takes what matches, up to the page's limit; gives the next number to look at. */
async function listSegment(at: Reading, filter: TaskFilter, { key, born, from, seek, page }: InSegment): Promise<number | undefined> {
  const first = key.segment * SEGMENT_TASKS;
  const stored = born ? await at.segment(key) : undefined;
  const masks = await statesIn(at, key, stored, needsHeld(filter));
  const chosen = await matching(at, filter, { key, stored, masks }, page.budget);
  if (isEmptySet(chosen)) return seek(first + SEGMENT_TASKS);
  let n: number | undefined = from;
  for (; n !== undefined && n < first + SEGMENT_TASKS && page.items.length < filter.limit; n = seek(n + 1)) {
    const index = n - first;
    if (!hasIndex(chosen, index)) continue;
    page.items.push(viewOf(at, key.set, n, stateIn(masks, index), stored?.tries.get(index)?.attempts ?? 0));
  }
  return n;
}

const PENDING: ReadonlySet<TaskState> = new Set<TaskState>(["QUEUED", "WAITING", "CANCELED", "SKIPPED"]);
/** Segments that are read together once the first one was not enough: a filter may match few of them. */
const READ_AHEAD = 50;
/** Nobody has a task in one of these. */
const DECIDED: ReadonlySet<TaskState> = new Set<TaskState>(["FAILED", "SKIPPED", "CANCELED", "WAITING"]);

const needsHeld = ({ states, worker }: TaskFilter): boolean => worker !== undefined || states?.every((s) => DECIDED.has(s)) !== true;

/** Nothing from this segment on is born: none of it is in one of the wanted states, or has been anywhere. */
function isHopeless({ states, cause, worker }: TaskFilter, t: TaskSet, segment: number): boolean {
  if (segment < t.next || t.skipAll) return false;
  return cause !== undefined || worker !== undefined || (states !== undefined && !states.some((s) => PENDING.has(s)));
}

async function matching(
  at: Reading,
  filter: TaskFilter,
  { key, stored, masks }: { readonly key: SegmentKey; readonly stored: Segment | undefined; readonly masks: Masks },
  budget: Page["budget"],
): Promise<IndexSet> {
  const { count } = at.plan.sets[key.set] as PlanSet;
  const { states, cause, worker } = filter;
  let chosen = states === undefined ? wholeSegment(count, key.segment) : union(...states.map((s) => masks.get(s) ?? emptySet()));
  if (cause === undefined && worker === undefined) return chosen;
  if (stored === undefined || isEmptySet(chosen)) return emptySet();
  if (cause !== undefined) chosen = intersect(chosen, stored.failed);
  if (isEmptySet(chosen)) return chosen;
  const leases: Lease[] = [];
  let cursor: string | undefined;
  do {
    const page = await at.deps.tasks.listLeases(key, { limit: LEASE_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    leases.push(...page.items);
    cursor = page.cursor;
    budget.leasePages--;
  } while (cursor !== undefined);
  if (worker !== undefined) {
    const there = leases.filter((l) => l.worker.id === worker || workerName(l.worker) === worker);
    chosen = intersect(chosen, union(...there.map((l) => union(l.hold, l.done, l.failed))));
  }
  if (cause === undefined) return chosen;
  const last = new Map<number, string | undefined>();
  for (const l of leases) for (const [index, why] of l.causes) if (!last.has(index)) last.set(index, why);
  return intersect(chosen, setOf([...last].filter(([, why]) => why === cause).map(([index]) => index)));
}

export const stateIn = (masks: Masks, index: number): TaskState =>
  TASK_STATES.find((state) => hasIndex(masks.get(state) ?? emptySet(), index)) ?? "QUEUED";

export function viewOf({ plan }: Pick<Reading, "plan">, set: number, number: number, state: TaskState, attempts: number): TaskView {
  const { name } = plan.sets[set] as PlanSet;
  return { task: `${name}/${number}`, set: name, number, state, parameters: parametersOf(plan, set, number), attempts };
}
