/** A new experiment from an old one, and the file that one was made from. */
import { randomUUID } from "node:crypto";
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { showCount } from "./output.ts";
import { type FileOptions, askedOf } from "./run.ts";
import { follow } from "./watch.ts";
import { connect, type Session } from "./session.ts";

type Args = readonly string[];

export interface DeriveOptions extends FileOptions {
  /** False: only create it. */
  readonly submit: boolean;
  readonly detach?: boolean;
}

export async function derive(session: Session, options: DeriveOptions, args: Args): Promise<number> {
  const params = { id: readExperimentId(args[0]) };
  const client = await connect(session);
  const { signal } = session;
  const query = { submit: options.submit ? "true" : "false" } as const;
  const body = askedOf(options);
  const made = await client.call("deriveExperiment", { params, query, body, idempotencyKey: randomUUID(), signal });
  if (!options.submit || options.detach === true) {
    session.output.result(made, () => [made.id]);
    session.output.note(
      `${options.submit ? "started" : "created"} ${made.name}: ${showCount(made.tasks)} tasks, derived from ${params.id}`,
    );
    return EXIT.done;
  }
  // The answer names it though it could not be started: only that is repeated.
  if (made.status === "CREATED") await client.call("submitExperiment", { params: { id: made.id }, idempotencyKey: randomUUID(), signal });
  session.output.note(`started ${made.name} as ${made.id}: ${showCount(made.tasks)} tasks, derived from ${params.id}`);
  return follow(client, session, made.id);
}

export async function file(session: Session, _: object, args: Args): Promise<number> {
  const params = { id: readExperimentId(args[0]) };
  const kept = await (await connect(session)).call("getExperimentFile", { params, signal: session.signal });
  session.output.result(kept, () => kept.file.replace(/\n$/, "").split("\n"));
  const set = Object.entries(kept.set).map(([name, value]) => `${name}=${value}`);
  if (set.length > 0) session.output.note(`with --set ${set.join(" --set ")}`);
  return EXIT.done;
}
