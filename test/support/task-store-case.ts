/** What the cases of the TaskStore contract start from and say. */
import { expect } from "vitest";
import type { Lease } from "#domain/lease.ts";
import type { Segment } from "#domain/segment.ts";
import type { Worker } from "#domain/worker.ts";
import type { Refuser, TaskStore, WriteOutcome } from "#ports/task-store.ts";
import type { StateSubject } from "../support/dynamo-state.ts";
import { anAssign, anExperiment, anUnbornSegment, aSegmentKey, aSet, aWorker, type range, workerId } from "../support/state.ts";

export const DONE: WriteOutcome = { kind: "done" };
export const refusedBy = (by: Refuser, index = 0): WriteOutcome => ({ kind: "refused", by, index });
export const W1 = { id: workerId(1), incarnation: 1 };
export const W2 = { id: workerId(2), incarnation: 1 };
export const FIRST = aSegmentKey(0);

/** The stored state each case starts from: one RUNNING experiment of 10,000 tasks in 3 segments, two READY workers. */
export interface Case {
  readonly subject: StateSubject;
  readonly tasks: TaskStore;
  segment(number?: number): Promise<Segment>;
  lease(epoch: number, segment?: number): Promise<Lease>;
  worker(key?: Worker["key"]): Promise<Worker>;
  /** Assigns from segment 0 as it is now, `hold` to worker 1. */
  assign(hold: ReturnType<typeof range>): Promise<Lease>;
  /** Expects that the write is refused by `by` and changes nothing. */
  refuses(write: () => Promise<WriteOutcome>, by: Refuser, index?: number): Promise<void>;
}

export async function begin(subject: StateSubject): Promise<Case> {
  const { tasks, workers } = subject;
  expect(await tasks.createExperiment(anExperiment(), [aSet()])).toEqual(DONE);
  for (const key of [W1, W2]) expect(await workers.register({ worker: aWorker({ key }), expectHead: 0 })).toEqual(DONE);
  const segment = async (number = 0) => (await tasks.readSegment(aSegmentKey(number))) ?? anUnbornSegment(aSegmentKey(number));
  const found = <T>(value: T | undefined): T => {
    if (value === undefined) throw new Error("nothing there");
    return value;
  };
  const lease = async (epoch: number, number = 0) => found(await tasks.readLease({ ...aSegmentKey(number), epoch }));
  return {
    subject,
    tasks,
    segment,
    lease,
    worker: async (key = W1) => found(await workers.readWorker(key)),
    assign: async (hold) => {
      const from = await segment();
      expect(await tasks.assign(anAssign({ segment: from, born: from.version > 0 }, [{ worker: W1, hold }]))).toEqual(DONE);
      return lease(from.epoch + 1);
    },
    refuses: async (write, by, index = 0) => {
      const before = await subject.dump();
      expect(await write()).toEqual(refusedBy(by, index));
      expect(await subject.dump()).toEqual(before);
    },
  };
}
