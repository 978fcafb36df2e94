/** Compute and storage resources, workers. */
import type { Route } from "#api/route.ts";
import { pageQuery } from "#api/schema/identity.ts";
import { resource, resourceList, resourceRequest, workerList } from "#api/schema/resource.ts";
import * as z from "zod";

export const resourceRoutes = {
  listResources: {
    method: "GET",
    path: "/v1/resources",
    summary: "Compute and storage resources that you may use, by name",
    permission: "authenticated",
    query: z.strictObject(pageQuery),
    success: { status: 200, json: resourceList },
    errors: [],
    idempotent: false,
  },
  registerResource: {
    method: "POST",
    path: "/v1/resources",
    summary: "Register a compute (LOCAL) or storage (POSIX) resource",
    permission: { on: "deployment", can: "administer" },
    body: resourceRequest,
    success: { status: 201, json: resource },
    errors: ["conflict", "too-large"],
    idempotent: true,
  },
  listWorkers: {
    method: "GET",
    path: "/v1/workers",
    summary: "Workers that are known now, of the resources that you may use",
    permission: "authenticated",
    query: z.strictObject(pageQuery),
    success: { status: 200, json: workerList },
    errors: [],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
