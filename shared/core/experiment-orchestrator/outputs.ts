/** Committed outputs. */
import { SchedulerError } from "#domain/error.ts";
import type { Experiment } from "#domain/experiment.ts";
import { hasIndex } from "#domain/index-set.ts";
import type { PlanSet } from "#domain/plan.ts";
import { locate } from "#domain/segment.ts";
import type { ExperimentOrchestrator, OutputView } from "./index.ts";
import { findExperiment, lookAt, ordinalOf, walk } from "./look.ts";
import type { OrchestratorDeps } from "./orchestrator.ts";

export const createOutputReading = (deps: OrchestratorDeps): Pick<ExperimentOrchestrator, "outputs" | "output"> => ({
  outputs: async (id, filter) => listOutputs(deps, await findExperiment(deps, id), filter),
  output: async (id, at) => {
    await findExperiment(deps, id);
    const { plan } = await deps.plans.of(id);
    const ordinal = ordinalOf(plan, at.set, at.number);
    const { segment, index } = locate(at.number);
    const result = await deps.results.completed(await deps.results.leases({ experiment: id, set: ordinal, segment }), index);
    const file = result?.outputs.find((o) => o.name === at.name);
    if (file === undefined) throw new SchedulerError("not-found", `task ${at.set}/${at.number} has no committed output ${at.name}`);
    return {
      view: { task: `${at.set}/${at.number}`, name: file.name, path: file.path, bytes: file.bytes, sha256: file.sha256 },
      content: await deps.data.open(file),
      ...(file.object === undefined ? {} : { object: file.object }),
    };
  },
});

async function listOutputs(
  deps: OrchestratorDeps,
  e: Experiment,
  filter: Parameters<ExperimentOrchestrator["outputs"]>[1],
): ReturnType<ExperimentOrchestrator["outputs"]> {
  const look = await lookAt(deps, e);
  const items: OutputView[] = [];
  const cursor = await walk(look, filter.set, filter.cursor, async (set, n) => {
    const planSet = look.plan.sets[set] as PlanSet;
    if (planSet.outputs.length === 0 && planSet.work === undefined) return true;
    if (items.length >= filter.limit) return false;
    const { segment, index } = locate(n);
    const { leases } = await look.segment(set, segment);
    const result = leases.some((l) => hasIndex(l.done, index)) ? await deps.results.completed(leases, index) : undefined;
    for (const o of result?.outputs ?? [])
      items.push({ task: `${planSet.name}/${n}`, name: o.name, path: o.path, bytes: o.bytes, sha256: o.sha256 });
    return true;
  });
  return { items, ...(cursor === undefined ? {} : { cursor }) };
}
