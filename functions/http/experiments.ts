/** Experiments and tasks. */
import { readExperiment } from "#api/experiment-source.ts";
import type { ExperimentSummary, ExperimentViewAnswer, TaskDetailAnswer, TaskViewAnswer } from "#api/schema/experiment-view.ts";
import { summarizePlan } from "#api/schema/plan-summary.ts";
import type { AttemptView, ExperimentView, TaskDetail, TaskView } from "#core/experiment-orchestrator/index.ts";
import { type Budget, budgetOf } from "#domain/budget.ts";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, type ExperimentState, isTerminal } from "#domain/experiment.ts";
import { type ExperimentId, ID_RANDOM_BYTES, makeId, type ProjectId, personalProject } from "#domain/id.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps, User } from "./deps.ts";
import { eventsLink, followLink } from "./logs.ts";

type Operations =
  | "planExperiment"
  | "createExperiment"
  | "listExperiments"
  | "getExperiment"
  | "deleteExperiment"
  | "getExperimentFile"
  | "deriveExperiment"
  | "getTimeline"
  | "getFailures"
  | "submitExperiment"
  | "cancelExperiment"
  | "pauseExperiment"
  | "editExperiment"
  | "resubmitExperiment"
  | "resumeExperiment"
  | "retryExperiment"
  | "listTasks"
  | "getTask";

const timesOf = (e: { readonly status: ExperimentState; readonly startedAtMs?: number; readonly endedAtMs?: number }) => ({
  ...(e.startedAtMs === undefined ? {} : { startedAtMs: e.startedAtMs }),
  ...(e.endedAtMs === undefined || !isTerminal(e.status) ? {} : { endedAtMs: e.endedAtMs }),
});

/** Only what the contract names: plan hash, gates and versions stay inside. */
const summaryOf = (e: Experiment): ExperimentSummary => ({
  id: e.id,
  name: e.name,
  owner: e.owner,
  project: e.project ?? personalProject(e.owner),
  status: e.status,
  priority: e.priority,
  weight: e.weight,
  tasks: e.taskCount,
  createdAtMs: e.createdAtMs,
  ...timesOf(e),
});

const viewOf = (v: ExperimentView): ExperimentViewAnswer => ({
  id: v.id,
  name: v.name,
  owner: v.owner,
  project: v.project,
  status: v.status,
  priority: v.priority,
  weight: v.weight,
  tasks: v.tasks,
  createdAtMs: v.createdAtMs,
  ...timesOf(v),
  labels: { ...v.labels },
  ...(v.budget === undefined ? {} : { budget: v.budget }),
  ...(v.derivedFrom === undefined ? {} : { derivedFrom: v.derivedFrom }),
  ...(v.tasksAtOnce === undefined ? {} : { tasksAtOnce: v.tasksAtOnce }),
  ...(v.retentionDays === undefined ? {} : { retentionDays: v.retentionDays }),
  sets: v.sets.map(({ set, total, done, failed, skipped, leased }) => ({ set, total, done, failed, skipped, leased })),
});

const taskOf = (t: TaskView): TaskViewAnswer => ({
  task: t.task,
  set: t.set,
  number: t.number,
  state: t.state,
  parameters: { ...t.parameters },
  attempts: t.attempts,
});

/** Inline contents of outputs are left out: they have an address of their own. */
function attemptOf(a: AttemptView): TaskDetailAnswer["history"][number] {
  const known = { epoch: a.epoch, worker: a.worker, committed: a.committed, assignedAtMs: a.assignedAtMs, end: a.end };
  if (a.result === undefined) return known;
  const outputs = a.result.outputs.map(({ name, path, sha256, bytes }) => ({ name, path, sha256, bytes }));
  return { ...known, result: { ...a.result, outputs } };
}

const detailOf = (t: TaskDetail): TaskDetailAnswer => ({ ...taskOf(t), dependsOn: [...t.dependsOn], history: t.history.map(attemptOf) });

const cursorOf = (page: { readonly cursor?: string }) => (page.cursor === undefined ? {} : { cursor: page.cursor });

/** A workflow instance has none. */
const budgetIn = (spec: ReturnType<typeof readExperiment>): Budget | undefined =>
  "budget" in spec && spec.budget !== undefined ? budgetOf(spec.budget) : undefined;

export function createExperimentHandlers(deps: HttpDeps): Handlers<Operations> {
  const { orchestrator, authorization, projects, compilePlan } = deps;

  /** Once it is created the answer names it, whatever becomes of the submit: else a repeated request makes another. */
  async function submitCreated(created: Experiment, requestId: string): Promise<Experiment> {
    try {
      return await orchestrator.submit(created.id, created);
    } catch (error) {
      if (!(error instanceof SchedulerError) || error.disposition !== "retryable") throw error;
      deps.logger.warn("created, not submitted", { experiment: created.id, requestId, kind: error.kind });
      return created;
    }
  }

  /** May come before the experiment: a relation to nothing permits nothing. */
  const grant = (e: Parameters<HttpDeps["projects"]["grantsOf"]>[0]): Promise<void> => authorization.write(projects.grantsOf(e));

  const anotherId = () => makeId("experiment", deps.clock.now(), crypto.getRandomValues(new Uint8Array(ID_RANDOM_BYTES)));

  return {
    planExperiment: async ({ body }) => summarizePlan(compilePlan(readExperiment(body.bytes, body))),
    createExperiment: async ({ body, query, user, requestId, newId: id = anotherId() }) => {
      const spec = readExperiment(body.bytes, body);
      const plan = compilePlan(spec);
      const project = await projects.place(user.id, query.project ?? ("project" in spec ? spec.project : undefined));
      const placed = { id, owner: user.id, project };
      const { retentionDays } = query;
      const { bytes, set = {}, ...options } = body;
      const file = { file: new TextDecoder().decode(bytes), set, ...options };
      return deps.charging([id], async () => {
        const request = { ...placed, plan, priority: spec.priority, budget: budgetIn(spec), file, retentionDays };
        const [created] = await Promise.all([orchestrator.create(request), grant(placed)]);
        return summaryOf(query.submit === "true" ? await submitCreated(created, requestId) : created);
      });
    },
    deriveExperiment: async ({ params, body, query, user, requestId, newId: id = anotherId() }) => {
      const from = await orchestrator.file(params.id);
      const kept = { ...from, ...body, set: { ...from.set, ...body.set } };
      const spec = readExperiment(new TextEncoder().encode(kept.file), kept);
      const [{ priority, retentionDays }, project] = await Promise.all([orchestrator.find(params.id), placeBeside(deps, user, params.id)]);
      const plan = compilePlan(spec);
      const placed = { id, owner: user.id, project };
      return deps.charging([id], async () => {
        const request = { ...placed, plan, priority, budget: budgetIn(spec), file: kept, derivedFrom: params.id, retentionDays };
        const [created] = await Promise.all([orchestrator.create(request), grant(placed)]);
        return summaryOf(query.submit === "true" ? await submitCreated(created, requestId) : created);
      });
    },
    getExperimentFile: async ({ params }) => {
      const { set, ...kept } = await orchestrator.file(params.id);
      return { ...kept, set: { ...set } };
    },
    // Its permissions stay: so the answer is the same however often it is asked for, and nobody else learns of it.
    deleteExperiment: async ({ params }) => {
      await orchestrator.remove(params.id);
      return { id: params.id, status: "DELETING" };
    },
    listExperiments: async ({ user, query }) => {
      const page = await listed(deps, user, query);
      return { items: (await visible(deps, user, page.items)).map(summaryOf), ...cursorOf(page) };
    },
    getExperiment: async ({ params: { id } }) => {
      const [view, url] = await Promise.all([orchestrator.view(id), deps.gateways.urlFor(id)]);
      return { ...viewOf(view), ...(url === undefined ? {} : { links: { events: eventsLink(url, id) } }) };
    },
    submitExperiment: async ({ params }) => summaryOf(await orchestrator.submit(params.id)),
    cancelExperiment: async ({ params }) => summaryOf(await orchestrator.cancel(params.id)),
    pauseExperiment: async ({ params }) => summaryOf(await orchestrator.pause(params.id)),
    getTimeline: async ({ params, query }) => orchestrator.timeline(params.id, query.points),
    getFailures: async ({ params }) => orchestrator.failures(params.id),
    resumeExperiment: async ({ params }) => summaryOf(await orchestrator.resume(params.id)),
    retryExperiment: async ({ params, body }) => summaryOf(await orchestrator.retry(params.id, body)),
    editExperiment: async ({ params, body: { budget, ...others } }) => {
      // One that is empty limits nothing.
      const change = budget === undefined ? others : { ...others, budget: budgetOf(budget ?? {}) };
      return summaryOf(await orchestrator.edit(params.id, change));
    },
    resubmitExperiment: async ({ params, user, requestId, newId: id = anotherId() }) => {
      const project = await placeBeside(deps, user, params.id);
      const placed = { owner: user.id, project };
      return deps.charging([id], async () => {
        const [created] = await Promise.all([orchestrator.resubmit(params.id, { ...placed, as: id }), grant({ ...placed, id })]);
        return summaryOf(await submitCreated(created, requestId));
      });
    },
    listTasks: async ({ params, query }) => {
      const { state, parameter, ...rest } = query;
      const filter = {
        ...rest,
        ...(state === undefined ? {} : { states: state }),
        ...(parameter === undefined ? {} : { parameters: new Map(new URLSearchParams(parameter)) }),
      };
      const page = await orchestrator.tasks(params.id, filter);
      return { items: page.items.map(taskOf), ...cursorOf(page) };
    },
    getTask: async ({ params: { id, set, number } }) => {
      const [detail, url] = await Promise.all([orchestrator.task(id, set, number), deps.gateways.urlFor(id)]);
      return { ...detailOf(detail), ...(url === undefined ? {} : { links: { log: followLink(url, id, { set, number }) } }) };
    },
  };
}

type ListQuery = { readonly project?: ProjectId; readonly limit: number; readonly cursor?: string };

/** What is stored; whether it may be seen comes after. */
async function listed({ orchestrator, authorization }: HttpDeps, user: User, { project, ...page }: ListQuery) {
  if (project === undefined) return orchestrator.list(user.id, page);
  if (project === personalProject(user.id)) {
    const { items, ...rest } = await orchestrator.list(user.id, page);
    return { ...rest, items: items.filter((e) => e.project === undefined) };
  }
  const may = await authorization.check({ type: "user", id: user.id }, "view", { type: "project", id: project });
  if (!may) throw new SchedulerError("not-found", "there is no such project, or you may not see it");
  return orchestrator.listProject(project, page);
}

/** Those of a page that the user may view, by one question for all. */
async function visible(deps: HttpDeps, user: User, items: readonly Experiment[]): Promise<readonly Experiment[]> {
  const subject = { type: "user", id: user.id } as const;
  const ask = (some: readonly Experiment[]) =>
    deps.authorization.checkMany(
      subject,
      "view",
      some.map(({ id }) => ({ type: "experiment", id }) as const),
    );
  const answers = await ask(items);
  const hidden = items.filter((e, i) => answers[i] !== true && e.owner === user.id);
  if (hidden.length === 0) return items.filter((_, i) => answers[i]);
  // The process that made one may have died before it was granted. What is stored says what it is granted to, and nothing more.
  for (const e of hidden) await deps.authorization.write(deps.projects.grantsOf(e));
  const again = await ask(items);
  return items.filter((_, i) => again[i]);
}

/** The project of an experiment, when the user may make others there; else the personal one. */
async function placeBeside({ orchestrator, authorization }: HttpDeps, user: User, id: ExperimentId): Promise<ProjectId | undefined> {
  const { project } = await orchestrator.find(id);
  if (project === undefined) return undefined;
  const may = await authorization.check({ type: "user", id: user.id }, "edit", { type: "project", id: project });
  return may ? project : undefined;
}
