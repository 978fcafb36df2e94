/**
 * The HTTP contract, once: functions, client, OpenAPI document and the tests of permissions all read this table.
 *
 * P1: every route names the permission that it needs; the application refuses before any effect.
 */
import type { ErrorKind } from "#domain/error.ts";
import { z } from "zod";
import {
  experimentPage,
  experimentSummary,
  experimentView,
  outputPage,
  taskDetail,
  taskPage,
  taskState,
} from "./schema/experiment-view.ts";
import { health, idOf, loginAnswer, loginRequest, pageQuery, user } from "./schema/identity.ts";
import { planSummary } from "./schema/plan-summary.ts";
import { resource, resourceList, resourceRequest, workerList } from "./schema/resource.ts";

/** `experiment`: the one that the path names. Who may not view it learns nothing of it: 404. */
export type RoutePermission =
  | "public"
  | "authenticated"
  | { readonly on: "experiment"; readonly can: "view" | "edit" }
  | { readonly on: "deployment"; readonly can: "administer" };

/** An experiment file, raw or as {@link wrappedFile}; {@link ExperimentFileBody} reaches the handler. */
export const EXPERIMENT_FILE = "experiment-file";

const OVERRIDES_MAX = 1000;
export const wrappedFile = z.strictObject({
  file: z.string().describe("Text of the experiment file"),
  set: z
    .record(z.string(), z.string())
    .refine((values) => Object.keys(values).length <= OVERRIDES_MAX, `holds more than ${OVERRIDES_MAX} values`)
    .default({})
    .describe("Values that replace those of the file: parameter name or compute.<key> to text"),
});

export interface ExperimentFileBody {
  readonly bytes: Uint8Array;
  readonly set?: Readonly<Record<string, string>>;
}
export const EXPERIMENT_FILE_TYPES = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"] as const;
export const JSON_TYPE = "application/json";

/** Any schema, for those who may not import zod. */
export type Shape = z.ZodType;

export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly summary: string;
  readonly permission: RoutePermission;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType | typeof EXPERIMENT_FILE;
  readonly success: { readonly status: 200 | 201; readonly json: z.ZodType } | { readonly status: 200; readonly bytes: string };
  /** Beyond those that any route may answer (see {@link errorsOf}). */
  readonly errors: readonly ErrorKind[];
  /** Takes an Idempotency-Key: repeated with the same key it has one effect and one answer. */
  readonly idempotent: boolean;
}

const ofExperiment = z.object({ id: idOf("experiment") });
const TASK_NUMBER_MAX = 2 ** 31;
const name = z.string().min(1).max(256);
const number = z.coerce.number().int().min(0).max(TASK_NUMBER_MAX);
const ofTask = ofExperiment.extend({ set: name, number });

const view = { on: "experiment", can: "view" } as const;
const edit = { on: "experiment", can: "edit" } as const;

export const routes = {
  login: {
    method: "POST",
    path: "/v1/login",
    summary: "Exchange name and password for a bearer token",
    permission: "public",
    body: loginRequest,
    success: { status: 200, json: loginAnswer },
    errors: ["unauthenticated", "too-large"],
    idempotent: false,
  },
  getHealth: {
    method: "GET",
    path: "/v1/health",
    summary: "Whether the API answers, and its version",
    permission: "public",
    success: { status: 200, json: health },
    errors: [],
    idempotent: false,
  },
  getMe: {
    method: "GET",
    path: "/v1/me",
    summary: "Who the token belongs to",
    permission: "authenticated",
    success: { status: 200, json: user },
    errors: [],
    idempotent: false,
  },
  planExperiment: {
    method: "POST",
    path: "/v1/plan",
    summary: "Check an experiment file and count its tasks; nothing is written",
    permission: "authenticated",
    body: EXPERIMENT_FILE,
    success: { status: 200, json: planSummary },
    errors: ["too-large"],
    idempotent: false,
  },
  createExperiment: {
    method: "POST",
    path: "/v1/experiments",
    summary:
      "Create an experiment from a file. With submit=true it is started too; `status` says whether that was reached (CREATED: submit it)",
    permission: "authenticated",
    query: z.strictObject({ submit: z.enum(["true", "false"]).default("false") }),
    body: EXPERIMENT_FILE,
    success: { status: 201, json: experimentSummary },
    errors: ["conflict", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  listExperiments: {
    method: "GET",
    path: "/v1/experiments",
    summary: "Your experiments, newest first",
    permission: "authenticated",
    query: z.strictObject(pageQuery),
    success: { status: 200, json: experimentPage },
    errors: [],
    idempotent: false,
  },
  getExperiment: {
    method: "GET",
    path: "/v1/experiments/{id}",
    summary: "State and progress of an experiment",
    permission: view,
    params: ofExperiment,
    success: { status: 200, json: experimentView },
    errors: [],
    idempotent: false,
  },
  submitExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/submit",
    summary: "Start an experiment; a no-op when it is started",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  cancelExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/cancel",
    summary: "Stop an experiment for good; running tasks are killed. A no-op when it has ended",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  listTasks: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks",
    summary: "Tasks by set and number. A page may be shorter than asked for while there is a cursor",
    permission: view,
    params: ofExperiment,
    query: z.strictObject({ set: name.exactOptional(), state: taskState.exactOptional(), ...pageQuery }),
    success: { status: 200, json: taskPage },
    errors: [],
    idempotent: false,
  },
  getTask: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks/{set}/{number}",
    summary: "A task with its attempts, newest first",
    permission: view,
    params: ofTask,
    success: { status: 200, json: taskDetail },
    errors: [],
    idempotent: false,
  },
  listOutputs: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs",
    summary: "Committed outputs by set and number",
    permission: view,
    params: ofExperiment,
    query: z.strictObject({ set: name.exactOptional(), ...pageQuery }),
    success: { status: 200, json: outputPage },
    errors: [],
    idempotent: false,
  },
  getOutput: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs/{set}/{number}/{name}",
    summary: "Content of an output; a large one by 302 to a signed URL",
    permission: view,
    params: ofTask.extend({ name }),
    success: { status: 200, bytes: "application/octet-stream" },
    errors: ["integrity", "too-large"],
    idempotent: false,
  },
  getOutputsArchive: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs.tar.gz",
    summary: "All committed outputs as <set>/<number>/<path>",
    permission: view,
    params: ofExperiment,
    success: { status: 200, bytes: "application/gzip" },
    errors: ["too-large"],
    idempotent: false,
  },
  listResources: {
    method: "GET",
    path: "/v1/resources",
    summary: "Compute and storage resources by name",
    permission: "authenticated",
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
    summary: "Workers that are known now",
    permission: "authenticated",
    success: { status: 200, json: workerList },
    errors: [],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;

type Routes = typeof routes;
export type OperationId = keyof Routes;
export const OPERATION_IDS = Object.keys(routes) as OperationId[];
/** The same table with the types of its rows forgotten. */
export const routeOf = (id: OperationId): Route => routes[id];

type Part<K extends OperationId, Name extends string> = Routes[K] extends { readonly [N in Name]: infer S extends z.ZodType }
  ? S
  : undefined;
type OutputOf<S> = S extends z.ZodType ? z.output<S> : undefined;
type InputOf<S> = S extends z.ZodType ? z.input<S> : undefined;

/** As the handler gets them. */
export type ParamsOf<K extends OperationId> = OutputOf<Part<K, "params">>;
export type QueryOf<K extends OperationId> = OutputOf<Part<K, "query">>;
export type BodyOf<K extends OperationId> = Routes[K] extends { readonly body: typeof EXPERIMENT_FILE }
  ? ExperimentFileBody
  : OutputOf<Part<K, "body">>;
/** As a caller gives them. */
export type ParamsInput<K extends OperationId> = InputOf<Part<K, "params">>;
export type QueryInput<K extends OperationId> = InputOf<Part<K, "query">>;
export type BodyInput<K extends OperationId> = Routes[K] extends { readonly body: typeof EXPERIMENT_FILE }
  ? ExperimentFileBody
  : InputOf<Part<K, "body">>;
/** What a success holds; `undefined` for routes that answer bytes. */
export type AnswerOf<K extends OperationId> = Routes[K]["success"] extends { readonly json: infer S extends z.ZodType }
  ? z.output<S>
  : undefined;
export type JsonOperation = { [K in OperationId]: AnswerOf<K> extends undefined ? never : K }[OperationId];
export type BytesOperation = Exclude<OperationId, JsonOperation>;
export type IsPublic<K extends OperationId> = Routes[K]["permission"] extends "public" ? true : false;

/** Everything a route may answer besides success. */
export function errorsOf(route: Route): readonly ErrorKind[] {
  const kinds = new Set<ErrorKind>([...route.errors, "unavailable"]);
  if (route.permission !== "public") kinds.add("unauthenticated");
  if (typeof route.permission === "object") kinds.add("forbidden");
  if (route.params !== undefined) kinds.add("not-found");
  if (route.query !== undefined || route.body !== undefined || route.method === "POST") kinds.add("invalid-input");
  if (route.idempotent) kinds.add("conflict");
  return [...kinds].sort();
}
