import { ROLES, type Role } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import { isTerminal } from "#domain/experiment.ts";
import { ID_RANDOM_BYTES, instantOf, makeId, type ProjectId, parseId, personalProject, type UserId } from "#domain/id.ts";
import type { Authorization, ObjectRef, Relation } from "#ports/authorization.ts";
import type { Clock } from "#ports/clock.ts";
import type { ProjectRecord, ProjectStore } from "#ports/project-store.ts";
import type { Random } from "#ports/random.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { Member, Projects } from "./index.ts";
import { CHANGES_MAX } from "./limits.ts";

interface ProjectsDeps {
  readonly store: ProjectStore;
  readonly tasks: Pick<TaskStore, "listProject">;
  readonly authorization: Authorization;
  readonly deploymentId: string;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "bytes">;
}

const EXPERIMENTS_PAGE = 100;
const userRef = (id: UserId): ObjectRef => ({ type: "user", id });
const projectRef = (id: ProjectId): ObjectRef => ({ type: "project", id });

export function createProjects(deps: ProjectsDeps): Projects {
  const { store, authorization, clock, random } = deps;
  const deployment: ObjectRef = { type: "deployment", id: deps.deploymentId };
  const role = (id: ProjectId, name: Role, user: UserId): Relation => ({ object: projectRef(id), relation: name, subject: userRef(user) });

  async function stored(id: ProjectId): Promise<ProjectRecord> {
    const project = await store.readProject(id);
    if (project === undefined) throw new SchedulerError("not-found", "there is no such project, or you may not see it");
    return project;
  }

  async function change(id: ProjectId, to: (project: ProjectRecord) => ProjectRecord): Promise<ProjectRecord> {
    for (let attempt = 0; attempt < CHANGES_MAX; attempt++) {
      const project = await stored(id);
      const post = { ...to(project), version: project.version + 1 };
      if (await store.updateProject(post)) return post;
    }
    throw new SchedulerError("unavailable", "the project is being changed by others: try again");
  }

  /** New experiments are refused once it is archived; so this looks after that, and takes it back when it must not be. */
  async function archiveIf(id: ProjectId, isFine: () => Promise<string | undefined>): Promise<ProjectRecord> {
    const { archived } = await stored(id);
    const post = await change(id, (project) => ({ ...project, archived: true }));
    const obstacle = await isFine();
    if (obstacle === undefined) return post;
    if (!archived) await change(id, (project) => ({ ...project, archived: false }));
    throw new SchedulerError("conflict", obstacle);
  }

  async function list(user: UserId): Promise<readonly ProjectRecord[]> {
    const ids = (await authorization.find(userRef(user), "belong", "project")).map((id) => parseId("project", id));
    const found = await store.readProjects(ids.filter((id) => id !== undefined));
    return [personal(user), ...[...found].sort((a, b) => (a.name < b.name || (a.name === b.name && a.id < b.id) ? -1 : 1))];
  }

  const experimentsOf = (id: ProjectId) => someExperiment(deps.tasks, id);

  return {
    async create(owner, { name, description }, as) {
      const now = clock.now();
      const id = as ?? makeId("project", now, random.bytes(ID_RANDOM_BYTES));
      await authorization.write([role(id, "owner", owner), { object: projectRef(id), relation: "deployment", subject: deployment }]);
      const project: ProjectRecord = { id, name, description, creator: owner, archived: false, createdAtMs: now, version: 1 };
      return (await store.createProject(project)) ? project : stored(id);
    },

    list,

    read: async (id, asker) => (id === personalProject(asker) ? personal(asker) : stored(id)),

    async edit(id, { archived, ...texts }) {
      if (archived === true)
        await archiveIf(id, async () =>
          (await experimentsOf(id)).live ? "experiments in it have not ended: wait for them or cancel them first" : undefined,
        );
      return change(id, (project) => ({ ...project, ...texts, ...(archived === undefined ? {} : { archived }) }));
    },

    async delete(id) {
      if ((await store.readProject(id)) !== undefined) {
        const { version } = await archiveIf(id, async () =>
          (await experimentsOf(id)).any ? "there are experiments in it: delete them first, or archive the project" : undefined,
        );
        if (!(await store.deleteProject(id, version))) throw new SchedulerError("conflict", "somebody else changed it at this moment");
      }
      await authorization.remove(await authorization.relationsOf(projectRef(id)));
    },

    async members(id) {
      const members = (await authorization.relationsOf(projectRef(id))).flatMap(memberOf);
      return members.sort((a, b) => ROLES.indexOf(a.role) - ROLES.indexOf(b.role) || (a.user < b.user ? -1 : 1));
    },

    async setMember(id, user, wanted) {
      const relations = await authorization.relationsOf(projectRef(id));
      const owners = relations.filter(({ relation }) => relation === "owner");
      const isOwner = owners.some(({ subject }) => subject.id === user);
      if (wanted !== "owner" && isOwner && owners.length === 1)
        throw new SchedulerError("conflict", "that is its last owner: make somebody else an owner first");
      const others = ROLES.filter((name) => name !== wanted).map((name) => role(id, name, user));
      await authorization.change({ write: wanted === undefined ? [] : [role(id, wanted, user)], remove: others });
    },

    async place(user, wanted) {
      if (wanted === undefined || wanted === personal(user).name || wanted === personalProject(user)) return undefined;
      const id = parseId("project", wanted) ?? byName(await list(user), wanted);
      const [view, edit] = await Promise.all(["view", "edit"].map((can) => authorization.check(userRef(user), can, projectRef(id))));
      if (!view) throw new SchedulerError("not-found", `there is no project ${wanted}, or you may not see it`);
      if (!edit) throw new SchedulerError("forbidden", `you may look at the project ${wanted}, not make experiments in it`);
      if ((await stored(id)).archived)
        throw new SchedulerError("conflict", `the project ${wanted} is archived: it takes no new experiments`);
      return id;
    },

    grantsOf({ id, owner, project }) {
      const object = { type: "experiment", id } as const;
      const reached: Relation =
        project === undefined
          ? { object, relation: "owner", subject: userRef(owner) }
          : { object, relation: "project", subject: projectRef(project) };
      return [reached, { object, relation: "deployment", subject: deployment }];
    },
  };
}

const personal = (user: UserId): ProjectRecord => ({
  id: personalProject(user),
  name: "personal",
  description: "Your own experiments, shared with nobody",
  creator: user,
  archived: false,
  createdAtMs: instantOf(user),
  version: 0,
});

function byName(projects: readonly ProjectRecord[], name: string): ProjectId {
  const found = projects.filter((project) => project.name === name);
  const [first, second] = found;
  if (first === undefined) throw new SchedulerError("not-found", `there is no project ${name} that you belong to`);
  if (second === undefined) return first.id;
  throw new SchedulerError(
    "conflict",
    `several of your projects are named ${name}: say which by its id, ${found.map((p) => p.id).join(" or ")}`,
  );
}

function memberOf({ relation, subject }: Relation): Member[] {
  const user = parseId("user", subject.id);
  const role = ROLES.find((name) => name === relation);
  return user === undefined || role === undefined || subject.type !== "user" ? [] : [{ user, role }];
}

async function someExperiment(tasks: ProjectsDeps["tasks"], id: ProjectId): Promise<{ readonly any: boolean; readonly live: boolean }> {
  let any = false;
  let cursor: string | undefined;
  do {
    const page = await tasks.listProject(id, { limit: EXPERIMENTS_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    any ||= page.items.length > 0;
    if (page.items.some((e) => !isTerminal(e.status))) return { any: true, live: true };
    cursor = page.cursor;
  } while (cursor !== undefined);
  return { any, live: false };
}
