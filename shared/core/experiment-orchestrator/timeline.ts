/**
 * How many tasks of each set were where over an experiment's life, from the paces that its segments and open leases carry:
 * one item for 4,096 tasks, no result is read. Times are as fine as those paces are cut.
 */
import type { Experiment, TaskSet } from "#domain/experiment.ts";
import { isTerminal } from "#domain/experiment.ts";
import { isEmptySet } from "#domain/index-set.ts";
import { addPace, NO_PACE, type Pace, widthOf } from "#domain/pace.ts";
import type { ExperimentOrchestrator, SetTimeline } from "./index.ts";
import { TIMELINE_LEASED_SEGMENTS, TIMELINE_SEGMENTS } from "./limits.ts";
import { findExperiment } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { openLeases } from "./task-list.ts";
import { segmentsOf } from "./view.ts";

/** Narrower steps than the finest pace would show nothing more. */
const STEP_MIN_MS = widthOf(NO_PACE);

export const createTimelineReading = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "timeline"> => ({
  timeline: async (id, points) => readTimeline(deps, await findExperiment(deps, id), points),
});

async function readTimeline(deps: OrchestratorDeps, e: Experiment, points: number): ReturnType<ExperimentOrchestrator["timeline"]> {
  const fromMs = e.startedAtMs ?? e.createdAtMs;
  const toMs = Math.max(fromMs + 1, e.endedAtMs !== undefined && isTerminal(e.status) ? e.endedAtMs : deps.clock.now());
  const stepMs = Math.max(STEP_MIN_MS, Math.ceil((toMs - fromMs) / points));
  const steps = { fromMs, stepMs, count: Math.max(1, Math.ceil((toMs - fromMs) / stepMs)) };
  if (e.status === "DELETING") return { fromMs, stepMs, partial: false, sets: [] };
  const { plan } = await deps.plans.of(e.id);
  const room = { segments: TIMELINE_SEGMENTS, leased: TIMELINE_LEASED_SEGMENTS };
  const sets: SetTimeline[] = [];
  for (const t of await deps.tasks.readSets(e.id)) {
    const counted = countsIn(await pacesOf(deps, t, room), steps);
    sets.push({ set: plan.sets[t.ordinal]?.name ?? "", total: t.count, ...standing(t.count, counted) });
  }
  return { fromMs, stepMs, partial: room.segments < 0 || room.leased < 0, sets };
}

async function pacesOf(deps: OrchestratorDeps, t: TaskSet, room: { segments: number; leased: number }): Promise<Pace[]> {
  const paces: Pace[] = [];
  for await (const s of segmentsOf(deps, t)) {
    if (--room.segments < 0) break;
    let pace = s.pace ?? NO_PACE;
    // What open leases have committed is not in their segment yet.
    if (!isEmptySet(s.leased) && --room.leased >= 0)
      for (const lease of await openLeases(deps, s)) pace = addPace(pace, lease.pace ?? NO_PACE);
    if (pace.counts.length > 0) paces.push(pace);
  }
  return paces;
}

interface Steps {
  readonly fromMs: number;
  readonly stepMs: number;
  readonly count: number;
}

type Counts = Readonly<Record<"started" | "began" | "done" | "failed", readonly number[]>>;

/** In each step; what lies before or after is counted with the first or last. */
function countsIn(paces: readonly Pace[], { fromMs, stepMs, count }: Steps): Counts {
  const made = [0, 1, 2, 3].map(() => new Array<number>(count).fill(0)) as [number[], number[], number[], number[]];
  for (const pace of paces) {
    const width = widthOf(pace);
    pace.counts.forEach((counts, i) => {
      const middleMs = (pace.first + i + 0.5) * width;
      const step = Math.min(count - 1, Math.max(0, Math.floor((middleMs - fromMs) / stepMs)));
      counts.forEach((n, kind) => {
        const series = made[kind];
        if (series !== undefined) series[step] = (series[step] ?? 0) + n;
      });
    });
  }
  return { started: made[0], began: made[1], done: made[2], failed: made[3] };
}

/** At the end of each step. */
function standing(total: number, counts: Counts): Omit<SetTimeline, "set" | "total"> {
  const rising = (series: readonly number[]): number[] => {
    let sum = 0;
    return series.map((n) => (sum += n));
  };
  const [started, began, done, failed] = [rising(counts.started), rising(counts.began), rising(counts.done), rising(counts.failed)];
  const at = (series: readonly number[], i: number): number => series[i] ?? 0;
  const staging = started.map((n, i) => n - at(began, i));
  const running = began.map((n, i) => n - at(done, i) - at(failed, i));
  const queued = done.map((n, i) => Math.max(0, total - n - at(staging, i) - at(running, i)));
  return { queued, staging, running, done, failedAttempts: failed };
}
