/**
 * Every control operation at random moments of a DAG of 1,000 tasks, with real processes. One round has three experiments:
 * the one that is meddled with and must complete, one that is canceled and deleted somewhere on its way, and one that is
 * derived. Requests are doubled now and then, under one idempotency key. Everything is drawn from a seed.
 */
import { createHash } from "node:crypto";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { type Client, createClient } from "#api/client.ts";
import { RemoteError } from "#api/problem.ts";
import type { AnswerOf } from "#api/routes.ts";
import type { ExperimentId } from "#domain/id.ts";
import { createKernel } from "../simulation/kernel.ts";
import type { RunningSystem } from "./running-system.ts";

const WIDTH = 300;
const DERIVED_WIDTH = 20;
const GATHERERS = 99;
/** Fail until the door is there, and with them all that depends on them. */
const EVERY_NTH_FAILS = 50;
const BIG_BYTES = 100_000;
const OPERATIONS = 24;
const ROUND_MS = 400_000;
const SWEPT_MS = 240_000;
const PAGE = 1_000;

const dagFile = (door: string): string => `name: dag
retry: {exit: 0}
scripts:
  SQUARE: |
    [ $((N % ${EVERY_NTH_FAILS})) -ne 0 ] || [ -e "$DOOR" ]
    echo $((N * N)) > "$OUT"
  NEXT: |
    echo $(( $(cat "$IN") + 1 )) > "$OUT"
  DOUBLE: |
    echo $(( $(cat "$IN") * 2 )) > "$OUT"
  COUNT: |
    echo $((M + $(cat $IN | wc -l))) > "$OUT"
  LAST: |
    cat $IN | wc -l > "$OUT"
    head -c ${BIG_BYTES} /dev/zero > "$BIG"
tasks:
  square: {script: SQUARE, task_inputs: {N: 1..${WIDTH}, DOOR: ["${door}"]}, task_outputs: {OUT: o}}
  next: {script: NEXT, foreach: [square], task_inputs: {IN: "\${square.OUT}"}, task_outputs: {OUT: o}}
  double: {script: DOUBLE, foreach: [next], task_inputs: {IN: "\${next.OUT}"}, task_outputs: {OUT: o}}
  count: {script: COUNT, after: [double], task_inputs: {M: 1..${GATHERERS}, IN: "\${double.OUT}"}, task_outputs: {OUT: o}}
  last: {script: LAST, after: [count], task_inputs: {IN: "\${count.OUT}"}, task_outputs: {OUT: o, BIG: big}}
resources:
  compute: {cpu: 0.5, ram_gb: 0.05, time: "0:02:00"}
`;

const sha = (content: string | Uint8Array): string => createHash("sha256").update(content).digest("hex");

/** `<task> <output>` -> SHA-256 of its content. */
function expectedOutputs(width: number): Map<string, string> {
  const outputs = new Map<string, string>();
  for (let i = 0; i < width; i++) {
    const square = (i + 1) ** 2;
    for (const [set, value] of Object.entries({ square, next: square + 1, double: 2 * (square + 1) }))
      outputs.set(`${set}/${i} OUT`, sha(`${value}\n`));
  }
  for (let i = 0; i < GATHERERS; i++) outputs.set(`count/${i} OUT`, sha(`${i + 1 + width}\n`));
  outputs.set("last/0 OUT", sha(`${GATHERERS}\n`));
  return outputs.set("last/0 BIG", sha(new Uint8Array(BIG_BYTES)));
}

type Random = ReturnType<typeof createKernel>["random"];

interface Round {
  readonly client: Client;
  readonly random: Random;
  readonly system: RunningSystem;
  /** Names the idempotency keys. */
  readonly name: string;
  readonly said: string[];
}

/** By the state that it meets, or because it is gone. */
const REFUSALS = new Set([404, 409]);

const statusOf = (error: unknown): number => (error instanceof RemoteError ? error.status : 0);

/** Once, or twice at the same time under one key; a refusal by the state that it meets is an answer. */
async function control<T>(round: Round, what: string, send: (idempotencyKey: string) => Promise<T>): Promise<T | undefined> {
  const key = `${round.name}-${round.said.push(what)}`;
  const copies = round.random.chance(0.3) ? 2 : 1;
  const answers = await Promise.allSettled(Array.from({ length: copies }, () => send(key)));
  for (const a of answers) if (a.status === "rejected" && !REFUSALS.has(statusOf(a.reason))) throw new Error(what, { cause: a.reason });
  return answers.flatMap((a) => (a.status === "fulfilled" ? [a.value] : []))[0];
}

async function meddle(round: Round, id: ExperimentId): Promise<void> {
  const { client, random } = round;
  const params = { id };
  const operations: readonly (readonly [string, (idempotencyKey: string) => Promise<unknown>])[] = [
    ["pause", (idempotencyKey) => client.call("pauseExperiment", { params, idempotencyKey })],
    ["resume", (idempotencyKey) => client.call("resumeExperiment", { params, idempotencyKey })],
    ["resume", (idempotencyKey) => client.call("resumeExperiment", { params, idempotencyKey })],
    ["retry", (idempotencyKey) => client.call("retryExperiment", { params, body: {}, idempotencyKey })],
    ["retry set", (idempotencyKey) => client.call("retryExperiment", { params, body: { sets: ["square"] }, idempotencyKey })],
    ["retry cause", (idempotencyKey) => client.call("retryExperiment", { params, body: { causes: ["exit"] }, idempotencyKey })],
    ["submit", (idempotencyKey) => client.call("submitExperiment", { params, idempotencyKey })],
  ];
  for (let i = 0; i < OPERATIONS; i++) {
    await sleep(random.below(500));
    const body = { priority: random.below(100), tasksAtOnce: random.pick([null, 8, 40]), labels: { round: String(i) } };
    const edit = ["edit", (idempotencyKey: string) => client.call("editExperiment", { params, body, idempotencyKey })] as const;
    const [what, send] = random.pick([...operations, edit]);
    await control(round, what, send);
  }
}

async function viewOf({ client }: Round, id: ExperimentId): Promise<AnswerOf<"getExperiment"> | undefined> {
  return client.call("getExperiment", { params: { id } }).catch((error: unknown) => {
    if (statusOf(error) !== 404) throw error;
    return undefined;
  });
}

async function until(what: string, limitMs: number, isSo: () => Promise<boolean>): Promise<void> {
  const endMs = Date.now() + limitMs;
  while (!(await isSo())) {
    if (Date.now() > endMs) throw new Error(`not in time: ${what}`);
    await sleep(300);
  }
}

/** Helped along until it has completed: nothing fails any more. */
async function complete(round: Round, id: ExperimentId): Promise<void> {
  const { client } = round;
  await until(`${id} completes`, ROUND_MS, async () => {
    const view = await viewOf(round, id);
    if (view?.status === "PAUSED") await control(round, "resume at the end", () => client.call("resumeExperiment", { params: { id } }));
    if (view?.status === "FAILED")
      await control(round, "retry at the end", () => client.call("retryExperiment", { params: { id }, body: {} }));
    return view?.status === "COMPLETED";
  });
}

async function checkCompleted(round: Round, id: ExperimentId, width: number): Promise<void> {
  const { client } = round;
  const view = await viewOf(round, id);
  const counts = view?.sets.map((s) => [s.set, s.done, s.failed, s.skipped, s.leased]);
  const whole = (set: string, total: number) => [set, total, 0, 0, 0];
  const expected = [whole("square", width), whole("next", width), whole("double", width), whole("count", GATHERERS), whole("last", 1)];
  expect(counts).toEqual(expected);
  const outputs = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const page = await client.call("listOutputs", { params: { id }, query: { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) } });
    for (const o of page.items) outputs.set(`${o.task} ${o.name}`, o.sha256);
    cursor = page.cursor;
  } while (cursor !== undefined);
  const wanted = expectedOutputs(width);
  expect([...outputs].filter(([name, digest]) => wanted.get(name) !== digest)).toEqual([]);
  expect(outputs.size).toBe(wanted.size);
  const big = await client.open("getOutput", { params: { id, set: "last", number: 0, name: "BIG" } });
  expect(sha(new Uint8Array(await big.arrayBuffer()))).toBe(wanted.get("last/0 BIG"));
}

/** Gone from the API, and every object with it: late ones are swept. */
async function removed(round: Round, id: ExperimentId): Promise<void> {
  const params = { id };
  await until(`${id} can be deleted`, ROUND_MS, async () => {
    const answer = await control(round, "delete", () => round.client.call("deleteExperiment", { params }));
    return answer?.status === "DELETING";
  });
  await until(`${id} is gone`, SWEPT_MS, async () => (await viewOf(round, id)) === undefined);
  expect(await round.client.call("deleteExperiment", { params })).toEqual({ id, status: "DELETING" });
  const objects = join(round.system.dataDir, "objects", "objects");
  await until(`nothing of ${id} is left in the object store`, SWEPT_MS, async () => {
    const files = await readdir(objects, { recursive: true, withFileTypes: true });
    return !files.some((file) => file.isFile() && file.parentPath.includes(id));
  });
}

async function create(round: Round, file: string): Promise<ExperimentId> {
  const body = { bytes: Buffer.from(file) };
  const made = await control(round, "create", (idempotencyKey) =>
    round.client.call("createExperiment", { query: { submit: "true" }, body, idempotencyKey }),
  );
  if (made === undefined) throw new Error("nothing was created");
  return made.id;
}

async function victim(round: Round, file: string): Promise<void> {
  const { client, random } = round;
  const id = await create(round, file);
  const params = { id };
  // Refused while it runs; if it has failed by then it is deleted at once.
  for (let i = random.below(4); i > 0; i--) {
    await sleep(random.below(3_000));
    await control(round, "early delete", () => client.call("deleteExperiment", { params }));
  }
  await sleep(random.below(4_000));
  await control(round, "cancel", (idempotencyKey) => client.call("cancelExperiment", { params, idempotencyKey }));
  await removed(round, id);
}

async function derived(round: Round, from: ExperimentId): Promise<void> {
  const { client, random } = round;
  await sleep(random.below(8_000));
  const body = { set: { N: `1..${DERIVED_WIDTH}` } };
  const made = await control(round, "derive", (idempotencyKey) =>
    client.call("deriveExperiment", { params: { id: from }, query: { submit: "true" }, body, idempotencyKey }),
  );
  if (made === undefined) throw new Error("nothing was derived");
  await complete(round, made.id);
  expect((await viewOf(round, made.id))?.derivedFrom).toBe(from);
  await checkCompleted(round, made.id, DERIVED_WIDTH);
  await removed(round, made.id);
}

/** Runs the rounds; the seed is in every failure. */
export async function runControlRounds(system: RunningSystem, rounds: number, seed: number): Promise<void> {
  const { random } = createKernel(seed);
  for (let n = 1; n <= rounds; n++) {
    const door = join(system.folder, "door");
    await rm(door, { force: true });
    const client = createClient({ server: system.url, token: system.token });
    const round: Round = { client, random, system, name: `${seed}-${n}`, said: [] };
    try {
      const file = dagFile(door);
      const id = await create(round, file);
      const others = [victim(round, file), derived(round, id)];
      await Promise.all([
        (async () => {
          await meddle(round, id);
          await writeFile(door, "");
          await complete(round, id);
          await checkCompleted(round, id, WIDTH);
        })(),
        ...others,
      ]);
      await removed(round, id);
    } catch (error) {
      throw new Error(`seed ${seed}, round ${n}, after ${round.said.join(", ")}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
    process.stdout.write(`control round ${n} of ${rounds}, seed ${seed}: ${round.said.length} operations\n`);
  }
}
