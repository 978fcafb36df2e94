/** Each rule of the protocol, dropped: changes of the source text, each of which must occur exactly once. */
export interface Edit {
  /** End of the file's path. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

const TABLE = "shared/adapters/memory/task-store.ts";
const WORKERS = "shared/adapters/memory/worker-store.ts";
const PASS = "shared/core/task-scheduler/pass.ts";
const FOLD = "shared/core/task-scheduler/fold.ts";
const CONTROL = "shared/core/task-scheduler/control.ts";
const SETTLEMENT = "shared/core/task-scheduler/settlement.ts";
const SWEEP = "shared/core/task-scheduler/object-sweep.ts";
const ELIGIBILITY = "shared/core/task-scheduler/eligibility.ts";
const LIFECYCLE = "shared/core/worker-lifecycle/worker-lifecycle.ts";
const GATEWAY = "worker/gateway/gateway.ts";
const AGENT = "worker/agent/agent.ts";

export const MUTATIONS: Readonly<Record<string, readonly Edit[]>> = {
  // Assign checks the experiment's gate inside its transaction.
  gate: [
    {
      file: TABLE,
      find: "    gateIsOpen(table, change.gate),\n    ...turnstile(table, change),",
      replace: "    ...turnstile(table, change),",
    },
  ],
  // Writes of a segment are conditional on its version.
  segver: [{ file: TABLE, find: "stored.version === expect.version && ", replace: "" }],
  // A commit is a compare-and-swap on the lease's revision.
  revcommit: [
    {
      file: TABLE,
      find: "return transact([leaseWrite(table, change, 0)]);",
      replace:
        "return transact([{ ...leaseWrite(table, change, 0), check: () => table.leases.get(leaseName(change.post.key))?.state === 'OPEN' }]);",
    },
  ],
  // A settlement is conditional on the lease's revision.
  revsettle: [
    {
      file: TABLE,
      find: "leases.map((l, index) => leaseWrite(table, l, index))",
      replace:
        "leases.map((l, index) => ({ ...leaseWrite(table, l, index), check: () => table.leases.get(leaseName(l.post.key))?.state === 'OPEN' }))",
    },
  ],
  // A commit needs an open lease of its revision.
  fence: [
    {
      file: TABLE,
      find: "return transact([leaseWrite(table, change, 0)]);",
      replace: "return transact([{ ...leaseWrite(table, change, 0), check: () => true }]);",
    },
  ],
  // A commit drops tasks that its lease holds no more.
  holdcheck: [
    {
      file: FOLD,
      find: "const open = minus(lease.hold, lease.done, lease.failed);",
      replace: "const open = minus(union(batch.done, setOf(batch.failed.keys())), lease.done, lease.failed);",
    },
  ],
  // Result objects have names of their own and are never written over.
  s3key: [{ file: GATEWAY, find: "-${s.number}-${++written}-${sha256.slice(0, 16)}`", replace: "`" }],
  // A re-registration is a new item; the old one stays until its leases are settled.
  incarnation: [
    {
      file: WORKERS,
      find: 'old !== undefined && table.workers.set(oldName, { ...old, state: "DEAD" })',
      replace: "old !== undefined && table.workers.delete(oldName)",
    },
  ],
  // The reaper lists leases by a strong read after DEAD, and deletes only what has none.
  reapstrong: [
    {
      file: LIFECYCLE,
      find: '  const worker = await deps.workers.readWorker(key);\n  if (worker?.state !== "DEAD") return [];',
      replace: "  const worker = before;\n  if (worker === undefined) return [];",
    },
    {
      file: LIFECYCLE,
      find: "async function reclaim(deps: WorkerLifecycleDeps, key: WorkerKey)",
      replace: "async function reclaim(deps: WorkerLifecycleDeps, key: WorkerKey, before: Worker | undefined)",
    },
    {
      file: LIFECYCLE,
      find: "await reclaim(deps, key)",
      replace: "await reclaim(deps, key, all.find((w) => w.key.id === key.id && w.key.incarnation === key.incarnation))",
    },
    { file: WORKERS, find: 'worker?.state === "DEAD" && worker.leases.size === 0', replace: 'worker?.state === "DEAD"' },
  ],
  // Assign needs a worker that is READY.
  wstate: [{ file: TABLE, find: '      worker.state === "READY" &&\n', replace: "" }],
  // A beat compares the worker's leases with its agent's, both ways.
  reconcile: [
    {
      file: LIFECYCLE,
      find: "  const agent = new Map(",
      replace:
        '  if (outcome.kind === "done") return { kind: "seen", deliver: [], acknowledge: [], drop: [], folded: [] };\n  const agent = new Map(',
    },
  ],
  // The timer looks at every live experiment.
  timer: [
    {
      file: "shared/core/task-scheduler/sweep.ts",
      find: "    for (const e of live) {",
      replace: "    for (const e of live.slice(0, 0)) {",
    },
  ],
  // A worker is told of a commit only after it is known to be applied.
  ackorder: [
    {
      file: GATEWAY,
      find: "    const r = await settle({ lease: key, batches: [batch], fold });",
      replace:
        '    send(s, { $case: "acknowledged", value: { lease: name, tasks: encodeSet(committed) } });\n    const r = await settle({ lease: key, batches: [batch], fold });',
    },
  ],
  // An unknown outcome is read again, never taken for success.
  unknown: [
    {
      file: SETTLEMENT,
      find: 'if (outcome.kind === "done") reports.push(report(d.request.lease, post, false));',
      replace: 'if (outcome.kind !== "refused") reports.push(report(d.request.lease, post, false));',
    },
  ],
  // A set's sums move in the transaction that closes the segment.
  countertx: [
    {
      file: SETTLEMENT,
      find: "...(sums === undefined ? {} : { sums }) });",
      replace: "...(sums === undefined || deps.random.next() < 0.9 ? {} : { sums }) });",
    },
  ],
  // Reopening a closed segment takes back what it had added.
  recount: [{ file: CONTROL, find: "...(reopens ? { sums: sumsOf(segment, -1) } : {}),", replace: "" }],
  // What stands behind failed tasks is skipped.
  skip: [{ file: PASS, find: "    if (!isEmptySet(c.skip)) progress", replace: "    if (!isEmptySet(c.skip) && false) progress" }],
  // A retry clears what was skipped.
  unskip: [
    {
      file: CONTROL,
      find: "const cleared = { ...segment, failed: minus(segment.failed, selected), skipped: emptySet() };",
      replace: "const cleared = { ...segment, failed: minus(segment.failed, selected) };",
    },
  ],
  // What is derived from failures is fenced by the generation of the gate.
  rgen: [
    { file: TABLE, find: 'stored?.status === "RUNNING" && stored.generation === gate.generation', replace: 'stored?.status === "RUNNING"' },
  ],
  // Completion is fenced by the generation of the experiment.
  rgencomplete: [{ file: CONTROL, find: "        now.generation === before.generation\n", replace: "        now.version >= 0\n" }],
  // Unstable facts are read after the gate that fences them.
  strongfail: [
    { file: PASS, find: "  const sets = await deps.store.readSets(e.id);\n", replace: "" },
    {
      file: PASS,
      find: "  const open = await Promise.all(",
      replace:
        "  const sets = await deps.store.readSets(e.id);\n  await deps.clock.sleep(deps.random.next() * 10_000);\n  const open = await Promise.all(",
    },
  ],
  // Readiness comes from committed tasks only.
  readiness: [
    {
      file: ELIGIBILITY,
      find: "project(n, planSet, segments, (s) => s.done)",
      replace: "project(n, planSet, segments, (s) => union(s.done, s.leased))",
    },
  ],
  // So it is along explicit edges.
  edges: [
    {
      file: ELIGIBILITY,
      find: "return { done: s?.done ?? none,",
      replace: "return { done: s === undefined ? none : union(s.done, s.leased),",
    },
  ],
  // What waits for a task that was lost is skipped, along explicit edges too.
  edgeskip: [{ file: ELIGIBILITY, find: "if (parent.isLost(i) ||", replace: "if (false ||" }],
  // An agent never starts a (lease, task) twice in one life.
  tomb: [{ file: AGENT, find: "    tombstones.add(name);\n    if (", replace: "    if (" }],
  // A task that the agent was given and has no more is taken back.
  inventory: [
    { file: LIFECYCLE, find: 'back: { tasks: has.gone, cause: "given-back" }', replace: 'back: { tasks: has.held, cause: "given-back" }' },
  ],
  // A task that is lost with worker after worker is failed.
  poison: [{ file: FOLD, find: "      if (losses >= LOSSES_MAX) spent.push(i);\n", replace: "" }],
  // Assignments of an experiment with a limit are computed one after the other.
  turnstile: [{ file: PASS, find: "    ...turnstiles.of(c.experiment),\n", replace: "" }],
  // Objects of open leases are never swept.
  sweepopen: [{ file: SWEEP, find: '  if (lease.state === "OPEN") return false;\n', replace: "" }],
  // What no committed result names is swept.
  sweepclosed: [{ file: SWEEP, find: "return !lease.refs.some((ref) => ref.key === key);", replace: "return false;" }],
  // Only what has no open lease is deleted.
  deleteopen: [{ file: CONTROL, find: "(now.live ? undefined : { ", replace: "({ " }],
  // A deleted experiment leaves a tombstone.
  tombstone: [{ file: TABLE, find: " && !table.tombstones.has(id)", replace: "" }],
  // A deletion that broke off is carried on.
  deletesaga: [{ file: CONTROL, find: 'e.status === "DELETING" && ', replace: "false && " }],
  // Capacity comes back in the transaction that closes the lease.
  wret: [
    {
      file: TABLE,
      find: "...segmentWrite(table, segment, sums), ...returns(table, leases)];",
      replace: "...segmentWrite(table, segment, sums)];",
    },
  ],
};
