/** The invariants, checked against the table after every write that was applied, and the history of every attempt. */
import { addCapacity, type Capacity, NO_CAPACITY } from "#domain/capacity.ts";
import {
  emptySet,
  hasIndex,
  type IndexSet,
  intersect,
  isEmptySet,
  isWithin,
  members,
  minus,
  sameSet,
  SEGMENT_TASKS,
  sizeOf,
  union,
} from "#domain/index-set.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import { decodeLists, listAt } from "#domain/lists.ts";
import { ownerOf } from "#domain/object-owner.ts";
import type { Plan } from "#domain/plan.ts";
import { type Segment, segmentName, wholeSegment } from "#domain/segment.ts";
import { workerName } from "#domain/worker.ts";
import type { MemoryTable } from "#adapters/memory/table.ts";

export class Violation extends Error {}

export interface Checker {
  /** Call before a write is applied; the result is called after it. */
  around(): () => void;
  /** T5: throws unless everything that this task depends on is committed. */
  mayStart(lease: string, index: number): void;
  acknowledged(lease: string, tasks: IndexSet): void;
  /** Result objects that nobody will refer to any more. */
  orphans(objects: ReadonlyMap<string, string>): readonly string[];
  /** At the end, when nothing moves any more. */
  final(objects: ReadonlyMap<string, string>): void;
  readonly runs: Map<string, string>;
}

function need(condition: boolean, text: () => string): asserts condition {
  if (!condition) throw new Violation(text());
}

export function createChecker(table: MemoryTable, plan: Plan): Checker {
  const runs = new Map<string, string>();
  const acks: { lease: string; index: number }[] = [];

  const segmentAt = (like: { experiment: string }, set: number, segment: number): Segment | undefined =>
    table.segments.get(`${like.experiment}/${set}/${segment}`);

  function committedSet(like: { experiment: string }, ordinal: number): boolean {
    const { count } = plan.sets[ordinal] as { count: number };
    for (let n = 0; n * SEGMENT_TASKS < count; n++) {
      const s = segmentAt(like, ordinal, n);
      if (s === undefined || !sameSet(s.done, wholeSegment(count, n))) return false;
    }
    return true;
  }

  function isDone(like: { experiment: string }, set: number, task: number): boolean {
    const s = segmentAt(like, set, Math.floor(task / SEGMENT_TASKS));
    return s !== undefined && hasIndex(s.done, task % SEGMENT_TASKS);
  }

  const lists = plan.sets.map(({ edges, count }) => (edges === undefined ? undefined : decodeLists(edges, count)));
  function explicitParents(set: number, task: number): { set: number; task: number }[] {
    const list = lists[set];
    return [...(list === undefined ? [] : listAt(list, task))].map((number) => {
      let [parent, left] = [0, number];
      for (; left >= (plan.sets[parent]?.count ?? Number.POSITIVE_INFINITY); parent++) left -= plan.sets[parent]?.count as number;
      return { set: parent, task: left };
    });
  }

  function isReady(key: Segment["key"], index: number): boolean {
    const set = plan.sets[key.set] as Plan["sets"][number];
    if (!set.after.every((p) => committedSet(key, p))) return false;
    const task = key.segment * SEGMENT_TASKS + index;
    if (!explicitParents(key.set, task).every((p) => isDone(key, p.set, p.task))) return false;
    const parent = Math.floor(task / set.factor);
    return set.foreach.every((p) => isDone(key, p, parent));
  }

  function checkNewLease(l: Lease): void {
    const e = table.experiments.get(l.key.experiment);
    need(e?.status === "RUNNING", () => `T6 lease ${leaseName(l.key)} created while ${e?.status}`);
    const held = [...table.segments.values()].reduce((sum, s) => sum + sizeOf(s.leased), 0);
    need(held <= (e.tasksAtOnce ?? held), () => `${held} tasks are held at once, ${e.tasksAtOnce} may be`);
    const w = table.workers.get(workerName(l.worker));
    need(w?.state === "READY", () => `W1 lease ${leaseName(l.key)} to a worker that is ${w?.state}`);
    for (const i of members(l.hold)) need(isReady(l.key, i), () => `T5 ${leaseName(l.key)} holds ${i} before its parents are committed`);
  }

  function checkChangedLease(old: Lease, now: Lease): void {
    const name = leaseName(now.key);
    need(old.state === "OPEN" || old === now, () => `T2 closed lease ${name} changed`);
    need(isWithin(minus(now.done, old.done), old.hold), () => `T2 commit outside of the hold of ${name}`);
    need(isWithin(old.done, now.done) && isWithin(old.failed, now.failed), () => `T4 a commit of ${name} was undone`);
  }

  function checkSegment(s: Segment, leases: readonly Lease[]): void {
    const name = segmentName(s.key);
    let held = emptySet();
    let done = emptySet();
    for (const l of leases) {
      if (l.state === "OPEN") {
        need(isEmptySet(intersect(held, l.hold)), () => `T1 a task of ${name} is in two live leases`);
        held = union(held, l.hold);
      }
      need(isEmptySet(intersect(done, l.done)), () => `T3 a task of ${name} was committed twice`);
      done = union(done, l.done);
      const folded = l.state === "CLOSED" ? l.done : minus(l.done, l.hold);
      need(isWithin(folded, s.done), () => `T4 done tasks of ${leaseName(l.key)} were lost by a settlement`);
    }
    need(isWithin(s.done, done), () => `done without a commit in ${name}`);
    need(sameSet(held, s.leased), () => `T1 leased of ${name} differs from its open leases`);
    need(
      isEmptySet(intersect(s.done, union(s.failed, s.skipped, s.leased))) && isEmptySet(intersect(s.failed, union(s.skipped, s.leased))),
      () => `states overlap in ${name}`,
    );
  }

  function checkWorkers(): void {
    const used = new Map<string, { sum: Capacity; names: Set<string> }>();
    for (const l of table.leases.values()) {
      if (l.state !== "OPEN") continue;
      const u = used.get(workerName(l.worker)) ?? { sum: NO_CAPACITY, names: new Set() };
      used.set(workerName(l.worker), { sum: addCapacity(u.sum, l.reserved), names: u.names.add(leaseName(l.key)) });
    }
    for (const w of table.workers.values()) {
      const u = used.get(workerName(w.key)) ?? { sum: NO_CAPACITY, names: new Set() };
      need(w.free.cpuMilli >= 0, () => `W2 more than ${workerName(w.key)} registered was handed out`);
      need(
        w.free.cpuMilli + u.sum.cpuMilli === w.cap.cpuMilli,
        () => `W2 capacity of ${workerName(w.key)} leaked: free ${w.free.cpuMilli} used ${u.sum.cpuMilli} cap ${w.cap.cpuMilli}`,
      );
      need(
        w.leases.size === u.names.size && [...u.names].every((n) => w.leases.has(n)),
        () => `the leases of ${workerName(w.key)} differ from its open ones`,
      );
      used.delete(workerName(w.key));
    }
    for (const name of used.keys()) throw new Violation(`open leases name ${name}, which is gone`);
  }

  /** While it is being deleted, what is left of it need not add up. */
  const isGoing = (id: string): boolean => !table.experiments.has(id) || table.experiments.get(id)?.status === "DELETING";

  function checkDeleted(l: Lease): void {
    need(isGoing(l.key.experiment), () => `lease ${leaseName(l.key)} was deleted`);
    need(l.state === "CLOSED", () => `lease ${leaseName(l.key)} was deleted while it was open`);
  }

  /** Nothing is left of an experiment, and nothing comes back. */
  function checkGone(): void {
    const owners = [
      ...[...table.gates.values(), ...table.sets.values()].map((item) => item.experiment),
      ...[...table.segments.values(), ...table.leases.values()].map((item) => item.key.experiment),
    ];
    for (const id of owners) need(table.experiments.has(id), () => `something is left of ${id}, which was deleted`);
    for (const id of table.tombstones) need(!table.experiments.has(id), () => `${id} was deleted and came back`);
  }

  function checkSets(): void {
    for (const t of table.sets.values()) {
      if (isGoing(t.experiment)) continue;
      const sum = { closed: 0, done: 0, failed: 0, skipped: 0 };
      for (const s of table.segments.values()) {
        if (s.key.experiment !== t.experiment || s.key.set !== t.ordinal || !s.closed) continue;
        sum.closed++;
        sum.done += sizeOf(s.done);
        sum.failed += sizeOf(s.failed);
        sum.skipped += sizeOf(s.skipped);
      }
      need(
        sum.closed === t.closed && sum.done === t.done && sum.failed === t.failed && (t.skipAll || sum.skipped === t.skipped),
        () => `sums of set ${t.ordinal} differ: ${JSON.stringify(sum)} ${JSON.stringify(t)}`,
      );
    }
  }

  function checkEnded(): void {
    for (const e of table.experiments.values()) {
      if (e.status !== "COMPLETED" && e.status !== "FAILED") continue;
      for (const t of table.sets.values()) {
        if (t.skipAll) continue;
        for (let n = 0; n < t.segments; n++) {
          const s = segmentAt({ experiment: e.id }, t.ordinal, n);
          need(
            s !== undefined && sameSet(union(s.done, s.failed, s.skipped), wholeSegment(t.count, n)),
            () => `${e.status} with unfinished tasks in set ${t.ordinal} segment ${n}`,
          );
        }
      }
    }
  }

  return {
    runs,
    around() {
      const leases = new Map(table.leases);
      return () => {
        const groups = new Map<string, Lease[]>();
        for (const [name, l] of table.leases) {
          const old = leases.get(name);
          if (old === undefined) checkNewLease(l);
          else if (old !== l) checkChangedLease(old, l);
          const key = segmentName(l.key);
          groups.set(key, [...(groups.get(key) ?? []), l]);
        }
        for (const [name, l] of leases) if (!table.leases.has(name)) checkDeleted(l);
        checkGone();
        for (const s of table.segments.values()) checkSegment(s, groups.get(segmentName(s.key)) ?? []);
        checkWorkers();
        checkSets();
        checkEnded();
      };
    },
    mayStart(lease, index) {
      const l = table.leases.get(lease);
      // An agent may not have heard of it yet; what it does counts for nothing.
      if (l === undefined && isGoing(lease.split("/")[0] ?? "")) return;
      need(l !== undefined, () => `started under an unknown lease ${lease}`);
      need(isReady(l.key, index), () => `T5 ${lease} task ${index} started before its parents were committed`);
    },
    acknowledged(lease, tasks) {
      const l = table.leases.get(lease);
      // It was committed when the gateway read it.
      if (l === undefined && isGoing(lease.split("/")[0] ?? "")) return;
      for (const index of members(tasks)) {
        need(
          l !== undefined && hasIndex(union(l.done, l.failed), index),
          () => `T4 ${lease} task ${index} acknowledged before it was committed`,
        );
        acks.push({ lease, index });
      }
    },
    orphans: (objects) =>
      [...objects.keys()].filter((key) => {
        const lease = ownerOf(key)?.lease;
        if (lease === undefined) return false;
        const l = table.leases.get(leaseName(lease));
        return l === undefined || (l.state === "CLOSED" && !l.refs.some((ref) => ref.key === key));
      }),
    final(objects) {
      for (const { lease, index } of acks) {
        if (isGoing(lease.split("/")[0] ?? "")) continue;
        const l = table.leases.get(lease);
        need(l !== undefined && hasIndex(union(l.done, l.failed), index), () => `T4 acknowledged task ${index} of ${lease} is lost`);
        const ref = l.refs.find((r) => hasIndex(r.mask, index));
        const body = ref === undefined ? undefined : objects.get(ref.key);
        const results = body === undefined ? [] : (JSON.parse(body) as { results: { index: number; message: string }[] }).results;
        need(
          results.find((r) => r.index === index)?.message === runs.get(`${lease}/${index}`),
          () => `T4 the acknowledged result of ${lease} task ${index} is not in its result object`,
        );
      }
      for (const s of table.segments.values()) {
        const set = plan.sets[s.key.set] as Plan["sets"][number];
        for (const i of members(s.skipped))
          need(!isReady(s.key, i), () => `task ${i} of ${segmentName(s.key)} is skipped although its parents are done`);
        need(set !== undefined, () => "unknown set");
      }
      for (const t of table.sets.values()) {
        const { after, name } = plan.sets[t.ordinal] as Plan["sets"][number];
        need(!t.skipAll || !after.every((p) => committedSet(t, p)), () => `the set ${name} is skipped although all before it is done`);
      }
    },
  };
}
