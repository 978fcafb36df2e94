/** plan, run and watch. */
import { randomUUID } from "node:crypto";
import { open } from "node:fs/promises";
import type { Client } from "#api/client.ts";
import { readExperiment, type SourceOptions } from "#api/experiment-source.ts";
import type { AnswerOf } from "#api/routes.ts";
import { type PlanSummary, summarizePlan } from "#api/schema/plan-summary.ts";
import { WORKFLOW_BYTES_MAX } from "#api/wfformat.ts";
import { SchedulerError } from "#domain/error.ts";
import { EXIT } from "./exit-code.ts";
import { showCount, table } from "./output.ts";
import { connect, type Session } from "./session.ts";
import { follow } from "./watch.ts";

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
