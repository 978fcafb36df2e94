/** context list, use, remove: logins at several servers, each under a name of its own. */
import { readdir, rm } from "node:fs/promises";
import { SchedulerError } from "#domain/error.ts";
import {
  contextFile,
  contextsFolder,
  currentContext,
  DEFAULT_CONTEXT,
  isContextName,
  namedContextFile,
  readContext,
  writeCurrentContext,
} from "./context.ts";
import { EXIT } from "./exit-code.ts";
import { showInstant, table } from "./output.ts";
import type { Session } from "./session.ts";

const inEnv = (session: Session, name: string): NodeJS.ProcessEnv => ({ ...session.io.env, AIRAVATA_CONTEXT_NAME: name });

/** Those that there is a file of, and the one in use. */
async function namesOf(session: Session): Promise<string[]> {
  const files = await readdir(contextsFolder(session.io.env)).catch(() => [] as string[]);
  const names = files.filter((file) => file.endsWith(".json")).map((file) => file.slice(0, -".json".length));
  const all = new Set([DEFAULT_CONTEXT, currentContext(session.io.env), ...names.filter(isContextName)]);
  return [...all].sort();
}

export async function list(session: Session): Promise<number> {
  refuseFixed(session);
  const current = currentContext(session.io.env);
  const found = [];
  for (const name of await namesOf(session)) {
    const context = await readContext(inEnv(session, name));
    if (context === undefined && name !== current) continue;
    const expiresAtMs = context?.refreshExpiresAtMs ?? context?.expiresAtMs;
    const login = context === undefined ? {} : { server: context.server, user: context.user, expiresAtMs };
    found.push({ name, current: name === current, ...login });
  }
  const rows = found.map((c) => [c.current ? "*" : "", c.name, c.server ?? "-", c.user?.name ?? "-", showInstant(c.expiresAtMs)]);
  session.output.result(found, () => table(["", "NAME", "SERVER", "USER", "EXPIRES"], rows));
  return EXIT.done;
}

export async function use(session: Session, _options: object, args: readonly string[]): Promise<number> {
  refuseFixed(session);
  const name = args[0] ?? "";
  if ((await readContext(inEnv(session, name))) === undefined)
    throw new SchedulerError("not-found", `there is no context ${name}: make it by "airavata auth login --context ${name}"`);
  await writeCurrentContext(session.io.env, name);
  session.output.result({ name, current: true }, () => [`commands use ${name} from now on`]);
  return EXIT.done;
}

/** The tokens in it stay good until they end: `auth logout` ends them too. */
export async function remove(session: Session, _options: object, args: readonly string[]): Promise<number> {
  refuseFixed(session);
  const name = args[0] ?? "";
  await rm(namedContextFile(session.io.env, name), { force: true });
  if (currentContext(session.io.env) === name) await writeCurrentContext(session.io.env, DEFAULT_CONTEXT);
  session.output.result({ name, removed: true }, () => [`${name} is forgotten here`]);
  return EXIT.done;
}

/** AIRAVATA_CONTEXT names one file, whatever contexts there are. */
function refuseFixed(session: Session): void {
  if (session.io.env.AIRAVATA_CONTEXT)
    throw new SchedulerError("conflict", `AIRAVATA_CONTEXT names ${contextFile(session.io.env)}: unset it to work with named contexts`);
}
