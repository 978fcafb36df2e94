/** What the data mover hands to the tasks of a workflow: the right file of the right parent, within one message. */
import { createHash } from "node:crypto";
import { beforeEach, describe, expect, test } from "vitest";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { createMemoryObjectStore, type MemoryObjectStore } from "#adapters/memory/object-store.ts";
import { createDataMover, type StagedFile, type StagedTask } from "#core/data-mover/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId, UserId } from "#domain/id.ts";
import { rangeSet, setOf } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import type { Plan } from "#domain/plan.ts";
import { MESSAGE_BYTES_MAX } from "#protocol/limits.ts";
import { GatewayMessage } from "#protocol/gen/worker.ts";
import { assignmentOf } from "#gateway/assignment.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { instanceOf, planOfInstance } from "../support/workflow.ts";

const experiment = "exp_1" as ExperimentId;
const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
let objects: MemoryObjectStore;

beforeEach(() => {
  objects = createMemoryObjectStore({ clock: createFakeClock() });
});

/** All tasks of set 0 are committed under one lease; each output holds `text(path)`. */
async function moverOver(plan: Plan, outputs: (index: number) => readonly string[], text: (path: string) => string) {
  const results = Array.from({ length: plan.sets[0]?.count ?? 0 }, (_, index) => ({
    index,
    outputs: outputs(index).map((path) => {
      const bytes = Buffer.from(text(path));
      return { name: path, path, sha256: sha256(bytes), bytes: bytes.length, inline: bytes.toString("base64") };
    }),
  }));
  const body = Buffer.from(JSON.stringify({ results }));
  await objects.putIfAbsent("r/all", body);
  const all = rangeSet(0, results.length);
  const done = {
    key: { experiment, set: 0, segment: 0, epoch: 1 },
    done: all,
    failed: setOf([]),
    refs: [{ key: "r/all", sha256: sha256(body), mask: all }],
  };
  const tasks = { listLeases: async () => ({ items: [done] }) } as unknown as TaskStore;
  const planned = { plan, planHash: "h", owner: "usr_1" as UserId, gates: 1 };
  const storage = async () => {
    throw new SchedulerError("not-found", "no storage here");
  };
  return createDataMover({
    tasks,
    objects,
    inputs: createMemoryInputStore(),
    plans: { of: async () => planned },
    storage,
    clock: createFakeClock(),
  });
}

const leaseOf = (set: number) =>
  ({ key: { experiment, set, segment: 0, epoch: 1 }, worker: { id: "wrk_1", incarnation: 1 } }) as unknown as Lease;

const contentOf = async (file: StagedFile): Promise<string> =>
  Buffer.from(file.inline ?? (await objects.getSigned(file.url ?? "")) ?? "").toString();

/** A set of `makers`, each with two files, and a set of `readers` that each read one of them, and the first of all. */
function plan(makers: number, readers: number): Plan {
  const make = Array.from({ length: makers }, (_, i) => ({ id: `m${i}`, name: `make_${i}`, outputFiles: [`a/${i}`, `b/${i}`] }));
  const read = Array.from({ length: readers }, (_, i) => ({
    ...{ id: `r${i}`, name: `read_${i}`, parents: [`m${i % makers}`, "m0"] },
    inputFiles: [...new Set([`b/${i % makers}`, "a/0", "start"])],
  }));
  return planOfInstance(instanceOf([...make, ...read]));
}

describe("files of a workflow's task", () => {
  test("are those that its parents made, under their names, and its work beside them", async () => {
    const three = plan(3, 3);
    const mover = await moverOver(
      three,
      (i) => [`a/${i}`, `b/${i}`],
      (path) => `content of ${path}`,
    );
    const { tasks } = await mover.stage(leaseOf(1), setOf([1, 2]));
    const files = tasks.map(({ own }) => new Map(own.files.map((file) => [file.path, file])));
    expect(files.map((of) => [...of.keys()].sort())).toEqual([
      [".airavata-work", "a/0", "b/1"],
      [".airavata-work", "a/0", "b/2"],
    ]);
    expect(await contentOf(files[1]?.get("b/2") as StagedFile)).toBe("content of b/2");
    expect(await contentOf(files[1]?.get(".airavata-work") as StagedFile)).toBe(
      "sleep 0.01 -\nin 10 b/2\nin 10 a/0\nmake 10 start\n".replace(/in 10 b\/2\nin 10 a\/0/, "in 10 a/0\nin 10 b/2"),
    );
    expect(tasks[0]?.outputFiles).toEqual([]);
    const first = await mover.stage(leaseOf(0), setOf([1]));
    expect(first.tasks[0]?.outputFiles).toEqual(["a/1", "b/1"]);
  });

  test("of a parent that committed no such file are an error, not an empty file", async () => {
    const mover = await moverOver(
      plan(2, 2),
      () => [],
      () => "",
    );
    const { tasks, unstaged } = await mover.stage(leaseOf(1), setOf([0]));
    expect(tasks).toEqual([]);
    expect(unstaged).toEqual([{ index: 0, message: expect.stringContaining("has no committed file") }]);
  });

  test("of many tasks with large files fit into one message, as objects or by a listing, with the same bytes", async () => {
    const many = plan(64, 1024);
    const mover = await moverOver(
      many,
      (i) => [`a/${i}`, `b/${i}`],
      (path) => path.padEnd(60_000, "."),
    );
    const staged = await mover.stage(leaseOf(1), rangeSet(0, 1024));
    const message = { body: { $case: "assignment" as const, value: assignmentOf(leaseOf(1), staged) } };
    expect(GatewayMessage.encode(message).finish().length).toBeLessThan(MESSAGE_BYTES_MAX);
    const last = staged.tasks[1023]?.own;
    const listed =
      last?.listing === undefined
        ? last?.files
        : (JSON.parse(Buffer.from((await objects.getSigned(last.listing.url)) ?? "").toString()) as StagedFile[]);
    const file = listed?.find(({ path }) => path === "b/63");
    const bytes =
      file?.inline === undefined || file.inline.length === 0
        ? await objects.getSigned(file?.url ?? "")
        : Buffer.from(String(file.inline), "base64");
    expect(Buffer.from(bytes ?? "").toString()).toBe("b/63".padEnd(60_000, "."));
  });

  test("of one task with thousands of inputs come by a listing", async () => {
    const makers = Array.from({ length: 1500 }, (_, i) => ({ id: `m${i}`, name: `make_${i}`, outputFiles: [`o${i}`] }));
    const reader = { id: "all", parents: makers.map(({ id }) => id), inputFiles: makers.map((_, i) => `o${i}`) };
    const mover = await moverOver(
      planOfInstance(instanceOf([...makers, reader])),
      (i) => [`o${i}`],
      (path) => path,
    );
    const { own } = (await mover.stage(leaseOf(1), setOf([0]))).tasks[0] as StagedTask;
    expect(own.files).toEqual([]);
    const listing = JSON.parse(Buffer.from((await objects.getSigned(own.listing?.url ?? "")) ?? "").toString()) as {
      path: string;
      inline: string;
    }[];
    expect(listing.length).toBe(1501);
    expect(Buffer.from(listing.find(({ path }) => path === "o1499")?.inline ?? "", "base64").toString()).toBe("o1499");
  });
});
