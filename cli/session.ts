/** What every command gets: where to write, whom to ask. Server: option > AIRAVATA_SERVER > remembered login > default. */
import { type Client, createClient } from "#api/client.ts";
import { SchedulerError } from "#domain/error.ts";
import type { Command } from "commander";
import { type Context, readContext } from "./context.ts";
import { freshLogin } from "./login.ts";
import { createOutput, type Output, type Streams } from "./output.ts";

export const SERVER_DEFAULT = "http://127.0.0.1:8080";

export interface GlobalOptions {
  readonly server?: string;
  readonly context?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

export interface Io extends Streams {
  readonly stdin: NodeJS.ReadStream;
}

export interface Session {
  readonly io: Io;
  readonly output: Output;
  readonly options: GlobalOptions;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A command: positional arguments and options as commander read them; resolves to its exit code. */
export type Action<O> = (session: Session, options: O, args: readonly string[]) => Promise<number>;
/** Gives a command its common options and what it does. */
export type AddAction = <O>(command: Command, load: () => Promise<Action<O & GlobalOptions>>) => Command;

export function createSession(given: Io, options: GlobalOptions, signal: AbortSignal): Session {
  const { context } = options;
  const io = context === undefined ? given : { ...given, env: { ...given.env, AIRAVATA_CONTEXT_NAME: context, AIRAVATA_CONTEXT: "" } };
  return { io, options, signal, output: createOutput(io, { json: options.json === true, quiet: options.quiet === true }) };
}

const isLoopback = (host: string): boolean => host === "localhost" || host === "[::1]" || /^127(\.\d+){3}$/.test(host);

/** Address without a slash at its end. Plain http to another machine shows token and password to the network between. */
export function readServer(text: string, output: Output): string {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.search !== "" || url.hash !== "") {
    throw new SchedulerError("invalid-input", `${text} is not the address of a server: give it like https://scheduler.example.org`);
  }
  if (url.protocol === "http:" && !isLoopback(url.hostname))
    output.error(`warning: ${url.host} is reached without TLS: others can read what is sent`);
  return url.href.replace(/\/+$/, "");
}

export async function whereTo(session: Session): Promise<{ readonly server: string; readonly context: Context | undefined }> {
  const { env } = session.io;
  const context = await readContext(env);
  const server = readServer(session.options.server ?? (env.AIRAVATA_SERVER || (context?.server ?? SERVER_DEFAULT)), session.output);
  return { server, context };
}

/** A client with the token of AIRAVATA_TOKEN, or of the login at this very server, which is refreshed when it is about to end. */
export async function connect(session: Session): Promise<Client> {
  const { server, context } = await whereTo(session);
  const given = session.io.env.AIRAVATA_TOKEN;
  if (given) return createClient({ server, token: given });
  if (context?.server !== server) {
    const known = context === undefined ? "" : ` (the remembered login is for ${context.server})`;
    throw new SchedulerError("unauthenticated", `not logged in at ${server}${known}`);
  }
  let login = context;
  const token = async (): Promise<string> => {
    login = await freshLogin(session.io.env, login);
    return login.token;
  };
  return createClient({ server, token });
}
