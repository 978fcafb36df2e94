/** Experiments over time, and what failed in them. */
import { FAILURE_CAUSES } from "#domain/plan.ts";
import * as z from "zod";
import { count, instantMs } from "./identity.ts";

const POINTS_MAX = 500;
const POINTS_DEFAULT = 200;
export const timelineQuery = z.strictObject({ points: z.coerce.number().int().min(1).max(POINTS_MAX).default(POINTS_DEFAULT) });

const series = z.array(count).readonly();
export const timeline = z.object({
  fromMs: instantMs,
  stepMs: count,
  partial: z.boolean().describe("So large that a part of it was left out"),
  sets: z
    .array(
      z.object({
        set: z.string(),
        total: count,
        queued: series.describe("Not completed, and no worker at it; also what has failed or is skipped"),
        staging: series.describe("Inputs or outputs on their way"),
        running: series,
        done: series,
        failedAttempts: series.describe("So far; one task may have several"),
      }),
    )
    .readonly()
    .describe("Numbers at the end of each step"),
});

export const failureSummary = z.object({
  failed: count,
  counted: count.describe("Tasks that the groups are about"),
  groups: z
    .array(
      z.object({
        set: z.string(),
        cause: z.enum([...FAILURE_CAUSES, "worker-lost"]),
        tasks: count,
        looked: count.describe("Those of them whose exit codes are counted"),
        exitCodes: z.array(z.object({ exitCode: z.int(), tasks: count })).readonly(),
        examples: z
          .array(
            z.object({
              task: z.string(),
              exitCode: z.int().exactOptional(),
              signal: z.string().exactOptional(),
              message: z.string().exactOptional(),
              lastLine: z.string().exactOptional().describe("Of stderr"),
            }),
          )
          .readonly(),
      }),
    )
    .readonly(),
});
