/** user: what administrators do with accounts. */
import { randomUUID } from "node:crypto";
import { profileOf } from "./auth.ts";
import { EXIT } from "./exit-code.ts";
import { showInstant, table } from "./output.ts";
import { type PageOptions, readPages } from "./pages.ts";
import { readPassword } from "./password.ts";
import { type Action, connect, type Session } from "./session.ts";

export async function list(session: Session, options: PageOptions): Promise<number> {
  const client = await connect(session);
  const page = await readPages(options, (query) => client.call("listUsers", { query, signal: session.signal }));
  const rows = page.items.map((u) => [u.id, u.name, u.disabled ? "DISABLED" : "ENABLED", showInstant(u.createdAtMs), u.fullName ?? "-"]);
  const more = page.cursor === undefined ? [] : [`more: --cursor ${page.cursor}`];
  session.output.result(page, () => [...table(["ID", "NAME", "STATE", "SINCE", "FULL NAME"], rows), ...more]);
  return EXIT.done;
}

interface CreateOptions {
  readonly passwordFile?: string;
  readonly fullName?: string;
  readonly email?: string;
}

export async function create(session: Session, options: CreateOptions, args: readonly string[]): Promise<number> {
  const { io, output, signal } = session;
  const client = await connect(session);
  const password = await readPassword(io, options.passwordFile, signal);
  const made = await client.call("createUser", { body: { name: args[0] ?? "", password, ...profileOf(options) }, signal });
  output.result(made, () => [`${made.name}  ${made.id}`]);
  return EXIT.done;
}

export const setDisabled =
  (operation: "disableUser" | "enableUser"): Action<object> =>
  async (session, _, args) => {
    const client = await connect(session);
    const params = { id: args[0] ?? "" };
    const user = await client.call(operation, { params, idempotencyKey: randomUUID(), signal: session.signal });
    session.output.result(user, () => [`${user.name} is ${user.disabled ? "disabled" : "enabled"}`]);
    return EXIT.done;
  };

export async function resetPassword(
  session: Session,
  options: { readonly passwordFile?: string },
  args: readonly string[],
): Promise<number> {
  const { io, output, signal } = session;
  const client = await connect(session);
  const password = await readPassword(io, options.passwordFile, signal, "New password: ");
  const user = await client.call("resetPassword", { params: { id: args[0] ?? "" }, body: { password }, signal });
  output.result(user, () => [`the password of ${user.name} is changed; every login of the account has ended`]);
  return EXIT.done;
}

export async function remove(
  session: Session,
  options: { readonly experiments: "keep" | "delete" },
  args: readonly string[],
): Promise<number> {
  const id = args[0] ?? "";
  await (await connect(session)).call("deleteUser", {
    params: { id },
    query: { experiments: options.experiments },
    signal: session.signal,
  });
  session.output.result({ id, deleted: true }, () => [`the account ${id} is deleted`]);
  return EXIT.done;
}
