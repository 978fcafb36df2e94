/** P1: who asks, and whether they may. Both run before the body is read and before any effect. */
import { type Route, scopeOf } from "#api/routes.ts";
import { isWithin } from "#domain/account.ts";
import { parseId, personalProject } from "#domain/id.ts";
import { SchedulerError } from "#domain/error.ts";
import { isStorage } from "#domain/resource.ts";
import type { AppDeps, User } from "./deps.ts";
import { TOKEN_CHARACTERS_MAX } from "./limits.ts";

/** What of a path names the object of its permission. */
export interface RouteParams {
  readonly id?: string;
  readonly storage?: string;
}

/** `undefined` on public routes only. */
export async function authenticate(deps: AppDeps, route: Route, request: Request): Promise<User | undefined> {
  if (route.permission === "public") return undefined;
  const header = request.headers.get("authorization") ?? "";
  const [scheme = "", token = "", ...rest] = header.split(" ");
  if (scheme.toLowerCase() !== "bearer" || token === "" || rest.length > 0 || header.length > TOKEN_CHARACTERS_MAX) {
    throw new SchedulerError("unauthenticated", "this needs a bearer token: log in first");
  }
  const { user, scopes, by } = await deps.accounts.authenticate(token);
  return { id: user.id, name: user.name, scopes, by };
}

/** What the token may be used for, whatever its user may do. */
function checkScope(route: Route, { scopes, by }: User): void {
  const needed = scopeOf(route);
  if (!isWithin(scopes, needed))
    throw new SchedulerError("forbidden", `this needs a token with the scope ${needed}; this one has ${scopes.join(", ") || "none"}`);
  if (route.permission === "signed-in" && by.kind === "token")
    throw new SchedulerError("forbidden", "an API token may not do this: sign in");
}

const noProject = (): SchedulerError => new SchedulerError("not-found", "there is no such project, or you may not see it");

/**
 * The process that made an experiment may have died before it was granted. Its owner's next request completes that: what is
 * stored says what it is granted to, and nothing more.
 */
async function mend({ orchestrator, authorization, projects }: AppDeps, user: User, id: string): Promise<boolean> {
  const experiment = parseId("experiment", id);
  if (experiment === undefined) return false;
  const stored = await orchestrator.find(experiment).catch((error: unknown) => {
    if (error instanceof SchedulerError && error.kind === "not-found") return undefined;
    throw error;
  });
  if (stored?.owner !== user.id) return false;
  await authorization.write(projects.grantsOf(stored));
  return true;
}

const noExperiment = (): SchedulerError => new SchedulerError("not-found", "there is no such experiment, or you may not see it");

const noStorage = (): SchedulerError => new SchedulerError("not-found", "there is no such storage resource, or you may not use it");

/** The id behind the name in the path; `undefined` when there is none. */
async function storageId(deps: AppDeps, name: string): Promise<string> {
  const resource = await deps.resources.read(name).catch((error: unknown) => {
    throw error instanceof SchedulerError && error.kind === "not-found" ? noStorage() : error;
  });
  if (!isStorage(resource)) throw noStorage();
  return resource.id;
}

/** Refuses with `not-found` what may not even be seen, with `forbidden` what may be seen only. Doubt denies: check() throws. */
export async function authorize(deps: AppDeps, route: Route, user: User | undefined, params: RouteParams): Promise<void> {
  if (route.permission === "public") return;
  if (user === undefined) throw new SchedulerError("unauthenticated", "this needs a bearer token: log in first");
  checkScope(route, user);
  if (typeof route.permission === "string") return;
  const { on, can } = route.permission;
  const subject = { type: "user", id: user.id } as const;
  const id = {
    deployment: () => deps.deploymentId,
    experiment: () => params.id ?? "",
    project: () => params.id ?? "",
    storage_resource: () => storageId(deps, params.storage ?? ""),
  };
  const object = { type: on, id: await id[on]() };
  // Nothing is written about a personal project: it is its user's and nobody else's.
  if (on === "project" && object.id === personalProject(user.id)) return;
  if (await deps.authorization.check(subject, can, object)) return;
  if (on === "deployment") throw new SchedulerError("forbidden", "only administrators of this installation may do that");
  if (on === "storage_resource") {
    if (can === "use" || !(await deps.authorization.check(subject, "use", object))) throw noStorage();
    throw new SchedulerError("forbidden", "you may read from this storage resource, not write to it");
  }
  if (on === "project") {
    if (can === "view" || !(await deps.authorization.check(subject, "view", object))) throw noProject();
    throw new SchedulerError("forbidden", "you may look at this project; its owners change it");
  }
  await refuseExperiment(deps, user, { type: on, id: object.id }, can);
}

async function refuseExperiment(
  deps: AppDeps,
  user: User,
  object: { readonly type: "experiment"; readonly id: string },
  can: "view" | "edit",
): Promise<void> {
  const subject = { type: "user", id: user.id } as const;
  const may = (permission: string) => deps.authorization.check(subject, permission, object);
  if (can === "edit" && (await may("view"))) throw new SchedulerError("forbidden", "you may look at this experiment, not change it");
  if (!(await mend(deps, user, object.id)) || !(await may(can))) throw noExperiment();
}
