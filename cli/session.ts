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

/** Where the server is, and the token of AIRAVATA_TOKEN, or of the login at this very server, refreshed when it is about to end. */
async function credentials(session: Session): Promise<{ readonly server: string; readonly token: string | (() => Promise<string>) }> {
  const { server, context } = await whereTo(session);
  const given = session.io.env.AIRAVATA_TOKEN;
  if (given) return { server, token: given };
  if (context?.server !== server) {
    const known = context === undefined ? "" : ` (the remembered login is for ${context.server})`;
    throw new SchedulerError("unauthenticated", `not logged in at ${server}${known}`);
  }
  let login = context;
  const token = async (): Promise<string> => {
    login = await freshLogin(session.io.env, login);
    return login.token;
  };
  return { server, token };
}

export const connect = async (session: Session): Promise<Client> => createClient(await credentials(session));

/**
 * A client of the gateway that a link of the server's answer names. It gets the same token: the server vouches for it, but
 * whoever is reached safely must not send us where others can listen. Asks once: who holds a stream repeats by himself.
 */
export async function connectLive(session: Session, link: string): Promise<Client> {
  const { server, token } = await credentials(session);
  const to = URL.parse(link);
  const path = to?.pathname.split("/v1/")[0] ?? "";
  if (to === null || !["http:", "https:"].includes(to.protocol))
    throw new SchedulerError("version-mismatch", "the server names a gateway by something that is no address: update client or server");
  if (server.startsWith("https:") && to.protocol === "http:" && !isLoopback(to.hostname))
    throw new SchedulerError("unavailable", `the server names the gateway ${to.host} without TLS: the token is not sent there`);
  return createClient({ server: `${to.origin}${path}`, token, attemptsMax: 1 });
}
