/** What failed, by set and cause, with the first examples: a bounded look, so that a million failures are summed up as fast as ten. */
import type { Experiment } from "#domain/experiment.ts";
import { hasIndex, isEmptySet, members, SEGMENT_TASKS, sizeOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { TaskResult } from "#domain/result.ts";
import type { Segment } from "#domain/segment.ts";
import type { ExperimentOrchestrator, FailureExample, FailureGroup } from "./index.ts";
import { FAILURE_EXAMPLES, FAILURE_RESULTS, FAILURE_SEGMENTS } from "./limits.ts";
import { findExperiment } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";
import { segmentsOf } from "./view.ts";

const LINE_CHARACTERS_MAX = 200;

export const createFailureReading = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "failures"> => ({
  failures: async (id) => readFailures(deps, await findExperiment(deps, id)),
});

interface Group extends Pick<FailureGroup, "set" | "cause"> {
  tasks: number;
  looked: number;
  readonly examples: FailureExample[];
  readonly exitCodes: { readonly exitCode: number; tasks: number }[];
}

async function readFailures(deps: OrchestratorDeps, e: Experiment): ReturnType<ExperimentOrchestrator["failures"]> {
  const groups = new Map<string, Group>();
  const room = { segments: FAILURE_SEGMENTS, results: FAILURE_RESULTS };
  let failed = 0;
  let counted = 0;
  const { plan } = e.status === "DELETING" ? { plan: undefined } : await deps.plans.of(e.id);
  for (const t of plan === undefined ? [] : await deps.tasks.readSets(e.id)) {
    for await (const s of segmentsOf(deps, t)) {
      failed += sizeOf(s.failed);
      if (isEmptySet(s.failed) || --room.segments < 0) continue;
      counted += sizeOf(s.failed);
      await lookInto(deps, { set: plan?.sets[t.ordinal]?.name ?? "", segment: s }, groups, room);
    }
  }
  const sorted = [...groups.values()].sort((a, b) => b.tasks - a.tasks);
  return { failed, counted, groups: sorted };
}

async function lookInto(
  deps: OrchestratorDeps,
  { set, segment }: { readonly set: string; readonly segment: Segment },
  groups: Map<string, Group>,
  room: { results: number },
): Promise<void> {
  const leases = await deps.results.leases(segment.key);
  for (const index of members(segment.failed)) {
    const lease = leases.find((l) => hasIndex(l.failed, index));
    // Without an outcome of its own: it was lost with worker after worker.
    const cause = lease === undefined ? "worker-lost" : (lease.causes.get(index) ?? "exit");
    const name = `${set} ${cause}`;
    const group: Group = groups.get(name) ?? { set, cause, tasks: 0, looked: 0, exitCodes: [], examples: [] };
    groups.set(name, group);
    group.tasks++;
    const task = `${set}/${segment.key.segment * SEGMENT_TASKS + index}`;
    if (lease === undefined) {
      if (group.examples.length < FAILURE_EXAMPLES) group.examples.push({ task });
    } else if (--room.results >= 0) await note(deps, group, { task, lease, index });
  }
}

async function note(
  deps: OrchestratorDeps,
  group: Group,
  { task, lease, index }: { readonly task: string; readonly lease: Lease; readonly index: number },
): Promise<void> {
  const result = (await deps.results.attempts([lease], index))[0]?.result;
  group.looked++;
  if (result?.exitCode !== undefined) {
    const known = group.exitCodes.find((c) => c.exitCode === result.exitCode);
    if (known === undefined) group.exitCodes.push({ exitCode: result.exitCode, tasks: 1 });
    else known.tasks++;
  }
  if (group.examples.length < FAILURE_EXAMPLES) group.examples.push({ task, ...exampleOf(result) });
}

function exampleOf(result: TaskResult | undefined): Omit<FailureExample, "task"> {
  if (result === undefined) return {};
  const lastLine = (result.stderr ?? "").trimEnd().split("\n").at(-1)?.slice(0, LINE_CHARACTERS_MAX) ?? "";
  return {
    ...(result.exitCode === undefined ? {} : { exitCode: result.exitCode }),
    ...(result.signal === undefined ? {} : { signal: result.signal }),
    ...(result.message === undefined ? {} : { message: result.message }),
    ...(lastLine === "" ? {} : { lastLine }),
  };
}
