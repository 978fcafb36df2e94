/**
 * Whenever something waits, explain names causes, and they are the right ones: with all of them removed the task runs, with
 * any of them left it does not, and what is removed is not named again. Planted wrong explanations are caught.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Explanation } from "#core/task-scheduler/index.ts";
import type { Cause, CauseKind, Why } from "#domain/cause.ts";
import { isTerminal } from "#domain/experiment.ts";
import { hasIndex } from "#domain/index-set.ts";
import type { PlanSet } from "#domain/plan.ts";
import type { Worker } from "#domain/worker.ts";
import { aDraw, type Draw, remove, TARGET, twinsOf, type World, worldOf } from "../support/waiting-world.ts";

type Lens = (e: Explanation) => Explanation;
const honest: Lens = (e) => e;

/** What people do about one cause is done with one cause: these end by themselves, or with what others do. */
const PASSING: ReadonlySet<CauseKind> = new Set<CauseKind>(["dependency", "room-taken", "behind-others"]);
const STEPS_MAX = 80;
const RUNS = 150;

interface Task {
  readonly set: PlanSet;
  readonly ordinal: number;
  readonly number: number;
}

const stateOf = (world: World, { ordinal, number }: Task): "waits" | "held" | "ended" => {
  const segment = world.table.segments.get(`${TARGET}/${ordinal}/0`);
  if (world.table.sets.get(`${TARGET}/${ordinal}`)?.skipAll === true) return "ended";
  if (segment === undefined) return "waits";
  if (hasIndex(segment.leased, number)) return "held";
  return [segment.done, segment.failed, segment.skipped].some((s) => hasIndex(s, number)) ? "ended" : "waits";
};

const tasksOf = (world: World): Task[] =>
  world.plan().sets.flatMap((set, ordinal) => Array.from({ length: set.count }, (_, number) => ({ set, ordinal, number })));

const ask = async (world: World, { set, number }: Task, lens: Lens) => lens(await world.explain(set.name, number));
const bound = (causes: readonly Cause[]) => causes.map((c) => c.why);

/** Everything that was promised of an explanation of a task that waits. */
async function check(world: World, task: Task, lens: Lens): Promise<Explanation> {
  const told = await ask(world, task, lens);
  const name = `${task.set.name}/${task.number}`;
  expect(told.waiting, name).toBe(1);
  expect(told.causes, `${name} waits without a cause`).not.toHaveLength(0);
  const kinds = told.causes.map((c) => c.why.kind);
  expect(new Set(kinds).size, `${name}: ${kinds}`).toBe(kinds.length);
  // A pass has just found nothing to do.
  expect(kinds).not.toContain("about-to-start");
  expect(kinds).not.toContain("parent-failed");
  for (const why of bound(told.causes)) await checkBinding(world, task, why, told);
  return told;
}

/** With every other cause removed, and this one left, the task still waits. */
async function checkBinding(world: World, task: Task, left: Why, told: Explanation): Promise<void> {
  const copy = await world.copy();
  if (!PASSING.has(left.kind)) {
    for (const why of bound(told.causes)) if (why !== left && !PASSING.has(why.kind)) await remove(copy, why, task.set);
    await copy.pass();
    expect(stateOf(copy, task), `${task.set.name}/${task.number} runs although "${left.kind}" was not removed`).toBe("waits");
  } else if (left.kind !== "dependency") {
    // Who gets room that becomes free, by what the gateways said at the time of the explanation?
    const own = await Promise.all(twinsOf(world, task.set).map((like) => takesRoom(world, like)));
    const wanted =
      left.kind === "room-taken" ? own.some((takers) => takers.includes(TARGET)) : own.every((t) => t.some((id) => id !== TARGET));
    expect(wanted, `room went to ${JSON.stringify(own)}, told was ${left.kind}`).toBe(true);
  }
}

/** Experiments that get something of this worker, were all of it free. */
async function takesRoom(world: World, like: Worker): Promise<string[]> {
  const copy = await world.copy();
  await copy.workers.drain(like.key);
  const twin = copy.addWorker(like);
  await copy.passAsTold();
  return copy.leases().flatMap((l) => (l.worker.id === twin.key.id ? [l.key.experiment] : []));
}

/** One step towards running the task; the cause that it removes must not be named again. */
async function step(world: World, task: Task, told: Explanation, lens: Lens): Promise<void> {
  const top = (told.causes[0] as Cause).why;
  if (top.kind === "dependency") return upstream(world, told);
  await remove(world, top, task.set);
  await world.pass();
  if (stateOf(world, task) !== "waits" || PASSING.has(top.kind)) return;
  const next = await ask(world, task, lens);
  expect(bound(next.causes), `"${top.kind}" is named again after its removal`).not.toContainEqual(top);
}

/** Tasks before must run, or something that is named must hold them up. */
async function upstream(world: World, told: Explanation): Promise<void> {
  const own = world.leases().filter((l) => l.key.experiment === TARGET);
  if (own.length > 0) for (const lease of own) await world.finish(lease, "done");
  else {
    expect(told.upstream, "a dependency of which nothing runs, and nothing says why").not.toHaveLength(0);
    const { why, set } = told.upstream[0] as Cause;
    await remove(world, why, world.plan().sets.find((s) => s.name === set) as PlanSet);
  }
  await world.pass();
}

async function everythingRuns(draw: Draw, lens: Lens): Promise<void> {
  const world = await worldOf(draw);
  for (let i = 0; i < STEPS_MAX; i++) {
    const experiment = world.table.experiments.get(TARGET);
    if (experiment !== undefined && isTerminal(experiment.status)) return;
    const waiting = tasksOf(world).filter((t) => stateOf(world, t) === "waits");
    await checkSums(world, waiting.length, lens);
    const task = waiting.at(i % 2 === 0 ? 0 : -1);
    if (task === undefined) {
      for (const lease of world.leases()) if (lease.key.experiment === TARGET) await world.finish(lease, "done");
      await world.pass();
      if (experiment?.status === "PAUSED") await world.turn(TARGET, "PAUSED", "RUNNING");
      await world.pass();
    } else await step(world, task, await check(world, task, lens), lens);
  }
  expect.fail(`after ${STEPS_MAX} steps something still waits`);
}

/** Of the experiment as a whole: each task that waits is counted by some cause, none twice by one. */
async function checkSums(world: World, waiting: number, lens: Lens): Promise<void> {
  const told = lens(await world.explain());
  expect(told.waiting).toBe(waiting);
  for (const c of told.causes) expect(c.tasks, c.why.kind).toBeLessThanOrEqual(waiting);
  const most = told.causes.reduce((n, c) => n + c.tasks, 0);
  expect(most).toBeGreaterThanOrEqual(waiting);
}

test("a cause that is named binds, and with all of them removed everything runs", { timeout: 300_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(aDraw, (draw) => everythingRuns(draw, honest)),
    { numRuns: RUNS },
  );
});

const changed =
  (change: (why: Why) => Why | undefined): Lens =>
  (e) => ({ ...e, causes: e.causes.flatMap((c) => (change(c.why) === undefined ? [] : [{ ...c, why: change(c.why) as Why }])) });

const FAULTS: Readonly<Record<string, Lens>> = {
  "names no cause where all room is taken": changed((why) => (why.kind === "room-taken" ? undefined : why)),
  "leaves out that the experiment is paused": changed((why) => (why.kind === "paused" ? undefined : why)),
  "names a back-off that is over": (e) => ({
    ...e,
    causes:
      e.waiting === 1 && e.causes.length > 0 ? [...e.causes, { why: { kind: "retry-wait", untilMs: 0 }, tasks: 1, exact: true }] : e.causes,
  }),
  "tells a back-off too short": changed((why) => (why.kind === "retry-wait" ? { ...why, untilMs: why.untilMs - 1 } : why)),
  "tells too little of what is short": changed((why) =>
    why.kind === "no-worker-fits" && why.short.cpuMilli > 0 ? { ...why, short: { ...why.short, cpuMilli: why.short.cpuMilli - 1 } } : why,
  ),
  "names one of the packages that are missing": changed((why) =>
    why.kind === "environment-missing" ? { ...why, missing: why.missing.slice(1) } : why,
  ),
  "tells too short a walltime": changed((why) => (why.kind === "ends-too-soon" ? { ...why, neededMs: why.neededMs - 1 } : why)),
  "forgets who comes first": changed((why) => (why.kind === "behind-others" ? { ...why, kind: "room-taken" } : why)),
  "blames others who come later": changed((why) =>
    why.kind === "room-taken" ? { ...why, kind: "behind-others", ahead: 1, aheadOwn: 0 } : why,
  ),
  "takes a forbidden resource for one without workers": changed((why) =>
    why.kind === "resource-forbidden" ? { kind: "no-workers", resources: why.resources } : why,
  ),
  "says nothing of what parents wait for": (e) => ({ ...e, upstream: [] }),
  "takes draining workers for small ones": changed((why) => (why.kind === "draining" ? { kind: "no-workers", resources: [] } : why)),
};

describe("catches an explanation that", () => {
  test.for(Object.entries(FAULTS))("%s", { timeout: 300_000 }, async ([, lens]) => {
    const found = await fc.check(
      fc.asyncProperty(aDraw, (draw) => everythingRuns(draw, lens)),
      { numRuns: 1_000, endOnFailure: true, seed: 7 },
    );
    expect(found.failed).toBe(true);
  });
});
