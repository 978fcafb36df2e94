/**
 * The HTTP contract, once: functions, client, OpenAPI document and the tests of permissions all read this table.
 *
 * P1: every route names the permission that it needs; the application refuses before any effect.
 */
import type * as z from "zod";
import type { EXPERIMENT_FILE, ExperimentFileBody, FILE_CONTENT, FileContent, Route } from "./route.ts";
import { accountRoutes } from "./routes/accounts.ts";
import { costRoutes } from "./routes/costs.ts";
import { deadLetterRoutes } from "./routes/dead-letters.ts";
import { experimentRoutes } from "./routes/experiments.ts";
import { liveRoutes } from "./routes/live.ts";
import { projectRoutes } from "./routes/projects.ts";
import { resourceRoutes } from "./routes/resources.ts";
import { storageRoutes } from "./routes/storage.ts";

export * from "./route.ts";

export const routes = {
  ...accountRoutes,
  ...projectRoutes,
  ...experimentRoutes,
  ...costRoutes,
  ...resourceRoutes,
  ...storageRoutes,
  ...deadLetterRoutes,
  ...liveRoutes,
};

type Routes = typeof routes;
export type OperationId = keyof Routes;
export const OPERATION_IDS = Object.keys(routes) as OperationId[];
/** The same table with the types of its rows forgotten. */
export const routeOf = (id: OperationId): Route => routes[id];
export type GatewayOperation = { [K in OperationId]: Routes[K] extends { readonly host: "gateway" } ? K : never }[OperationId];
export type FunctionsOperation = Exclude<OperationId, GatewayOperation>;
export const isOfGateway = (id: OperationId): id is GatewayOperation => routeOf(id).host === "gateway";

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
  : Routes[K] extends { readonly body: typeof FILE_CONTENT }
    ? FileContent
    : OutputOf<Part<K, "body">>;
/** As a caller gives them. */
export type ParamsInput<K extends OperationId> = InputOf<Part<K, "params">>;
export type QueryInput<K extends OperationId> = InputOf<Part<K, "query">>;
export type BodyInput<K extends OperationId> = Routes[K] extends { readonly body: typeof EXPERIMENT_FILE }
  ? ExperimentFileBody
  : Routes[K] extends { readonly body: typeof FILE_CONTENT }
    ? FileContent
    : InputOf<Part<K, "body">>;
/** What a success holds; `undefined` for routes that answer bytes. */
export type AnswerOf<K extends OperationId> = Routes[K]["success"] extends { readonly json: infer S extends z.ZodType }
  ? z.output<S>
  : undefined;
export type JsonOperation = { [K in OperationId]: AnswerOf<K> extends undefined ? never : K }[OperationId];
export type BytesOperation = Exclude<OperationId, JsonOperation>;
export type IsPublic<K extends OperationId> = Routes[K]["permission"] extends "public" ? true : false;
