/** What experiments have cost, at list prices. */
import { METERED_KINDS } from "#domain/cost.ts";
import { EXPERIMENT_STATES } from "#domain/experiment.ts";
import * as z from "zod";
import { count, idOf, instantMs, pageOf } from "./identity.ts";

const nanoUsd = count.describe("Billionths of a dollar");

export const cost = z.object({
  nanoUsd,
  lines: z
    .array(
      z.object({
        kind: z.enum(METERED_KINDS),
        unit: z.string().describe("What one of `count` is"),
        count: z.number().describe("To a millionth: shared requests are divided"),
        usdPerMillion: z.number().describe("List price of a million"),
        nanoUsd,
      }),
    )
    .readonly(),
});

export const experimentCost = z.object({
  id: idOf("experiment"),
  name: z.string(),
  status: z.enum(EXPERIMENT_STATES),
  createdAtMs: instantMs,
  nanoUsd,
});
export const experimentCostPage = pageOf(experimentCost);
