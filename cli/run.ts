/** plan, run and watch. */
import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "#api/client.ts";
import { readExperiment, type SourceOptions } from "#api/experiment-source.ts";
import type { AnswerOf } from "#api/routes.ts";
import { type PlanSummary, summarizePlan } from "#api/schema/plan-summary.ts";
import { WORKFLOW_BYTES_MAX } from "#api/wfformat.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { showCount, table } from "./output.ts";
import { describe, hasEnded, nextSteps, progressLine, totalsOf } from "./progress.ts";
import { connect, type Session } from "./session.ts";

const POLL_FIRST_MS = 200;
const POLL_MAX_MS = 2_000;
const POLL_GROWTH = 1.2;
/** A server that was heard from may be away this long (an update, a lost network) before watching ends. */
const PATIENCE_MS = 600_000;
/** Plain lines come at most this often. */
const LINE_EVERY_MS = 2_000;
const RATE_WINDOW_MS = 15_000;

export interface FileOptions {
  readonly set?: Readonly<Record<string, string>>;
  readonly setCompute?: Readonly<Record<string, string>>;
  readonly without?: Readonly<Record<string, string>>;
  readonly simulateWork?: number;
  readonly workflowInputs?: string;
}

/** What is asked beside the file; empty when nothing is. */
export function askedOf({ set, setCompute, without, simulateWork, workflowInputs }: FileOptions): SourceOptions {
  const values = { ...setCompute, ...without, ...set };
  return {
    ...(Object.keys(values).length === 0 ? {} : { set: values }),
    ...(simulateWork === undefined ? {} : { simulateWork }),
    ...(workflowInputs === undefined ? {} : { workflowInputs }),
  };
}

async function readFileBytes(file: string): Promise<Uint8Array> {
  try {
    await using handle = await open(file);
    const { size } = await handle.stat();
    if (size > WORKFLOW_BYTES_MAX)
      throw new SchedulerError(
        "too-large",
        `${file} has ${showCount(size)} bytes; a workflow has at most ${showCount(WORKFLOW_BYTES_MAX)}`,
      );
    return new Uint8Array(await handle.readFile());
  } catch (cause) {
    if (cause instanceof SchedulerError) throw cause;
    throw new SchedulerError("invalid-input", `can't read ${file}: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

const needsOf = ({ foreach, after, dependencies }: PlanSummary["sets"][number]): string =>
  [
    ...foreach.map((name) => `each ${name}`),
    ...after.map((name) => `all ${name}`),
    ...(dependencies > 0 ? [`${showCount(dependencies)} tasks`] : []),
  ].join(", ") || "-";

function showPlan(plan: PlanSummary): string[] {
  const rows = plan.sets.map((set) => [
    set.set,
    set.tasks,
    set.axes.map((axis) => `${axis.name}:${axis.size}`).join(set.combine === "zip" ? " + " : " x ") || "-",
    needsOf(set),
    set.outputs.join(", ") || (set.outputFiles > 0 ? `${showCount(set.outputFiles)} files` : "-"),
    set.capacity.cpuMilli / 1000,
    set.capacity.memoryMib,
  ]);
  return [
    `${plan.name}: ${showCount(plan.tasks)} tasks in ${plan.sets.length} sets`,
    ...table(["SET", "TASKS", "SWEEP", "NEEDS", "OUTPUTS", "CPU", "MIB"], rows),
  ];
}

/** Parses and compiles here: no server, no login. */
export async function plan(session: Session, options: FileOptions, args: readonly string[]): Promise<number> {
  const bytes = await readFileBytes(args[0] ?? "");
  const spec = readExperiment(bytes, askedOf(options));
  // biome-ignore lint/style/noRestrictedImports: the one piece of the core that is pure and needed without a server
  const { compilePlan } = await import("#core/experiment-orchestrator/compile.ts");
  const summary = summarizePlan(compilePlan(spec));
  session.output.result(summary, () => showPlan(summary));
  return EXIT.done;
}

/** Created and started, once, however often a request had to be repeated. */
async function start(
  client: Client,
  session: Session,
  body: SourceOptions & { readonly bytes: Uint8Array },
  place: { readonly project?: string; readonly retentionDays?: number },
): Promise<AnswerOf<"createExperiment">> {
  const { signal } = session;
  const query = { submit: "true", ...place } as const;
  const created = await client.call("createExperiment", { query, body, idempotencyKey: randomUUID(), signal });
  if (created.status !== "CREATED") return created;
  return client.call("submitExperiment", { params: { id: created.id }, idempotencyKey: randomUUID(), signal });
}

export async function run(
  session: Session,
  options: FileOptions & { readonly detach?: boolean; readonly project?: string; readonly keepDays?: number },
  args: readonly string[],
): Promise<number> {
  const bytes = await readFileBytes(args[0] ?? "");
  // What is wrong with the file is said before anything is asked of a server.
  const asked = askedOf(options);
  readExperiment(bytes, asked);
  const client = await connect(session);
  const place = {
    ...(options.project === undefined ? {} : { project: options.project }),
    ...(options.keepDays === undefined ? {} : { retentionDays: options.keepDays }),
  };
  const started = await start(client, session, { bytes, ...asked }, place);
  if (options.detach === true) {
    session.output.result(started, () => [started.id]);
    session.output.note(`started ${started.name}: ${showCount(started.tasks)} tasks. Follow it: airavata experiment watch ${started.id}`);
    return EXIT.done;
  }
  session.output.note(`started ${started.name} as ${started.id}: ${showCount(started.tasks)} tasks`);
  return follow(client, session, started.id);
}

export async function watch(session: Session, _: object, args: readonly string[]): Promise<number> {
  const id = readExperimentId(args[0]);
  return follow(await connect(session), session, id);
}

interface Sample {
  readonly atMs: number;
  readonly ended: number;
}

/** Tasks per second over the last seconds; `undefined` until there are two samples. */
function rateOf(samples: Sample[], now: Sample): number | undefined {
  samples.push(now);
  while (samples.length > 2 && now.atMs - (samples[0]?.atMs ?? 0) > RATE_WINDOW_MS) samples.shift();
  const first = samples[0];
  if (first === undefined || now.atMs <= first.atMs) return undefined;
  return ((now.ended - first.ended) * 1000) / (now.atMs - first.atMs);
}

type View = AnswerOf<"getExperiment">;

/** Shows a view while it runs: redrawn bars on a terminal, else a line when something changed. */
function createTicker({ output }: Session): (view: View) => void {
  const samples: Sample[] = [];
  let shown = "";
  let shownAtMs = Number.NEGATIVE_INFINITY;
  return (view) => {
    const nowMs = Date.now();
    const { done, failed, skipped } = totalsOf(view.sets);
    const perSecond = rateOf(samples, { atMs: nowMs, ended: done + failed + skipped });
    if (output.live) {
      output.redraw(describe(view, output, { nowMs, ...(perSecond === undefined ? {} : { perSecond }) }));
      return;
    }
    const line = progressLine(view);
    if (line === shown || (nowMs - shownAtMs < LINE_EVERY_MS && !hasEnded(view))) return;
    output.note(line);
    shown = line;
    shownAtMs = nowMs;
  };
}

export async function follow(client: Client, session: Session, id: ExperimentId): Promise<number> {
  const { output, signal } = session;
  const tick = createTicker(session);
  let heardAtMs = Number.NEGATIVE_INFINITY;
  function endure(error: unknown): void {
    const mayPass = error instanceof SchedulerError && error.disposition === "retryable";
    if (!mayPass || Date.now() - heardAtMs > PATIENCE_MS) throw error;
    output.note(`${error.message}; trying again`);
  }
  for (let waitMs = POLL_FIRST_MS; ; waitMs = Math.min(POLL_MAX_MS, waitMs * POLL_GROWTH)) {
    const view = await client.call("getExperiment", { params: { id }, signal }).catch((error: unknown) => {
      if (!signal.aborted) endure(error);
      return undefined;
    });
    if (view !== undefined) {
      heardAtMs = Date.now();
      tick(view);
      if (hasEnded(view)) return end(session, view);
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) {
      output.note(`it goes on running. Follow it: airavata experiment watch ${id}; stop it: airavata experiment cancel ${id}`);
      return EXIT.failed;
    }
  }
}

function end({ output }: Session, view: View): number {
  output.result(view, () => (output.live ? [] : describe(view, output)));
  for (const step of nextSteps(view)) output.note(step);
  return view.status === "COMPLETED" ? EXIT.done : EXIT.failed;
}
