/** Everything of an account, to take along; and its end. */
import { ROLES } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import { type Experiment, isTerminal } from "#domain/experiment.ts";
import { personalProject, type UserId } from "#domain/id.ts";
import type { Plan } from "#domain/plan.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";
import type { Authorization, ObjectRef, Relation } from "#ports/authorization.ts";
import type { ProjectRecord } from "#ports/project-store.ts";
import type { Page } from "#ports/task-store.ts";
import type { Departure, ExportedPart, Member, Projects } from "./index.ts";

interface DepartureDeps {
  readonly store: AccountStore;
  readonly projects: Projects;
  readonly authorization: Authorization;
  readonly deploymentId: string;
  readonly experiments: {
    list(owner: UserId, options: { readonly limit: number; readonly cursor?: string }): Promise<Page<Experiment>>;
    cancel(id: Experiment["id"]): Promise<Experiment>;
    remove(id: Experiment["id"]): Promise<void>;
  };
  readonly planOf: (experiment: Experiment) => Promise<Plan>;
}

const EXPERIMENTS_PAGE = 100;

interface Membership {
  readonly project: ProjectRecord;
  readonly members: readonly Member[];
}

export function createDeparture(deps: DepartureDeps): Departure {
  const { store, projects } = deps;

  async function known(id: UserId): Promise<UserRecord> {
    const user = await store.readUser(id);
    if (user === undefined) throw new SchedulerError("not-found", `there is no user ${id}`);
    return user;
  }

  /** Projects other than the personal one. */
  async function membershipsOf(id: UserId): Promise<readonly Membership[]> {
    const shared = (await projects.list(id)).filter((project) => project.id !== personalProject(id));
    return Promise.all(shared.map(async (project) => ({ project, members: await projects.members(project.id) })));
  }

  async function* experimentsOf(id: UserId): AsyncGenerator<Experiment> {
    let cursor: string | undefined;
    do {
      const page = await deps.experiments.list(id, { limit: EXPERIMENTS_PAGE, ...(cursor === undefined ? {} : { cursor }) });
      yield* page.items;
      cursor = page.cursor;
    } while (cursor !== undefined);
  }

  return {
    async *exported(id): AsyncGenerator<ExportedPart> {
      const { name, disabled, identity, profile, createdAtMs: sinceMs } = await known(id);
      yield { kind: "account", id, name, disabled, ...profile, ...(identity === undefined ? {} : { identity }), createdAtMs: sinceMs };
      for (const { id: session, createdAtMs, refreshedAtMs, expiresAtMs } of await store.listSessions(id))
        yield { kind: "session", id: session, createdAtMs, refreshedAtMs, expiresAtMs };
      for (const { id: token, name: called, scopes, createdAtMs, expiresAtMs } of await store.listTokens(id))
        yield { kind: "token", id: token, name: called, scopes, createdAtMs, expiresAtMs };
      for (const { project, members } of await membershipsOf(id)) {
        const { version: _, ...shown } = project;
        yield { kind: "project", ...shown, role: members.find((member) => member.user === id)?.role ?? "by a group" };
      }
      for await (const experiment of experimentsOf(id)) {
        yield { kind: "experiment", ...shownOf(experiment) };
        // What is being deleted has no plan to show any more.
        if (experiment.status !== "DELETING") yield { kind: "plan", experiment: experiment.id, plan: await deps.planOf(experiment) };
      }
    },

    async leave(id, choice) {
      const user = await known(id);
      const memberships = await membershipsOf(id);
      await refuseToLeave(deps, id, memberships);
      const shared = new Set(memberships.filter(({ members }) => members.some((m) => m.user !== id)).map(({ project }) => project.id));
      // Others rely on what is in their projects: it stays.
      const alone = (e: Experiment) => e.project === undefined || !shared.has(e.project);
      for await (const experiment of experimentsOf(id)) if (alone(experiment)) await settle(deps, experiment, choice);
      for (const { project } of memberships) await deps.authorization.remove(rolesOf(project, id));
      const { id: same, createdAtMs, era, version } = user;
      const post = { id: same, name: `deleted-${same.slice(same.indexOf("_") + 1)}`, disabled: true, era: era + 1, profile: {} };
      if (!(await store.retireUser(user, { ...post, createdAtMs, version: version + 1 })))
        throw new SchedulerError("unavailable", "the account is being changed by others: try again");
      for (const session of await store.listSessions(id)) await store.deleteSession(id, session.id);
      for (const token of await store.listTokens(id)) await store.deleteToken(id, token.id);
    },
  };
}

/** Before anything is done. */
async function refuseToLeave(
  { authorization, deploymentId }: DepartureDeps,
  id: UserId,
  memberships: readonly Membership[],
): Promise<void> {
  const deployment: ObjectRef = { type: "deployment", id: deploymentId };
  if (await authorization.check({ type: "user", id }, "administer", deployment))
    throw new SchedulerError("conflict", "an administrator's account can't be deleted");
  const orphaned = memberships.filter(({ members }) => {
    const owners = members.filter((member) => member.role === "owner");
    return owners.length === 1 && owners[0]?.user === id && members.length > 1;
  });
  if (orphaned.length === 0) return;
  const names = orphaned.map(({ project }) => `${project.name} (${project.id})`).join(", ");
  throw new SchedulerError("conflict", `others belong to ${names}, whose last owner this is: make somebody else an owner first`);
}

async function settle({ experiments }: DepartureDeps, experiment: Experiment, choice: "keep" | "delete"): Promise<void> {
  const { id, status } = experiment;
  if (status === "DELETING") return;
  if (choice === "delete") {
    if (!isTerminal(status) && status !== "CREATED") await experiments.cancel(id);
    await experiments.remove(id);
  } else if (!isTerminal(status) && status !== "CREATED") {
    throw new SchedulerError("conflict", `${id} has not ended, and nobody could stop it any more: cancel it, or have it deleted too`);
  }
}

const rolesOf = ({ id: project }: ProjectRecord, user: UserId): Relation[] =>
  ROLES.map((relation) => ({
    object: { type: "project", id: project },
    relation,
    subject: { type: "user", id: user },
  }));

const shownOf = ({ id, name, project, owner, status, taskCount, priority, weight, createdAtMs, startedAtMs, endedAtMs }: Experiment) => ({
  ...{ id, name, project: project ?? personalProject(owner), status, tasks: taskCount, priority, weight, createdAtMs },
  ...(startedAtMs === undefined ? {} : { startedAtMs }),
  ...(endedAtMs === undefined ? {} : { endedAtMs }),
});
