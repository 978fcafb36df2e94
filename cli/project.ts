/** project: what experiments are in, and who reaches them by that. Projects are named by id, or by name among your own. */
import { randomUUID } from "node:crypto";
import type { Client } from "#api/client.ts";
import type { Role } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import { parseId, type ProjectId } from "#domain/id.ts";
import { EXIT } from "./exit-code.ts";
import { clean, showInstant, table } from "./output.ts";
import { readPages } from "./pages.ts";
import { type Action, connect, type Session } from "./session.ts";

const ALL = { all: true, limit: 1 } as const;
const own = (client: Client, signal: AbortSignal) => readPages(ALL, (query) => client.call("listProjects", { query, signal }));

export async function findProject(client: Client, wanted: string, signal: AbortSignal): Promise<ProjectId> {
  const id = parseId("project", wanted);
  if (id !== undefined) return id;
  const found = (await own(client, signal)).items.filter((project) => project.name === wanted);
  const [first, second] = found;
  if (first === undefined) throw new SchedulerError("not-found", `you belong to no project ${wanted}: airavata project list shows yours`);
  if (second === undefined) return first.id;
  throw new SchedulerError(
    "invalid-input",
    `several of your projects are named ${wanted}: give one of ${found.map((p) => p.id).join(", ")}`,
  );
}

export async function list(session: Session): Promise<number> {
  const { items } = await own(await connect(session), session.signal);
  const rows = items.map((p) => [p.id, p.name, p.archived ? "ARCHIVED" : "OPEN", showInstant(p.createdAtMs), p.description]);
  session.output.result(items, () => table(["ID", "NAME", "STATE", "SINCE", "DESCRIPTION"], rows));
  return EXIT.done;
}

interface Texts {
  readonly name?: string;
  readonly description?: string;
}

export async function create(session: Session, options: Texts, args: readonly string[]): Promise<number> {
  const client = await connect(session);
  const body = { name: args[0] ?? "", description: options.description ?? "" };
  const made = await client.call("createProject", { body, idempotencyKey: randomUUID(), signal: session.signal });
  session.output.result(made, () => [`${made.name}  ${made.id}`]);
  return EXIT.done;
}

export async function show(session: Session, _: object, args: readonly string[]): Promise<number> {
  const { output, signal } = session;
  const client = await connect(session);
  const params = { id: await findProject(client, args[0] ?? "", signal) };
  const project = await client.call("getProject", { params, signal });
  const { items: members } = await readPages(ALL, (query) => client.call("listMembers", { params, query, signal }));
  const rows = members.map((m) => [m.name ?? "-", m.role, m.user]);
  output.result({ ...project, members }, () => [
    clean(`${project.name}  ${project.id}  ${project.archived ? "ARCHIVED" : "OPEN"}`),
    ...(project.description === "" ? [] : [clean(project.description)]),
    ...table(["MEMBER", "ROLE", "ID"], rows),
  ]);
  return EXIT.done;
}

export async function edit(session: Session, options: Texts, args: readonly string[]): Promise<number> {
  const { name, description } = options;
  return change(session, args[0], {
    ...(name === undefined ? {} : { name }),
    ...(description === undefined ? {} : { description }),
  });
}

export const setArchived =
  (archived: boolean): Action<object> =>
  (session, _, args) =>
    change(session, args[0], { archived });

async function change(session: Session, wanted = "", body: Texts & { readonly archived?: boolean }): Promise<number> {
  const { output, signal } = session;
  const client = await connect(session);
  const params = { id: await findProject(client, wanted, signal) };
  const project = await client.call("editProject", { params, body, idempotencyKey: randomUUID(), signal });
  output.result(project, () => [clean(`${project.name}  ${project.id}  ${project.archived ? "ARCHIVED" : "OPEN"}`)]);
  return EXIT.done;
}

export async function remove(session: Session, _: object, args: readonly string[]): Promise<number> {
  const client = await connect(session);
  const id = await findProject(client, args[0] ?? "", session.signal);
  await client.call("deleteProject", { params: { id }, signal: session.signal });
  session.output.result({ id, deleted: true }, () => [`${id} is deleted`]);
  return EXIT.done;
}

export async function addMember(session: Session, options: { readonly role: Role }, args: readonly string[]): Promise<number> {
  const { output, signal } = session;
  const client = await connect(session);
  const params = { id: await findProject(client, args[0] ?? "", signal) };
  const body = { user: args[1] ?? "", role: options.role };
  const member = await client.call("setMember", { params, body, idempotencyKey: randomUUID(), signal });
  output.result(member, () => [`${member.name ?? member.user} is ${member.role} of ${params.id}`]);
  return EXIT.done;
}

export async function removeMember(session: Session, _: object, args: readonly string[]): Promise<number> {
  const { output, signal } = session;
  const client = await connect(session);
  const params = { id: await findProject(client, args[0] ?? "", signal), user: args[1] ?? "" };
  await client.call("removeMember", { params, signal });
  output.result({ ...params, removed: true }, () => [`${params.user} does not belong to ${params.id} any more`]);
  return EXIT.done;
}
