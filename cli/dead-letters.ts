/** admin dead-letters list, admin dead-letters redrive. */
import { randomUUID } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { EXIT } from "./exit-code.ts";
import { table } from "./output.ts";
import { connect, type Session } from "./session.ts";

export async function listDeadLetters(session: Session): Promise<number> {
  const client = await connect(session);
  const { items } = await client.call("listDeadLetters", { signal: session.signal });
  session.output.result(items, () => {
    if (items.length === 0) return ["no dead letters"];
    const letters = items.flatMap(({ queue, some }) => some.map(({ id, body }) => [queue, id, body]));
    return [
      ...table(
        ["QUEUE", "DEAD LETTERS"],
        items.map(({ queue, messages }) => [queue, messages]),
      ),
      "",
      ...table(["QUEUE", "MESSAGE", "BODY"], letters),
    ];
  });
  return EXIT.done;
}

export async function redriveDeadLetters(session: Session, options: { readonly limit?: string }, args: readonly string[]): Promise<number> {
  const limit = options.limit === undefined ? {} : { limit: Number(options.limit) };
  if (options.limit !== undefined && !/^[1-9]\d{0,3}$/.test(options.limit))
    throw new SchedulerError("invalid-input", `--limit is a whole number from 1 to 1000, not ${options.limit}`);
  const client = await connect(session);
  const body = { queue: args[0] ?? "", ...limit };
  const done = await client.call("redriveDeadLetters", { body, idempotencyKey: randomUUID(), signal: session.signal });
  session.output.result(done, () => [`${done.moved} sent again, ${done.left} left`]);
  return EXIT.done;
}
