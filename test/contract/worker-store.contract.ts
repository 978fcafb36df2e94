/** What every WorkerStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Worker, WORKER_LEASES_MAX } from "#domain/worker.ts";
import type { WriteOutcome } from "#ports/task-store.ts";
import type { GatewayRecord, WorkerStore } from "#ports/worker-store.ts";
import type { StateSubject } from "../support/dynamo-state.ts";
import {
  anAssign,
  anExperiment,
  anUnbornSegment,
  aSet,
  aSettle,
  aWorker,
  experimentId,
  gatewayId,
  NOW_MS,
  range,
  SLOT,
  workerId,
} from "../support/state.ts";

const DONE: WriteOutcome = { kind: "done" };
const REFUSED = { kind: "refused", by: "worker", index: 0 };
const W1 = { id: workerId(1), incarnation: 1 };

interface Case {
  readonly subject: StateSubject;
  readonly workers: WorkerStore;
  worker(key?: Worker["key"]): Promise<Worker | undefined>;
  /** Expects that the write is refused and changes nothing. */
  refuses(write: () => Promise<unknown>): Promise<void>;
  /** Expects that the write answers so and changes nothing. */
  changesNothing(write: () => Promise<unknown>, answer: unknown): Promise<void>;
}

export function describeWorkerStore(name: string, make: () => Promise<StateSubject>): void {
  describe(`WorkerStore: ${name}`, () => {
    let now: Case;
    beforeEach(async () => {
      const subject = await make();
      const { workers } = subject;
      expect(await workers.register({ worker: aWorker(), expectHead: 0 })).toEqual(DONE);
      const changesNothing: Case["changesNothing"] = async (write, answer) => {
        const before = await subject.dump();
        expect(await write()).toEqual(answer);
        expect(await subject.dump()).toEqual(before);
      };
      const refuses = (write: () => Promise<unknown>) => changesNothing(write, REFUSED);
      now = { subject, workers, worker: (key = W1) => workers.readWorker(key), refuses, changesNothing };
    });
    afterEach(() => now.subject[Symbol.asyncDispose]());
    const state = () => now;
    describe("registration", () => registrationCases(state));
    describe("connection and heartbeat", () => beatCases(state));
    describe("end of an incarnation", () => endCases(state));
    describe("lists", () => listCases(state));
    describe("tokens", () => tokenCases(state));
    describe("gateways", () => gatewayCases(state));
  });
}

function registrationCases(now: () => Case): void {
  const second = aWorker({ key: { ...W1, incarnation: 2 } });

  it("reads back a worker with everything in it", async () => {
    const { workers, worker } = now();
    const full = aWorker({
      key: { id: workerId(5), incarnation: 1 },
      gateway: gatewayId(1),
      endsAtMs: NOW_MS + 5,
      packages: ["conda", "pip"],
      host: "hôst",
      cap: { cpuMilli: 1, memoryMib: 2, gpu: 3 },
    });
    expect(await workers.register({ worker: full, expectHead: 0 })).toEqual(DONE);
    expect(await worker(full.key)).toEqual(full);
    expect(await workers.readHead(full.key.id)).toBe(1);
    expect(await workers.readHead(workerId(6))).toBe(0);
    expect(await worker({ ...full.key, incarnation: 2 })).toBeUndefined();
  });

  it("makes the old incarnation DEAD and keeps its leases with it", async () => {
    const { subject, workers, worker } = now();
    await subject.tasks.createExperiment(anExperiment(), [aSet()]);
    await subject.tasks.assign(anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 1) }]));
    expect(await workers.register({ worker: second, expectHead: 1 })).toEqual(DONE);
    expect(await worker()).toMatchObject({ state: "DEAD", leases: new Set([`${experimentId(1)}/0/0/1`]) });
    expect(await worker(second.key)).toEqual(second);
    expect(await workers.readHead(W1.id)).toBe(2);
  });

  it("registers also where the old incarnation is gone", async () => {
    const { workers, worker } = now();
    await workers.markDead(W1, 0);
    await workers.removeDead(W1);
    expect(await workers.register({ worker: second, expectHead: 1 })).toEqual(DONE);
    expect(await worker()).toBeUndefined();
  });

  it("refuses another head, older and newer", async () => {
    const { workers, refuses } = now();
    await refuses(() => workers.register({ worker: aWorker({ host: "other" }), expectHead: 0 }));
    await refuses(() => workers.register({ worker: aWorker({ key: { ...W1, incarnation: 3 } }), expectHead: 2 }));
    await refuses(() => workers.register({ worker: aWorker({ key: { id: workerId(7), incarnation: 2 } }), expectHead: 1 }));
  });

  it("never gives an incarnation again, even when its item is gone (G3)", async () => {
    const { workers, refuses } = now();
    await workers.register({ worker: second, expectHead: 1 });
    await workers.markDead(second.key, 0);
    expect(await workers.removeDead(second.key)).toEqual(DONE);
    await refuses(() => workers.register({ worker: second, expectHead: 1 }));
  });

  it("lets one of eight register", async () => {
    const { workers } = now();
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => workers.register({ worker: second, expectHead: 1 })));
    expect(outcomes.filter((o) => o.kind === "done")).toHaveLength(1);
  });
}

function beatCases(now: () => Case): void {
  it("raises the session with each connection", async () => {
    const { workers, worker } = now();
    const outcome = await workers.connect(W1, gatewayId(1), NOW_MS + 7);
    const expected = aWorker({ session: 1, gateway: gatewayId(1), expiresAtMs: NOW_MS + 7 });
    expect(outcome).toEqual({ kind: "done", worker: expected });
    expect(await worker()).toEqual(expected);
    expect(await workers.connect(W1, gatewayId(2), NOW_MS + 8)).toMatchObject({
      kind: "done",
      worker: { session: 2, gateway: gatewayId(2) },
    });
  });

  it("connects a draining worker, not a dead or an absent one", async () => {
    const { workers, worker, changesNothing } = now();
    await workers.drain(W1);
    expect(await workers.connect(W1, gatewayId(1), NOW_MS)).toMatchObject({ kind: "done", worker: { state: "DRAINING" } });
    await workers.markDead(W1, 0);
    await changesNothing(() => workers.connect(W1, gatewayId(1), NOW_MS), { kind: "refused", worker: await worker() });
    await changesNothing(() => workers.connect({ ...W1, incarnation: 2 }, gatewayId(1), NOW_MS), { kind: "refused", worker: undefined });
  });

  it("takes a beat of this session that is newer than the last", async () => {
    const { workers, worker, changesNothing } = now();
    const beat = (session: number, at: number) => workers.heartbeat(W1, { session, beat: at, expiresAtMs: NOW_MS + at });
    expect(await beat(0, 5)).toEqual({ kind: "done", worker: aWorker({ beat: 5, expiresAtMs: NOW_MS + 5 }) });
    const refused = { kind: "refused", worker: await worker() };
    await changesNothing(() => beat(0, 5), refused);
    await changesNothing(() => beat(0, 4), refused);
    await changesNothing(() => beat(1, 6), refused);
    await changesNothing(() => beat(-1, 6), refused);
    expect(await beat(0, 6)).toMatchObject({ kind: "done", worker: { beat: 6 } });
  });

  it("takes beats of a draining worker, not of a dead or an absent one", async () => {
    const { workers, worker, changesNothing } = now();
    const beat = { session: 0, beat: 1, expiresAtMs: NOW_MS };
    await workers.drain(W1);
    expect(await workers.heartbeat(W1, beat)).toMatchObject({ kind: "done", worker: { state: "DRAINING" } });
    await workers.markDead(W1, 1);
    await changesNothing(() => workers.heartbeat(W1, { ...beat, beat: 2 }), { kind: "refused", worker: await worker() });
    await changesNothing(() => workers.heartbeat({ ...W1, incarnation: 2 }, beat), { kind: "refused", worker: undefined });
  });
}

function endCases(now: () => Case): void {
  it("drains a READY worker once", async () => {
    const { workers, worker, refuses } = now();
    expect(await workers.drain(W1)).toEqual(DONE);
    expect(await worker()).toEqual(aWorker({ state: "DRAINING" }));
    await refuses(() => workers.drain(W1));
    await refuses(() => workers.drain({ ...W1, incarnation: 2 }));
  });

  it("marks a worker dead only at the beat that was seen, and once", async () => {
    const { workers, worker, refuses } = now();
    await workers.heartbeat(W1, { session: 0, beat: 3, expiresAtMs: NOW_MS });
    for (const seen of [0, 2, 4]) await refuses(() => workers.markDead(W1, seen));
    expect(await workers.markDead(W1, 3)).toEqual(DONE);
    expect(await worker()).toMatchObject({ state: "DEAD" });
    await refuses(() => workers.markDead(W1, 3));
    await refuses(() => workers.drain(W1));
    await refuses(() => workers.markDead({ ...W1, incarnation: 2 }, 0));
  });

  it("removes a dead worker without leases only", async () => {
    const { subject, workers, worker, refuses } = now();
    await subject.tasks.createExperiment(anExperiment(), [aSet()]);
    const change = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 1) }]);
    await subject.tasks.assign(change);
    await refuses(() => workers.removeDead(W1));
    await workers.markDead(W1, 0);
    await refuses(() => workers.removeDead(W1));
    await subject.tasks.settle(aSettle(change.segment.post, change.leases, { give: range(0, 1) }));
    expect(await workers.removeDead(W1)).toEqual(DONE);
    expect(await worker()).toBeUndefined();
    await refuses(() => workers.removeDead(W1));
  });
}

function listCases(now: () => Case): void {
  const ids = (found: readonly Worker[]) => found.map((w) => w.key.id).sort();

  it("lists READY workers with room, and every worker that is there", async () => {
    const { workers } = now();
    for (let n = 2; n <= 9; n++) await workers.register({ worker: aWorker({ key: { id: workerId(n), incarnation: 1 } }), expectHead: 0 });
    await workers.drain({ id: workerId(2), incarnation: 1 });
    await workers.markDead({ id: workerId(3), incarnation: 1 }, 0);
    expect(ids(await workers.workersWithRoom(100))).toEqual([1, 4, 5, 6, 7, 8, 9].map(workerId).sort());
    expect(ids(await workers.liveWorkers(100))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map(workerId).sort());
    expect(await workers.workersWithRoom(3)).toHaveLength(3);
    expect(await workers.liveWorkers(3)).toHaveLength(3);
    await workers.removeDead({ id: workerId(3), incarnation: 1 });
    expect(await workers.liveWorkers(100)).toHaveLength(8);
  });

  it("finds the few with room among many that are full", async () => {
    const { subject, workers } = now();
    await subject.tasks.createExperiment(anExperiment(), [aSet()]);
    const full = { ...SLOT, cpuMilli: aWorker().free.cpuMilli };
    let segment = anUnbornSegment();
    for (let n = 2; n <= 21; n++) {
      const worker = { id: workerId(n), incarnation: 1 };
      await workers.register({ worker: aWorker({ key: worker }), expectHead: 0 });
      if (n % 10 === 0) continue;
      const change = anAssign({ segment, born: segment.version > 0 }, [{ worker, hold: range(n, n + 1), reserved: full }]);
      expect(await subject.tasks.assign(change)).toEqual(DONE);
      segment = change.segment.post;
    }
    for (let round = 0; round < 5; round++) expect(ids(await workers.workersWithRoom(3))).toEqual([1, 10, 20].map(workerId).sort());
  });

  it("leaves out a worker that is full until it has room again, also over a heartbeat", async () => {
    const { subject, workers } = now();
    await subject.tasks.createExperiment(anExperiment(), [aSet()]);
    const full = { ...SLOT, cpuMilli: aWorker().free.cpuMilli };
    const change = anAssign({ segment: anUnbornSegment(), born: false }, [{ worker: W1, hold: range(0, 1), reserved: full }]);
    await subject.tasks.assign(change);
    expect(await workers.workersWithRoom(5)).toEqual([]);
    await workers.heartbeat(W1, { session: 0, beat: 1, expiresAtMs: NOW_MS });
    expect(await workers.workersWithRoom(5)).toEqual([]);
    await subject.tasks.settle(aSettle(change.segment.post, change.leases, { give: range(0, 1) }));
    expect(ids(await workers.workersWithRoom(5))).toEqual([W1.id]);
    await workers.heartbeat(W1, { session: 0, beat: 2, expiresAtMs: NOW_MS });
    expect(ids(await workers.workersWithRoom(5))).toEqual([W1.id]);
  });

  it(`leaves out a worker with ${WORKER_LEASES_MAX} leases`, async () => {
    const { subject, workers } = now();
    await subject.tasks.createExperiment(anExperiment(), [aSet()]);
    let segment = anUnbornSegment();
    for (let i = 0; i < WORKER_LEASES_MAX; i++) {
      const change = anAssign({ segment, born: i > 0 }, [
        { worker: W1, hold: range(i, i + 1), reserved: { cpuMilli: 1, memoryMib: 0, gpu: 0 } },
      ]);
      expect(await subject.tasks.assign(change)).toEqual(DONE);
      segment = change.segment.post;
    }
    await workers.heartbeat(W1, { session: 0, beat: 1, expiresAtMs: NOW_MS });
    expect(await workers.workersWithRoom(5)).toEqual([]);
  });
}

function tokenCases(now: () => Case): void {
  const token = { hash: "c".repeat(64), pool: "cluster", expiresAtMs: NOW_MS };

  it("uses a token once (W3)", async () => {
    const { workers } = now();
    expect(await workers.putToken(token)).toEqual(DONE);
    expect(await workers.useToken("d".repeat(64), NOW_MS - 1)).toBeUndefined();
    const uses = await Promise.all(Array.from({ length: 8 }, () => workers.useToken(token.hash, NOW_MS - 1)));
    expect(uses.filter((u) => u !== undefined)).toEqual([{ pool: "cluster" }]);
    expect(await workers.useToken(token.hash, NOW_MS - 1)).toBeUndefined();
  });

  it("refuses a token from the moment it expires on (W3)", async () => {
    const { workers, changesNothing } = now();
    await workers.putToken(token);
    await changesNothing(() => workers.useToken(token.hash, NOW_MS + 1), undefined);
    await changesNothing(() => workers.useToken(token.hash, NOW_MS), undefined);
    expect(await workers.useToken(token.hash, NOW_MS - 1)).toEqual({ pool: "cluster" });
  });

  it("does not put a token twice, used or not", async () => {
    const { workers, refuses } = now();
    await workers.putToken(token);
    await refuses(() => workers.putToken({ ...token, pool: "other" }));
    await workers.useToken(token.hash, 0);
    await refuses(() => workers.putToken(token));
  });
}

function gatewayCases(now: () => Case): void {
  it("keeps the gateways' last words until they are removed", async () => {
    const { workers } = now();
    const gateway = (n: number, over: Partial<GatewayRecord> = {}): GatewayRecord => ({
      id: gatewayId(n),
      beatAtMs: NOW_MS,
      upSinceMs: NOW_MS - 1,
      queue: `dispatch-${n}`,
      usage: new Map(),
      ...over,
    });
    expect(await workers.gateways()).toEqual([]);
    const usage = new Map([
      [experimentId(1), SLOT],
      [experimentId(2), { cpuMilli: 0, memoryMib: 0, gpu: 4 }],
    ]);
    const url = "http://127.0.0.1:9";
    await workers.putGateway(gateway(2, { url }));
    await workers.putGateway(gateway(1));
    await workers.putGateway(gateway(1, { usage, beatAtMs: NOW_MS + 1 }));
    expect(await workers.gateways()).toEqual([gateway(1, { usage, beatAtMs: NOW_MS + 1 }), gateway(2, { url })]);
    await workers.removeGateway(gatewayId(1));
    await workers.removeGateway(gatewayId(9));
    expect(await workers.gateways()).toEqual([gateway(2, { url })]);
  });
}
