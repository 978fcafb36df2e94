/**
 * Logins that are remembered between calls: each a file that only its owner can read. The one named `default` is
 * context.json, others are contexts/<name>.json beside it; the file `current` names the one in use when it is another.
 */
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { SchedulerError } from "#domain/error.ts";

const FORMAT_VERSION = 1;

/** Where a login was made, when not at the server itself. */
export interface IssuerLogin {
  readonly issuer: string;
  readonly clientId: string;
}

export interface Context {
  readonly server: string;
  readonly token: string;
  readonly expiresAtMs: number;
  /** For the next token. Logins of before there were any have none. */
  readonly refreshToken?: string;
  readonly refreshExpiresAtMs?: number;
  readonly issuer?: IssuerLogin;
  readonly user: { readonly id: string; readonly name: string };
}

export const DEFAULT_CONTEXT = "default";
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/;
export const isContextName = (name: string): boolean => NAME.test(name);

/** airavata in $XDG_CONFIG_HOME or ~/.config. */
const settingsFolder = (env: NodeJS.ProcessEnv): string => join(env.XDG_CONFIG_HOME || join(homedir(), ".config"), "airavata");
export const contextsFolder = (env: NodeJS.ProcessEnv): string => join(settingsFolder(env), "contexts");

export function namedContextFile(env: NodeJS.ProcessEnv, name: string): string {
  if (!isContextName(name))
    throw new SchedulerError(
      "invalid-input",
      `${JSON.stringify(name)} is no name of a context: use a-z, 0-9, ., _ and -, at most 63 of them`,
    );
  return name === DEFAULT_CONTEXT ? join(settingsFolder(env), "context.json") : join(contextsFolder(env), `${name}.json`);
}

/** $AIRAVATA_CONTEXT_NAME (what --context sets), else the one chosen by `context use`. */
export function currentContext(env: NodeJS.ProcessEnv): string {
  if (env.AIRAVATA_CONTEXT_NAME) return env.AIRAVATA_CONTEXT_NAME;
  try {
    const name = readFileSync(join(settingsFolder(env), "current"), "utf8").trim();
    return isContextName(name) ? name : DEFAULT_CONTEXT;
  } catch {
    return DEFAULT_CONTEXT;
  }
}

/** The file $AIRAVATA_CONTEXT, else that of the context in use. */
export const contextFile = (env: NodeJS.ProcessEnv): string => env.AIRAVATA_CONTEXT || namedContextFile(env, currentContext(env));

export const writeCurrentContext = (env: NodeJS.ProcessEnv, name: string): Promise<void> =>
  writePrivate(join(settingsFolder(env), "current"), `${name}\n`);

function isContext(value: unknown): value is Context & { readonly formatVersion: number } {
  if (typeof value !== "object" || value === null) return false;
  const { formatVersion, server, token, expiresAtMs, refreshToken, refreshExpiresAtMs, user } = value as Record<string, unknown>;
  return (
    formatVersion === FORMAT_VERSION &&
    typeof server === "string" &&
    typeof token === "string" &&
    typeof expiresAtMs === "number" &&
    (refreshToken === undefined || typeof refreshToken === "string") &&
    (refreshExpiresAtMs === undefined || typeof refreshExpiresAtMs === "number") &&
    typeof user === "object" &&
    user !== null
  );
}

const isAbsent = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

export async function readContext(env: NodeJS.ProcessEnv): Promise<Context | undefined> {
  const file = contextFile(env);
  try {
    const value: unknown = JSON.parse(await readFile(file, "utf8"));
    if (!isContext(value)) throw new Error("it is not a context of this version");
    // A copy or a careless umask may have opened it to others: it holds a token.
    if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600);
    const { formatVersion: _, ...context } = value;
    return context;
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw new SchedulerError(
      "invalid-input",
      `can't read ${file} (${cause instanceof Error ? cause.message : cause}): log in again or remove it`,
      { cause },
    );
  }
}

export async function writeContext(env: NodeJS.ProcessEnv, context: Context): Promise<string> {
  const file = contextFile(env);
  await writePrivate(file, `${JSON.stringify({ formatVersion: FORMAT_VERSION, ...context }, null, 2)}\n`);
  return file;
}

async function writePrivate(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const written = `${file}.${randomUUID()}`;
  await writeFile(written, text, { mode: 0o600, flag: "wx" });
  await rename(written, file);
}

/** A no-op when there is none. */
export const removeContext = (env: NodeJS.ProcessEnv): Promise<void> => rm(contextFile(env), { force: true });
