/** Why an experiment or a task waits, as answers show it. */
import { CAUSE_KINDS } from "#domain/cause.ts";
import { EXPERIMENT_STATES } from "#domain/experiment.ts";
import * as z from "zod";
import { count, idOf, instantMs } from "./identity.ts";

const capacity = z.object({ cpuMilli: count, memoryMib: count, gpu: count });
const nearest = z.object({ worker: z.string(), host: z.string(), pool: z.string() });
const parent = z.object({ name: z.string(), done: count, count });

/** Those of a kind; which belong to which kind: docs/EXPLAIN.md. */
const facts = z.object({
  resources: z.array(z.string()).readonly().exactOptional(),
  workers: count.exactOptional(),
  need: capacity.exactOptional(),
  short: capacity.exactOptional(),
  nearest: nearest.exactOptional(),
  missing: z.array(z.string()).readonly().exactOptional(),
  neededMs: count.exactOptional(),
  leftMs: count.exactOptional(),
  slots: count.exactOptional(),
  ownPercent: count.exactOptional(),
  ownersPercent: count.exactOptional(),
  othersPercent: count.exactOptional(),
  ahead: count.exactOptional(),
  aheadOwn: count.exactOptional(),
  taskMs: count.exactOptional(),
  allMs: count.exactOptional(),
  untilMs: instantMs.exactOptional(),
  parents: z.array(parent).readonly().exactOptional(),
  host: z.string().exactOptional(),
  silentMs: count.exactOptional(),
  usedUp: z.boolean().exactOptional(),
  tasksAtOnce: count.exactOptional(),
  freeBytes: count.exactOptional(),
  reserveBytes: count.exactOptional(),
  longestMs: count.exactOptional(),
});

export const cause = z.object({
  kind: z.enum(CAUSE_KINDS),
  set: z.string().exactOptional().describe("Absent: of the whole experiment"),
  message: z.string().describe("What holds the tasks up"),
  help: z.string().describe("What to do about it"),
  tasks: count.describe("That it concerns"),
  exact: z.boolean().describe("False: not every task was looked at"),
  facts,
});
export type CauseAnswer = z.output<typeof cause>;

export const explanation = z.object({
  id: idOf("experiment"),
  status: z.enum(EXPERIMENT_STATES),
  task: z.string().exactOptional(),
  waiting: count.describe("Tasks that no worker has"),
  running: count.describe("Tasks that a worker has"),
  causes: z.array(cause).readonly().describe("The most binding first; empty when nothing waits"),
  upstream: z.array(cause).readonly().describe("Of a task that waits for others: what those wait for"),
});
export type ExplanationAnswer = z.output<typeof explanation>;
