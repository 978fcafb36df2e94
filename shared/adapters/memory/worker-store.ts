/** WorkerStore in memory, on the table that the memory TaskStore uses: assign and settle change the same workers. */
import { assert } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { hasRoom, type Worker, type WorkerKey, workerName } from "#domain/worker.ts";
import type { WriteOutcome } from "#ports/task-store.ts";
import type { BeatOutcome, GatewayRecord, Register, WorkerStore } from "#ports/worker-store.ts";
import { copyPhases, copyWorker, type MemoryTable, type Operation, sorted, transact } from "./table.ts";

export function createMemoryWorkerStore(table: MemoryTable): WorkerStore {
  const change = (key: WorkerKey, when: (w: Worker) => boolean, to: (w: Worker) => Worker): WriteOutcome => {
    const worker = table.workers.get(workerName(key));
    return transact([
      {
        by: "worker",
        index: 0,
        check: () => worker !== undefined && when(worker),
        effect: () => worker !== undefined && table.workers.set(workerName(key), to(worker)),
      },
    ]);
  };
  const beat = (key: WorkerKey, when: (w: Worker) => boolean, to: (w: Worker) => Worker): BeatOutcome => {
    const { kind } = change(key, when, to);
    const worker = table.workers.get(workerName(key));
    if (kind === "done" && worker !== undefined) return { kind, worker: copyWorker(worker) };
    return { kind: "refused", worker: worker === undefined ? undefined : copyWorker(worker) };
  };
  return {
    readHead: async (id) => table.heads.get(id) ?? 0,
    readWorker: async (key) => {
      const worker = table.workers.get(workerName(key));
      return worker === undefined ? undefined : copyWorker(worker);
    },
    register: async (register) => transact(registration(table, register)),
    connect: async (key, gateway, expiresAtMs) =>
      beat(
        key,
        (w) => w.state !== "DEAD",
        (w) => ({ ...w, session: w.session + 1, gateway, expiresAtMs }),
      ),
    heartbeat: async (key, { session, beat: now, expiresAtMs, phases }) =>
      beat(
        key,
        (w) => w.state !== "DEAD" && w.session === session && w.beat < now,
        (w) => ({ ...w, beat: now, expiresAtMs, phases: copyPhases(phases) }),
      ),
    drain: async (key) =>
      change(
        key,
        (w) => w.state === "READY",
        (w) => ({ ...w, state: "DRAINING" }),
      ),
    markDead: async (key, seen) =>
      change(
        key,
        (w) => w.state !== "DEAD" && w.beat === seen,
        (w) => ({ ...w, state: "DEAD" }),
      ),
    removeDead: async (key) => {
      const worker = table.workers.get(workerName(key));
      const effect = () => table.workers.delete(workerName(key));
      return transact([{ by: "worker", index: 0, check: () => worker?.state === "DEAD" && worker.leases.size === 0, effect }]);
    },
    workersWithRoom: async (limit) => sorted(table.workers).filter(hasRoom).slice(0, limit).map(copyWorker),
    liveWorkers: async (limit) => sorted(table.workers).slice(0, limit).map(copyWorker),

    putToken: async (token) => {
      const effect = () => table.tokens.set(token.hash, { ...token, used: false });
      return transact([{ by: "worker", index: 0, check: () => !table.tokens.has(token.hash), effect }]);
    },
    useToken: async (hash, nowMs) => {
      const token = table.tokens.get(hash);
      if (token === undefined || token.used || token.expiresAtMs <= nowMs) return undefined; // W3
      table.tokens.set(hash, { ...token, used: true });
      return { pool: token.pool };
    },

    putGateway: async (gateway) => void table.gateways.set(gateway.id, copyGateway(gateway)),
    removeGateway: async (id) => void table.gateways.delete(id),
    gateways: async () => sorted(table.gateways).map(copyGateway),
  };
}

function registration(table: MemoryTable, { worker, expectHead }: Register): Operation[] {
  const { id, incarnation } = worker.key;
  assert(incarnation === expectHead + 1, "the new incarnation is head + 1");
  assert(
    worker.leases.size === 0 && worker.state === "READY" && worker.session === 0,
    "a new incarnation is READY, in session 0, without leases",
  );
  const name = workerName(worker.key);
  const oldName = workerName({ id, incarnation: expectHead });
  const old = table.workers.get(oldName);
  return [
    { by: "worker", index: 0, check: () => (table.heads.get(id) ?? 0) === expectHead, effect: () => table.heads.set(id, incarnation) },
    { by: "worker", index: 0, check: () => !table.workers.has(name), effect: () => table.workers.set(name, copyWorker(worker)) },
    { by: "worker", index: 0, check: () => true, effect: () => old !== undefined && table.workers.set(oldName, { ...old, state: "DEAD" }) },
  ];
}

const copyGateway = (g: GatewayRecord): GatewayRecord => ({
  ...g,
  usage: new Map([...g.usage].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, c]): [ExperimentId, typeof c] => [id, { ...c }])),
});
