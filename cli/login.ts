/** login, context show. */
import { createClient } from "#api/client.ts";
import { contextFile, readContext, writeContext } from "./context.ts";
import { EXIT } from "./exit-code.ts";
import { showInstant } from "./output.ts";
import { ask, readPassword } from "./password.ts";
import { type Session, whereTo } from "./session.ts";

interface LoginOptions {
  readonly user?: string;
  readonly passwordFile?: string;
}

export async function login(session: Session, options: LoginOptions): Promise<number> {
  const { io, output, signal } = session;
  const { server } = await whereTo(session);
  const name = options.user ?? (await ask(io, "User: ", false, signal));
  const password = await readPassword(io, options.passwordFile, signal);
  const answer = await createClient({ server }).call("login", { body: { name, password }, signal });
  const file = await writeContext(io.env, { server, ...answer });
  const shown = { server, user: answer.user, expiresAtMs: answer.expiresAtMs, file };
  output.result(shown, () => [`logged in at ${server} as ${answer.user.name} until ${showInstant(answer.expiresAtMs)}`]);
  return EXIT.done;
}

/** Works without a server; exit code 3 when nobody is logged in. */
export async function showContext(session: Session): Promise<number> {
  const { io, output } = session;
  const file = contextFile(io.env);
  const context = await readContext(io.env);
  if (context === undefined) {
    output.result({ file, loggedIn: false }, () => [`not logged in (${file} is not there)`]);
    return EXIT.auth;
  }
  const { server, user, expiresAtMs } = context;
  const expired = expiresAtMs <= Date.now();
  output.result({ file, loggedIn: !expired, server, user, expiresAtMs }, () => [
    `server   ${server}`,
    `user     ${user.name} (${user.id})`,
    `expires  ${showInstant(expiresAtMs)}${expired ? " (over: log in again)" : ""}`,
    `file     ${file}`,
  ]);
  return expired ? EXIT.auth : EXIT.done;
}
