/** What routes of logs and events take; what their streams hold is in stream-events.ts, which functions need not carry. */
import { LOG_STREAMS } from "#domain/task-log.ts";
import * as z from "zod";
import { count, instantMs } from "./identity.ts";

const number = z.coerce.number().int().min(0);
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
const epoch = number.max(2 ** 31);

export const logQuery = z.strictObject({
  stream: z.enum(LOG_STREAMS).default("stdout"),
  attempt: epoch.exactOptional().describe("By its epoch; without it the one that runs, else the newest that has ended"),
  tail: number.max(OFFSET_MAX).exactOptional().describe("Only the last so many bytes"),
});

const resumeFrom = z.string().max(128).exactOptional();

export const followLogQuery = logQuery.extend({
  offset: number.max(OFFSET_MAX).default(0).describe("Bytes from the start of the stream that are known already"),
  follow: z.enum(["true", "false"]).default("true").describe("false: end with what there is now"),
  after: resumeFrom.describe("Id of the last event that was received, as Last-Event-ID"),
});

export const eventsQuery = z.strictObject({ after: resumeFrom.describe("Id of the last event that was received, as Last-Event-ID") });

export const gatewayHealth = z.object({
  status: z.enum(["ok", "degraded"]),
  version: z.string(),
  gateway: z.string(),
  upSinceMs: instantMs,
  workers: count.describe("Connected"),
  parts: z.record(z.string(), z.enum(["ok", "down"])),
});
