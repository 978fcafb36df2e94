/** What the control plane's work for experiments costs. */
import type { Route } from "#api/route.ts";
import { cost, experimentCostPage } from "#api/schema/cost.ts";
import { idOf, pageQuery } from "#api/schema/identity.ts";
import * as z from "zod";

export const costRoutes = {
  getCost: {
    method: "GET",
    path: "/v1/experiments/{id}/cost",
    summary: "What an experiment has used of the control plane, at list prices; up to ten seconds old",
    permission: { on: "experiment", can: "view" },
    params: z.object({ id: idOf("experiment") }),
    success: { status: 200, json: cost },
    errors: [],
    idempotent: false,
  },
  listCosts: {
    method: "GET",
    path: "/v1/cost",
    summary: "What each of your experiments has cost, newest first",
    permission: "authenticated",
    query: z.strictObject(pageQuery),
    success: { status: 200, json: experimentCostPage },
    errors: [],
    idempotent: false,
  },
  getDeploymentCost: {
    method: "GET",
    path: "/v1/cost/deployment",
    summary: "What was used for no experiment in particular, in the last 90 days",
    permission: { on: "deployment", can: "administer" },
    success: { status: 200, json: cost },
    errors: [],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
