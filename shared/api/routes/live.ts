/** Logs and events. What is still growing is served by the gateway, everything else by functions. */
import type { Route } from "#api/route.ts";
import { eventsQuery, followLogQuery, gatewayHealth, logQuery } from "#api/schema/live.ts";
import { idOf } from "#api/schema/identity.ts";
import { EVENT_STREAM_TYPE } from "#api/event-stream.ts";
import * as z from "zod";

const ofExperiment = z.object({ id: idOf("experiment") });
const TASK_NUMBER_MAX = 2 ** 31;
const ofTask = ofExperiment.extend({
  set: z.string().min(1).max(256),
  number: z.coerce.number().int().min(0).max(TASK_NUMBER_MAX),
});
const view = { on: "experiment", can: "view" } as const;

export const liveRoutes = {
  getTaskLog: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks/{set}/{number}/log",
    summary: "What was kept of an attempt's log; x-log-omitted names what was not. 409 while it runs: Link says where to follow it",
    permission: view,
    params: ofTask,
    query: logQuery,
    success: { status: 200, bytes: "application/octet-stream" },
    errors: ["conflict", "integrity"],
    idempotent: false,
  },
  followTaskLog: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks/{set}/{number}/log/follow",
    summary: "A log as it grows, from before its attempt begins: events state, chunk, gap, moved, end, cut-off",
    permission: view,
    params: ofTask,
    query: followLogQuery,
    success: { status: 200, bytes: EVENT_STREAM_TYPE },
    errors: ["integrity"],
    idempotent: false,
    host: "gateway",
  },
  followExperiment: {
    method: "GET",
    path: "/v1/experiments/{id}/events",
    summary: "Events of an experiment: snapshot, progress, state, task-failed, tasks-failed, worker-joined, worker-lost, end",
    permission: view,
    params: ofExperiment,
    query: eventsQuery,
    success: { status: 200, bytes: EVENT_STREAM_TYPE },
    errors: [],
    idempotent: false,
    host: "gateway",
  },
  getMetrics: {
    method: "GET",
    path: "/metrics",
    summary: "Metrics of this gateway (Prometheus), for its own machine or by the token of metrics",
    permission: "public",
    success: { status: 200, bytes: "text/plain" },
    errors: ["forbidden"],
    idempotent: false,
    host: "gateway",
  },
  getGatewayHealth: {
    method: "GET",
    path: "/health",
    summary: "Whether this gateway works",
    permission: "public",
    success: { status: 200, json: gatewayHealth },
    errors: [],
    idempotent: false,
    host: "gateway",
  },
} as const satisfies Record<string, Route>;
