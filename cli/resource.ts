/** resource list, resource register, worker list. */
import { randomUUID } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { EXIT } from "./exit-code.ts";
import { showInstant, table } from "./output.ts";
import { readPages } from "./pages.ts";
import { connect, type Session } from "./session.ts";

const ALL = { all: true, limit: 1 } as const;

export async function resources(session: Session): Promise<number> {
  const client = await connect(session);
  const { items } = await readPages(ALL, (query) => client.call("listResources", { query, signal: session.signal }));
  const rows = items.map((r) => [r.name, r.kind, r.kind === "POSIX" ? r.root : "-", showInstant(r.createdAtMs)]);
  session.output.result(items, () => table(["NAME", "KIND", "ROOT", "SINCE"], rows));
  return EXIT.done;
}

interface RegisterOptions {
  readonly kind: "LOCAL" | "POSIX";
  readonly root?: string;
  readonly open?: boolean;
  readonly writable?: boolean;
}

export async function register(session: Session, options: RegisterOptions, args: readonly string[]): Promise<number> {
  const { kind, root, open = false, writable = false } = options;
  const name = args[0] ?? "";
  if ((kind === "POSIX") !== (root !== undefined))
    throw new SchedulerError("invalid-input", "--root goes with --kind POSIX, and with no other");
  if (writable && kind !== "POSIX") throw new SchedulerError("invalid-input", "--writable goes with --kind POSIX only");
  const body = kind === "POSIX" ? { kind, name, root: root ?? "", open, writable } : { kind, name, open };
  const client = await connect(session);
  const made = await client.call("registerResource", { body, idempotencyKey: randomUUID(), signal: session.signal });
  session.output.result(made, () => [`${made.name}  ${made.kind}  ${made.id}`]);
  return EXIT.done;
}

export async function workers(session: Session): Promise<number> {
  const client = await connect(session);
  const { items } = await readPages(ALL, (query) => client.call("listWorkers", { query, signal: session.signal }));
  const share = (free: number, size: number): string => `${free}/${size}`;
  const rows = items.map((w) => [
    w.worker,
    w.pool,
    w.state,
    share(Math.max(0, w.free.cpuMilli) / 1000, w.size.cpuMilli / 1000),
    share(w.free.memoryMib, w.size.memoryMib),
    share(w.free.gpu, w.size.gpu),
    w.leases,
    w.host,
    w.version,
  ]);
  session.output.result(items, () =>
    table(["WORKER", "POOL", "STATE", "CPU FREE", "MIB FREE", "GPU FREE", "LEASES", "HOST", "VERSION"], rows),
  );
  return EXIT.done;
}
