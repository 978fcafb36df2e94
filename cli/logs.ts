/** A task's log: from the functions once it has ended, from the gateway before. Bytes go to stdout as they are, remarks to stderr. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "#api/client.ts";
import { readEvents, type StreamEvent } from "#api/event-stream.ts";
import { RemoteError } from "#api/problem.ts";
import { LOG_EVENTS } from "#api/schema/stream-events.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId, readTaskName } from "./experiment-id.ts";
import { clean, showCount } from "./output.ts";
import { connect, connectLive, type Session } from "./session.ts";

const AGAIN_MS = 500;
/** A gateway may be away this long (an update, a restart) before following ends. */
const PATIENCE_MS = 600_000;

interface LogOptions {
  readonly follow?: boolean;
  readonly stderr?: boolean;
  readonly tail?: number;
  readonly attempt?: number;
}

interface Wanted {
  readonly task: { readonly id: ExperimentId; readonly set: string; readonly number: number };
  readonly stream: "stdout" | "stderr";
  readonly follow: boolean;
}

/** What has been shown of which attempt: where to go on. */
interface Place {
  attempt: number | undefined;
  offset: number;
  tail: number | undefined;
  heardAtMs: number;
}

const tellGap = ({ output }: Session, bytes: number): void =>
  output.note(`[${showCount(bytes)} bytes are left out here: only the first and the last ones of a long log are kept]`);

/** The whole of an ended attempt's log. */
async function showKept(client: Client, session: Session, { task, stream }: Wanted, { attempt, tail }: Place): Promise<void> {
  const query = { stream, ...(attempt === undefined ? {} : { attempt }), ...(tail === undefined ? {} : { tail }) };
  const response = await client.open("getTaskLog", { params: task, query, signal: session.signal });
  const total = Number(response.headers.get("x-log-bytes"));
  const [from, to] = (response.headers.get("x-log-omitted") ?? "").split("-").map(Number);
  const gap = from === undefined || to === undefined ? undefined : { at: from - Math.max(0, total - (tail ?? total)), bytes: to - from };
  const data = new Uint8Array(await response.arrayBuffer());
  if (session.output.json) {
    const bytes = Buffer.from(data).toString("base64");
    session.output.line(JSON.stringify({ attempt: Number(response.headers.get("x-log-attempt")), bytes, total, ...(gap && { gap }) }));
    return;
  }
  await session.output.bytes(data.subarray(0, gap?.at ?? data.length));
  if (gap === undefined) return;
  tellGap(session, gap.bytes);
  await session.output.bytes(data.subarray(gap.at));
}

const TOLD: Readonly<Record<string, string>> = { RUNNING: "is running", QUEUED: "waits for a worker", WAITING: "waits for other tasks" };

async function showChunk({ output }: Session, place: Place, data: unknown): Promise<void> {
  const { attempt, offset, bytes } = LOG_EVENTS.chunk.parse(data);
  const content = Buffer.from(bytes, "base64");
  // Sent again after a lost connection: what was shown is not shown twice.
  const known = place.attempt === attempt ? Math.max(0, place.offset - offset) : 0;
  if (!output.json) await output.bytes(content.subarray(known));
  Object.assign(place, {
    attempt,
    offset: known > 0 ? Math.max(place.offset, offset + content.length) : offset + content.length,
    tail: undefined,
  });
}

function refuse(data: unknown): never {
  const { code, message } = LOG_EVENTS["cut-off"].parse(data);
  const kind = (["unauthenticated", "forbidden", "not-found", "integrity"] as const).find((known) => known === code);
  throw new SchedulerError(kind ?? "unavailable", message);
}

function showState({ output }: Session, { follow, task }: Wanted, data: unknown): void {
  const { state } = LOG_EVENTS.state.parse(data);
  if (follow && state !== "RUNNING") output.note(`${task.set}/${task.number} ${TOLD[state] ?? `is ${state}`}`);
}

function showEnd({ output }: Session, data: unknown): "end" {
  const { outcome, message } = LOG_EVENTS.end.parse(data);
  if (outcome !== "done" && outcome !== "running") output.note(clean(`[${message ?? `the task is ${outcome}`}]`));
  return "end";
}

/** One event; `end`: there is no more. */
async function show(session: Session, wanted: Wanted, place: Place, { event, data }: StreamEvent): Promise<"end" | undefined> {
  const { output } = session;
  place.heardAtMs = Date.now();
  if (output.json) output.line(JSON.stringify({ event, ...(data as object) }));
  if (event === "end") return showEnd(session, data);
  if (event === "cut-off") refuse(data);
  if (event === "state") showState(session, wanted, data);
  if (event === "chunk") await showChunk(session, place, data);
  if (event === "gap" && !output.json) {
    const { from, to } = LOG_EVENTS.gap.parse(data);
    tellGap(session, to - from);
  }
  return undefined;
}

/** One stream from its start to its end; gives where to go on, or that there is no more. */
async function readStream(
  session: Session,
  wanted: Wanted,
  place: Place,
  link: string,
): Promise<"end" | "again" | { readonly link: string }> {
  const { attempt, offset, tail } = place;
  const query = {
    stream: wanted.stream,
    follow: wanted.follow ? ("true" as const) : ("false" as const),
    ...(attempt === undefined ? {} : { attempt, offset }),
    ...(tail === undefined ? {} : { tail }),
  };
  const client = await connectLive(session, link);
  const response = await client.open("followTaskLog", { params: wanted.task, query, signal: session.signal });
  for await (const event of readEvents(response.body as unknown as AsyncIterable<Uint8Array>)) {
    if (event?.event === "moved") return { link: LOG_EVENTS.moved.parse(event.data).url };
    if (event !== undefined && (await show(session, wanted, place, event)) === "end") return "end";
  }
  return "again";
}

const mayPass = (error: unknown): boolean => !(error instanceof SchedulerError) || error.disposition === "retryable";

/** Where the log is, asked anew after every loss. */
async function linkOf(client: Client, { task }: Wanted, signal: AbortSignal): Promise<string> {
  const { links } = await client.call("getTask", { params: task, signal });
  if (links === undefined) throw new SchedulerError("unavailable", "no gateway is up that could tell");
  return links.log;
}

async function followLog(client: Client, session: Session, wanted: Wanted, place: Place): Promise<number> {
  const { signal, output } = session;
  let link: string | undefined;
  let told = false;
  while (!signal.aborted) {
    try {
      const next = await readStream(session, wanted, place, link ?? (await linkOf(client, wanted, signal)));
      if (next === "end") return EXIT.done;
      link = next === "again" ? undefined : next.link;
      told = false;
    } catch (error) {
      link = undefined;
      if (!signal.aborted && (!mayPass(error) || Date.now() - place.heardAtMs > PATIENCE_MS)) throw error;
      if (!told && !signal.aborted) output.note("the connection is lost; trying again");
      told = true;
    }
    await sleep(AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
  return EXIT.failed;
}

export async function logs(session: Session, options: LogOptions, args: readonly string[]): Promise<number> {
  const task = { id: readExperimentId(args[0]), ...readTaskName(args[1]) };
  const { tail, attempt } = options;
  if ((tail ?? 0) < 0 || (attempt ?? 0) < 0) throw new SchedulerError("invalid-input", "--tail and --attempt take a number from 0 on");
  const wanted: Wanted = { task, stream: options.stderr === true ? "stderr" : "stdout", follow: options.follow === true };
  const place: Place = { attempt, offset: 0, tail, heardAtMs: Date.now() };
  const client = await connect(session);
  try {
    await showKept(client, session, wanted, place);
    return EXIT.done;
  } catch (error) {
    // It has not ended: the gateway tells.
    if (!(error instanceof RemoteError) || error.kind !== "conflict") throw error;
  }
  return followLog(client, session, wanted, place);
}
