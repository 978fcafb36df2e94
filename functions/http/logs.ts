/** Logs of ended attempts. Contents are a user's program's: never anything that a browser would run. */
import type { LogPlace, TaskLogs } from "#core/experiment-orchestrator/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { TaskResult } from "#domain/result.ts";
import type { LogStream } from "#domain/task-log.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";
import { Refusal } from "./problem-response.ts";

interface Whole {
  readonly bytes: number;
  /** `<from>-<to>` of what is left out, if anything is. */
  readonly omitted: string | undefined;
  readonly data: Uint8Array;
}

/** The parts that are there, one behind the other, from so many bytes before the end. */
async function readAll(logs: TaskLogs, result: TaskResult, stream: LogStream, tail: number | undefined): Promise<Whole> {
  const parts: Uint8Array[] = [];
  const { extent } = await logs.read(result, stream, 0);
  const { bytes, omittedAt, omitted } = extent;
  const start = tail === undefined ? 0 : Math.max(0, bytes - tail);
  for (let at = start; at < bytes; ) {
    const part = await logs.read(result, stream, at);
    parts.push(part.data);
    at = part.offset + part.data.length;
  }
  const gap = omitted > 0 && start < omittedAt + omitted ? `${Math.max(start, omittedAt)}-${omittedAt + omitted}` : undefined;
  return { bytes, omitted: gap, data: new Uint8Array(Buffer.concat(parts)) };
}

/** Says where to look instead. */
function notEnded(place: LogPlace, link: string | undefined): Error {
  const headers = link === undefined ? {} : { link: `<${link}>; rel="monitor"` };
  if (place.kind === "waiting")
    return new Refusal("conflict", `the task is ${place.state} and has no log yet: follow it where Link says`, headers);
  if (place.kind === "held") return new Refusal("conflict", `attempt ${place.attempt} is running: follow its log where Link says`, headers);
  return new SchedulerError("not-found", "this attempt came to nothing and left no log");
}

export function createLogHandlers(deps: Pick<HttpDeps, "taskLogs" | "gateways">): Handlers<"getTaskLog"> {
  return {
    getTaskLog: async ({ params: { id, set, number }, query: { stream, attempt, tail } }) => {
      const place = await deps.taskLogs.locate(id, { set, number }, attempt);
      if (place.kind !== "ended") {
        const url = await deps.gateways.urlFor(id, place.kind === "held" ? place.gateway : undefined);
        throw notEnded(place, url === undefined ? undefined : followLink(url, id, { set, number }));
      }
      const { bytes, omitted, data } = await readAll(deps.taskLogs, place.result, stream, tail);
      const headers = {
        "content-type": "application/octet-stream",
        "content-length": String(data.length),
        "content-security-policy": "default-src 'none'; sandbox",
        "x-log-attempt": String(place.attempt),
        "x-log-bytes": String(bytes),
        "x-log-outcome": place.result.outcome,
        ...(omitted === undefined ? {} : { "x-log-omitted": omitted }),
      };
      return new Response(data as Uint8Array<ArrayBuffer>, { headers });
    },
  };
}

export const followLink = (gateway: string, id: string, { set, number }: { readonly set: string; readonly number: number }): string =>
  `${gateway}/v1/experiments/${id}/tasks/${encodeURIComponent(set)}/${number}/log/follow`;
export const eventsLink = (gateway: string, id: string): string => `${gateway}/v1/experiments/${id}/events`;
