/** Projects and who belongs to them. */
import type { ProjectAnswer } from "#api/schema/project.ts";
import { SchedulerError } from "#domain/error.ts";
import { parseId, type ProjectId, personalProject } from "#domain/id.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps, User } from "./deps.ts";
import { pageOf } from "./pages.ts";

type Record = Awaited<ReturnType<HttpDeps["projects"]["read"]>>;

const projectOf = ({ id, name, description, creator, archived, createdAtMs }: Record): ProjectAnswer => ({
  ...{ id, name, description, creator, archived, createdAtMs },
  personal: id === personalProject(creator),
});

/** What everybody has as it is. */
function notPersonal(id: ProjectId, user: User): void {
  if (id === personalProject(user.id))
    throw new SchedulerError("conflict", "your personal project stays as it is and is yours alone: make another one to share");
}

const DONE = { done: true } as const;

type Operations =
  | "listProjects"
  | "createProject"
  | "getProject"
  | "editProject"
  | "deleteProject"
  | "listMembers"
  | "setMember"
  | "removeMember";

export function createProjectHandlers({ projects, accounts }: HttpDeps): Handlers<Operations> {
  return {
    listProjects: async ({ user, query }) => {
      const all = await projects.list(user.id);
      const own = personalProject(user.id);
      const page = pageOf(all, ({ id, name }) => `${id === own ? 0 : 1} ${name} ${id}`, query);
      return { ...page, items: page.items.map(projectOf) };
    },
    createProject: async ({ user, body, newId }) => {
      // The request's own id, so that a repetition makes no other.
      const as = newId === undefined ? undefined : parseId("project", newId.replace(/^[a-z]+_/, "prj_"));
      return projectOf(await projects.create(user.id, body, as));
    },
    getProject: async ({ user, params }) => projectOf(await projects.read(params.id, user.id)),
    editProject: async ({ user, params, body }) => {
      notPersonal(params.id, user);
      return projectOf(await projects.edit(params.id, body));
    },
    deleteProject: async ({ user, params }) => {
      notPersonal(params.id, user);
      await projects.delete(params.id);
      return DONE;
    },
    listMembers: async ({ user, params, query }) => {
      const own = params.id === personalProject(user.id);
      const members = own ? [{ user: user.id, role: "owner" as const }] : await projects.members(params.id);
      const page = pageOf(members, (member) => member.user, query);
      const names = await accounts.namesOf(page.items.map((member) => member.user));
      const named = page.items.map((member) => {
        const name = names.get(member.user);
        return { ...member, ...(name === undefined ? {} : { name }) };
      });
      return { ...page, items: named };
    },
    setMember: async ({ user, params, body }) => {
      notPersonal(params.id, user);
      const { id, name } = await accounts.find(body.user);
      await projects.setMember(params.id, id, body.role);
      return { user: id, name, role: body.role };
    },
    removeMember: async ({ user, params }) => {
      notPersonal(params.id, user);
      // Also of an account that is gone: its id is all that is left of it.
      const id = parseId("user", params.user) ?? (await accounts.find(params.user)).id;
      await projects.setMember(params.id, id, undefined);
      return DONE;
    },
  };
}
