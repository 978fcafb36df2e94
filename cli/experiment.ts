/** Looking at experiments. */
import type { AnswerOf } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import type { FailureCause } from "#domain/plan.ts";
import type { TaskState } from "#domain/task.ts";
import { showUsd } from "./cost.ts";
import { EXIT } from "./exit-code.ts";
import { describeFailures } from "./failures.ts";
import { readExperimentId, readTaskName } from "./experiment-id.ts";
import { clean, showBytes, showDuration, showInstant, table } from "./output.ts";
import { type PageOptions, readPages } from "./pages.ts";
import { remarkOn } from "./explain.ts";
import { findProject } from "./project.ts";
import { describe, hasEnded } from "./progress.ts";
import { connect, type Session } from "./session.ts";

type Args = readonly string[];

const more = (page: { readonly cursor?: string }): string[] => (page.cursor === undefined ? [] : [`more: --cursor ${page.cursor}`]);

export async function status(session: Session, _: object, args: Args): Promise<number> {
  const id = readExperimentId(args[0]);
  const client = await connect(session);
  const { signal } = session;
  const [view, { nanoUsd }] = await Promise.all([
    client.call("getExperiment", { params: { id }, signal }),
    client.call("getCost", { params: { id }, signal }),
  ]);
  // With something running the bars say enough.
  const stuck = !hasEnded(view) && view.sets.every((set) => set.leased === 0);
  const remark = stuck && !session.output.json ? await remarkOn(client, id, signal) : undefined;
  const anyFailed = view.sets.some((set) => set.failed > 0);
  const failures = anyFailed ? await client.call("getFailures", { params: { id }, signal }) : undefined;
  session.output.result({ ...view, nanoUsd, ...(failures === undefined ? {} : { failures }) }, () => [
    ...describe(view, session.output),
    ...(failures === undefined ? [] : describeFailures(failures)),
    `cost  ${showUsd(nanoUsd)} of control plane`,
    ...(remark === undefined ? [] : [remark]),
  ]);
  return EXIT.done;
}

export async function list(session: Session, options: PageOptions & { readonly project?: string }): Promise<number> {
  const client = await connect(session);
  const { signal } = session;
  const of = options.project === undefined ? {} : { project: await findProject(client, options.project, signal) };
  const page = await readPages(options, (at) => client.call("listExperiments", { query: { ...of, ...at }, signal }));
  const rows = page.items.map((e) => [e.id, e.name, e.status, e.tasks, showInstant(e.createdAtMs), showInstant(e.endedAtMs)]);
  session.output.result(page, () => [...table(["ID", "NAME", "STATUS", "TASKS", "CREATED", "ENDED"], rows), ...more(page)]);
  return EXIT.done;
}

const showParameters = (parameters: Readonly<Record<string, string>>): string =>
  Object.entries(parameters)
    .map(([name, value]) => `${name}=${value}`)
    .join(" ");

interface TaskOptions extends PageOptions {
  readonly set?: string;
  readonly state?: readonly TaskState[];
  readonly cause?: FailureCause;
  readonly worker?: string;
  readonly parameter?: readonly string[];
}

function parameterQuery(pairs: readonly string[]): string {
  const query = new URLSearchParams();
  for (const pair of pairs) {
    const at = pair.indexOf("=");
    if (at < 1) throw new SchedulerError("invalid-input", `${pair} is not NAME=value`);
    query.append(pair.slice(0, at), pair.slice(at + 1));
  }
  return query.toString();
}

export async function tasks(session: Session, options: TaskOptions, args: Args): Promise<number> {
  const id = readExperimentId(args[0]);
  const client = await connect(session);
  const filter = {
    ...(options.set === undefined ? {} : { set: options.set }),
    ...(options.state === undefined ? {} : { state: options.state.join(",") }),
    ...(options.cause === undefined ? {} : { cause: options.cause }),
    ...(options.worker === undefined ? {} : { worker: options.worker }),
    ...(options.parameter === undefined ? {} : { parameter: parameterQuery(options.parameter) }),
  };
  const page = await readPages(options, (at) =>
    client.call("listTasks", { params: { id }, query: { ...filter, ...at }, signal: session.signal }),
  );
  const rows = page.items.map((t) => [t.task, t.state, t.attempts, showParameters(t.parameters)]);
  session.output.result(page, () => [...table(["TASK", "STATE", "FAILED ATTEMPTS", "PARAMETERS"], rows), ...more(page)]);
  return EXIT.done;
}

type Attempt = AnswerOf<"getTask">["history"][number];

const block = (title: string, text: string | undefined): string[] =>
  text === undefined || text === ""
    ? []
    : [
        `  ${title}:`,
        ...clean(text)
          .replace(/\n$/, "")
          .split("\n")
          .map((line) => `    ${line}`),
      ];

/** Of attempts without an outcome. */
const ENDS: Partial<Record<Attempt["end"], string>> = {
  open: "its worker has it",
  "worker-lost": "the worker was lost",
  "worker-fault": "the worker could not run it",
  "given-back": "given back before it started",
  canceled: "canceled",
  preempted: "preempted",
};

function describeAttempt({ epoch, worker, committed, end, result }: Attempt): string[] {
  const title = `attempt ${epoch} on ${worker}`;
  if (result === undefined) return [`${title}: ${committed ? `${end}, no result` : (ENDS[end] ?? end)}`];
  const how = [
    result.outcome,
    result.exitCode === undefined ? "" : `exit code ${result.exitCode}`,
    result.signal ?? "",
    result.message ?? "",
  ];
  const { usage } = result;
  return [
    clean(`${title}: ${how.filter((text) => text !== "").join(", ")}`),
    `  took ${showDuration(usage.wallMs)}, cpu ${showDuration(usage.cpuMs)}, at most ${showBytes(usage.memoryPeakBytes)} of memory`,
    ...result.outputs.map((output) => clean(`  output ${output.name}: ${output.path} (${showBytes(output.bytes)})`)),
    ...block("stdout", result.stdout),
    ...block("stderr", result.stderr),
  ];
}

export async function task(session: Session, _: object, args: Args): Promise<number> {
  const params = { id: readExperimentId(args[0]), ...readTaskName(args[1]) };
  const detail = await (await connect(session)).call("getTask", { params, signal: session.signal });
  session.output.result(detail, () => [
    `${detail.task}  ${detail.state}`,
    clean(`parameters  ${showParameters(detail.parameters) || "-"}`),
    `depends on  ${detail.dependsOn.join(" ") || "-"}`,
    ...detail.history.flatMap(describeAttempt),
  ]);
  return EXIT.done;
}

export async function outputs(session: Session, options: PageOptions & { readonly set?: string }, args: Args): Promise<number> {
  const id = readExperimentId(args[0]);
  const client = await connect(session);
  const filter = options.set === undefined ? {} : { set: options.set };
  const page = await readPages(options, (at) =>
    client.call("listOutputs", { params: { id }, query: { ...filter, ...at }, signal: session.signal }),
  );
  const rows = page.items.map((o) => [o.task, o.name, o.path, o.bytes, o.sha256.slice(0, 12)]);
  session.output.result(page, () => [...table(["TASK", "NAME", "PATH", "BYTES", "SHA-256"], rows), ...more(page)]);
  return EXIT.done;
}
