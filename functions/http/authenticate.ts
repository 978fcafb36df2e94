/** P1: who asks, and whether they may. Both run before the body is read and before any effect. */
import type { Route } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import type { HttpDeps, User } from "./deps.ts";
import { TOKEN_CHARACTERS_MAX } from "./limits.ts";

/** `undefined` on public routes only. */
export async function authenticate(deps: HttpDeps, route: Route, request: Request): Promise<User | undefined> {
  if (route.permission === "public") return undefined;
  const header = request.headers.get("authorization") ?? "";
  const [scheme = "", token = "", ...rest] = header.split(" ");
  if (scheme.toLowerCase() !== "bearer" || token === "" || rest.length > 0 || header.length > TOKEN_CHARACTERS_MAX) {
    throw new SchedulerError("unauthenticated", "this needs a bearer token: log in first");
  }
  return deps.accounts.authenticate(token);
}

const notFound = (): SchedulerError => new SchedulerError("not-found", "there is no such experiment, or you may not see it");

/** Refuses with `not-found` what may not even be seen, with `forbidden` what may be seen only. Doubt denies: check() throws. */
export async function authorize(deps: HttpDeps, route: Route, user: User | undefined, id: string | undefined): Promise<void> {
  if (typeof route.permission === "string") return;
  if (user === undefined) throw new SchedulerError("unauthenticated", "this needs a bearer token: log in first");
  const { on, can } = route.permission;
  const subject = { type: "user", id: user.id } as const;
  const object = { type: on, id: on === "deployment" ? deps.deploymentId : (id ?? "") };
  if (await deps.authorization.check(subject, can, object)) return;
  if (on === "deployment") throw new SchedulerError("forbidden", "only administrators of this installation may do that");
  if (can === "view" || !(await deps.authorization.check(subject, "view", object))) throw notFound();
  throw new SchedulerError("forbidden", "you may look at this experiment, not change it");
}
