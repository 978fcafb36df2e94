/** The login that is remembered between calls: a file that only its owner can read. */
import { randomUUID } from "node:crypto";
import { chmod, mkdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { SchedulerError } from "#domain/error.ts";

const FORMAT_VERSION = 1;

export interface Context {
  readonly server: string;
  readonly token: string;
  readonly expiresAtMs: number;
  /** For the next token. Logins of before there were any have none. */
  readonly refreshToken?: string;
  readonly refreshExpiresAtMs?: number;
  readonly user: { readonly id: string; readonly name: string };
}

/** $AIRAVATA_CONTEXT, else airavata/context.json in $XDG_CONFIG_HOME or ~/.config. */
export function contextFile(env: NodeJS.ProcessEnv): string {
  if (env.AIRAVATA_CONTEXT) return env.AIRAVATA_CONTEXT;
  return join(env.XDG_CONFIG_HOME || join(homedir(), ".config"), "airavata", "context.json");
}

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
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const written = `${file}.${randomUUID()}`;
  await writeFile(written, `${JSON.stringify({ formatVersion: FORMAT_VERSION, ...context }, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  await rename(written, file);
  return file;
}

/** A no-op when there is none. */
export const removeContext = (env: NodeJS.ProcessEnv): Promise<void> => rm(contextFile(env), { force: true });
