/** auth: login, logout, status, refresh, register, password and API tokens. */
import { writeFile } from "node:fs/promises";
import { createClient } from "#api/client.ts";
import type { Scope } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import { parseId } from "#domain/id.ts";
import { contextFile, readContext, removeContext, writeContext } from "./context.ts";
import { EXIT } from "./exit-code.ts";
import { refreshLogin } from "./login.ts";
import { clean, showInstant, table } from "./output.ts";
import { readPages } from "./pages.ts";
import { ask, readPassword } from "./password.ts";
import { connect, type Session, whereTo } from "./session.ts";

interface LoginOptions {
  readonly user?: string;
  readonly passwordFile?: string;
  /** `true`: the one that the server names. */
  readonly issuer?: string | true;
}

export async function login(session: Session, options: LoginOptions): Promise<number> {
  const { io, output, signal } = session;
  const { server } = await whereTo(session);
  if (options.issuer !== undefined) return loginElsewhere(session, server, options.issuer);
  const name = options.user ?? (await ask(io, "User: ", false, signal));
  const password = await readPassword(io, options.passwordFile, signal);
  const answer = await createClient({ server }).call("login", { body: { name, password }, signal });
  const file = await writeContext(io.env, { server, ...answer });
  const shown = { server, user: answer.user, expiresAtMs: answer.expiresAtMs, file };
  output.result(shown, () => [`logged in at ${server} as ${answer.user.name} until ${showInstant(answer.refreshExpiresAtMs)}`]);
  return EXIT.done;
}

/** The server names its issuer; another one is refused before anybody signs in there. */
async function loginElsewhere(session: Session, server: string, wanted: string | true): Promise<number> {
  const { io, output, signal } = session;
  const { issuer: offer } = await createClient({ server }).call("getSignIn", { signal });
  if (offer === undefined) throw new SchedulerError("conflict", `${server} takes no tokens of an issuer: log in with a password`);
  if (wanted !== true && wanted.replace(/\/$/, "") !== offer.issuer.replace(/\/$/, ""))
    throw new SchedulerError("conflict", `${server} takes tokens of ${offer.issuer}, not of ${wanted}`);
  const { signInAt } = await import("./issuer.ts");
  const tokens = await signInAt(session, offer);
  const { id, name } = await createClient({ server, token: tokens.token }).call("getMe", { signal });
  const { issuer, clientId } = offer;
  const file = await writeContext(io.env, { server, ...tokens, user: { id, name }, issuer: { issuer, clientId } });
  const shown = { server, issuer, user: { id, name }, expiresAtMs: tokens.expiresAtMs, file };
  output.result(shown, () => [`logged in at ${server} as ${name}, by ${issuer}`]);
  return EXIT.done;
}

/** Ends the remembered login, there and here. An API token of AIRAVATA_TOKEN is left alone: `auth token revoke` is for those. */
export async function logout(session: Session): Promise<number> {
  const { io, output, signal } = session;
  const { server, context } = await whereTo(session);
  if (context === undefined || context.server !== server) {
    output.result({ loggedOut: false }, () => [`not logged in at ${server}`]);
    return EXIT.done;
  }
  try {
    if (context.issuer !== undefined) {
      output.note(`the sign-in at ${context.issuer.issuer} goes on: end it there`);
      await removeContext(io.env);
      output.result({ loggedOut: true, server }, () => [`logged out at ${server}`]);
      return EXIT.done;
    }
    const { token } = context.expiresAtMs > Date.now() ? context : await refreshLogin(io.env, context);
    await createClient({ server, token }).call("logout", { signal });
  } catch (error) {
    // It had ended there already: then only the file is left to be removed.
    if (!(error instanceof SchedulerError && error.kind === "unauthenticated")) throw error;
  }
  await removeContext(io.env);
  output.result({ loggedOut: true, server }, () => [`logged out at ${server}`]);
  return EXIT.done;
}

/** The remembered login; works without a server. Exit code 3 when nobody is logged in. */
export async function showContext(session: Session): Promise<number> {
  const { io, output } = session;
  const file = contextFile(io.env);
  const context = await readContext(io.env);
  if (context === undefined) {
    output.result({ file, loggedIn: false }, () => [`not logged in (${file} is not there)`]);
    return EXIT.auth;
  }
  const { server, user } = context;
  const expiresAtMs = context.refreshExpiresAtMs ?? context.expiresAtMs;
  const expired = expiresAtMs <= Date.now();
  output.result({ file, loggedIn: !expired, server, user, expiresAtMs }, () => [
    `server   ${server}`,
    `user     ${user.name} (${user.id})`,
    `expires  ${showInstant(expiresAtMs)}${expired ? " (over: log in again)" : ""}`,
    `file     ${file}`,
  ]);
  return expired ? EXIT.auth : EXIT.done;
}

/** Asks the server: who the token in use belongs to and what it may do. */
export async function status(session: Session): Promise<number> {
  const me = await (await connect(session)).call("getMe", { signal: session.signal });
  const { server } = await whereTo(session);
  session.output.result({ server, ...me }, () => [
    `server   ${server}`,
    clean(`user     ${me.name} (${me.id})${me.fullName === undefined ? "" : `, ${me.fullName}`}`),
    `role     ${me.administrator ? "administrator" : "user"}`,
    `scopes   ${me.scopes.join(", ")}`,
  ]);
  return EXIT.done;
}

export async function refresh(session: Session): Promise<number> {
  const { server, context } = await whereTo(session);
  if (context === undefined || context.server !== server) throw new SchedulerError("unauthenticated", `not logged in at ${server}`);
  const { user, expiresAtMs } = await refreshLogin(session.io.env, context);
  session.output.result({ server, user, expiresAtMs }, () => [`the login at ${server} as ${user.name} is renewed`]);
  return EXIT.done;
}

interface RegisterOptions {
  readonly passwordFile?: string;
  readonly fullName?: string;
  readonly email?: string;
}

export const profileOf = ({ fullName, email }: Omit<RegisterOptions, "passwordFile">) => ({
  ...(fullName === undefined ? {} : { fullName }),
  ...(email === undefined ? {} : { email }),
});

export async function register(session: Session, options: RegisterOptions, args: readonly string[]): Promise<number> {
  const { io, output, signal } = session;
  const { server } = await whereTo(session);
  const name = args[0] ?? "";
  const password = await readPassword(io, options.passwordFile, signal);
  const body = { name, password, ...profileOf(options) };
  const made = await createClient({ server }).call("register", { body, signal });
  output.result(made, () => [`${made.name} has an account now: airavata auth login --user ${made.name}`]);
  return EXIT.done;
}

interface PasswordOptions {
  readonly passwordFile?: string;
  readonly newPasswordFile?: string;
}

export async function changePassword(session: Session, options: PasswordOptions): Promise<number> {
  const { io, output, signal } = session;
  const client = await connect(session);
  const current = await readPassword(io, options.passwordFile, signal, "Present password: ");
  const next = await readPassword(io, options.newPasswordFile, signal, "New password: ");
  await client.call("changePassword", { body: { current, next }, signal });
  output.result({ done: true }, () => ["the password is changed; every other login of the account has ended"]);
  return EXIT.done;
}

/** JSON lines to a file, or to standard output; a broken off one is no export. */
export async function exportAccount(session: Session, options: { readonly to?: string }): Promise<number> {
  const { io, output, signal } = session;
  const response = await (await connect(session)).open("exportMe", { signal });
  const text = await response.text();
  if (!text.endsWith('{"kind":"end"}\n')) throw new SchedulerError("unavailable", "the export broke off: try again");
  if (options.to === undefined) {
    io.stdout.write(text);
    return EXIT.done;
  }
  await writeFile(options.to, text, { mode: 0o600, flag: "wx" });
  output.result({ file: options.to, lines: text.split("\n").length - 1 }, () => [`everything of your account is in ${options.to}`]);
  return EXIT.done;
}

interface DeleteOptions {
  readonly experiments: "keep" | "delete";
  readonly confirm: string;
}

export async function deleteAccount(session: Session, options: DeleteOptions): Promise<number> {
  const { experiments, confirm } = options;
  await (await connect(session)).call("deleteMe", { query: { experiments, confirm }, signal: session.signal });
  await removeContext(session.io.env);
  session.output.result({ deleted: true }, () => [`the account ${confirm} is deleted`]);
  return EXIT.done;
}

interface TokenOptions {
  readonly scope: readonly Scope[];
  readonly days: number;
}

const DAY_S = 86_400;

export async function createToken(session: Session, options: TokenOptions, args: readonly string[]): Promise<number> {
  const client = await connect(session);
  const body = { name: args[0] ?? "", scopes: [...options.scope], expiresInSeconds: options.days * DAY_S };
  const made = await client.call("createToken", { body, signal: session.signal });
  session.output.note(`${made.name} (${made.id}) is good until ${showInstant(made.expiresAtMs)}. Its value is shown this once:`);
  // Also with --quiet: nothing else tells it ever again.
  if (session.output.json) session.output.result(made, () => []);
  else session.output.line(made.value);
  return EXIT.done;
}

export async function listTokens(session: Session): Promise<number> {
  const client = await connect(session);
  const { items } = await readPages({ all: true, limit: 1 }, (query) => client.call("listTokens", { query, signal: session.signal }));
  const rows = items.map((t) => [t.id, t.name, t.scopes.join(","), showInstant(t.createdAtMs), showInstant(t.expiresAtMs)]);
  session.output.result(items, () => table(["ID", "NAME", "SCOPES", "CREATED", "EXPIRES"], rows));
  return EXIT.done;
}

/** By id or by name. */
export async function revokeToken(session: Session, _: object, args: readonly string[]): Promise<number> {
  const { output, signal } = session;
  const client = await connect(session);
  const wanted = args[0] ?? "";
  const { items } = await readPages({ all: true, limit: 1 }, (query) => client.call("listTokens", { query, signal }));
  const id = parseId("token", wanted) ?? items.find((token) => token.name === wanted)?.id;
  if (id === undefined) throw new SchedulerError("not-found", `you have no API token ${wanted}: airavata auth token list shows them`);
  await client.call("revokeToken", { params: { id }, signal });
  output.result({ id, revoked: true }, () => [`${id} is revoked`]);
  return EXIT.done;
}
