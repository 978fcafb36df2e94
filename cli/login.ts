/** The remembered login, kept good: its token is exchanged for the next one before it ends. */
import { createClient } from "#api/client.ts";
import { SchedulerError } from "#domain/error.ts";
import { type Context, type IssuerLogin, readContext, writeContext } from "./context.ts";

/** A token that ends sooner is exchanged before it is used: requests take time, and clocks differ. */
const REFRESH_BEFORE_MS = 60_000;

const isGood = (login: Context): boolean => login.expiresAtMs - REFRESH_BEFORE_MS > Date.now();

/** `login`, or what took its place. Writes the file when it changes. Throws `unauthenticated` when the login has ended. */
export async function freshLogin(env: NodeJS.ProcessEnv, login: Context): Promise<Context> {
  if (isGood(login)) return login;
  // Another call of this tool may have been first; the server gives the same to both when they ask at the same moment.
  const stored = await readContext(env);
  const last = stored?.server === login.server && stored.user.id === login.user.id ? stored : login;
  return isGood(last) ? last : refreshLogin(env, last);
}

export async function refreshLogin(env: NodeJS.ProcessEnv, login: Context): Promise<Context> {
  const { server, refreshToken, expiresAtMs } = login;
  if (refreshToken === undefined) {
    if (expiresAtMs > Date.now()) return login;
    throw new SchedulerError("unauthenticated", `the login at ${server} has ended`);
  }
  const next = login.issuer === undefined ? await renew(server, refreshToken) : await renewElsewhere(login, login.issuer, refreshToken);
  await writeContext(env, next);
  return next;
}

const renew = async (server: string, refreshToken: string): Promise<Context> => ({
  server,
  ...(await createClient({ server }).call("refreshLogin", { body: { refreshToken } })),
});

/** An issuer that gives no new refresh token goes on taking the old one. */
async function renewElsewhere(login: Context, issuer: IssuerLogin, refreshToken: string): Promise<Context> {
  const { renewAt } = await import("./issuer.ts");
  return { ...login, refreshToken, ...(await renewAt(issuer, refreshToken)) };
}
