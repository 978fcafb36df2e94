/** One row of the HTTP contract, and what every row may answer. */
import type { Scope } from "#domain/account.ts";
import type { ErrorKind } from "#domain/error.ts";
import * as z from "zod";

/**
 * `signed-in`: with the token of a sign-in, not with an API token. `experiment`: the one that the path names by its id; who may
 * not view it learns nothing of it: 404. `project`: likewise. `storage_resource`: the one that the path names; who may not use it learns nothing either.
 */
export type RoutePermission =
  | "public"
  | "authenticated"
  | "signed-in"
  | { readonly on: "project"; readonly can: "view" | "edit" | "manage" }
  | { readonly on: "experiment"; readonly can: "view" | "edit" }
  | { readonly on: "storage_resource"; readonly can: "use" | "write" }
  | { readonly on: "deployment"; readonly can: "administer" };

/** An experiment file or a workflow in WfFormat, raw or as {@link wrappedFile}; {@link ExperimentFileBody} reaches the handler. */
export const EXPERIMENT_FILE = "experiment-file";

const OVERRIDES_MAX = 1000;
export const overrides = z
  .record(z.string(), z.string())
  .refine((values) => Object.keys(values).length <= OVERRIDES_MAX, `holds more than ${OVERRIDES_MAX} values`)
  .default({})
  .describe("Values that replace those of the file: parameter name or compute.<key> to text");
/** What a workflow may ask besides its file; the meaning is checked with the file. */
export const workflowOptions = {
  simulateWork: z
    .number()
    .exactOptional()
    .describe("Of a workflow: each task sleeps for its runtime times this and writes files of their sizes times this"),
  workflowInputs: z.string().exactOptional().describe("Of a workflow: storage:/folder with the files that no task makes"),
};
export const wrappedFile = z.strictObject({ file: z.string().describe("Text of the experiment file"), set: overrides, ...workflowOptions });

export interface ExperimentFileBody {
  readonly bytes: Uint8Array;
  readonly set?: Readonly<Record<string, string>>;
  readonly simulateWork?: number;
  readonly workflowInputs?: string;
}
export const EXPERIMENT_FILE_TYPES = ["application/yaml", "application/x-yaml", "text/yaml", "application/json"] as const;
export const JSON_TYPE = "application/json";
/** A file's content as it is: it reaches the handler as it arrives. */
export const FILE_CONTENT = "file-content";
export const FILE_CONTENT_TYPE = "application/octet-stream";
export type FileContent = AsyncIterable<Uint8Array>;

/** Any schema, for those who may not import zod. */
export type Shape = z.ZodType;

export interface Route {
  /** DELETE takes no body. Repeating a DELETE or a PUT gives the same answer without a key. */
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly summary: string;
  readonly permission: RoutePermission;
  /** What an API token must be for; see {@link scopeOf} for what it is when nothing is said. */
  readonly scope?: Scope;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType | typeof EXPERIMENT_FILE | typeof FILE_CONTENT;
  readonly success: { readonly status: 200 | 201; readonly json: z.ZodType } | { readonly status: 200; readonly bytes: string };
  /** When it may answer 302 to an address elsewhere instead. */
  readonly redirect?: string;
  /** Beyond those that any route may answer (see {@link errorsOf}). */
  readonly errors: readonly ErrorKind[];
  /** Takes an Idempotency-Key: repeated with the same key it has one effect and one answer. */
  readonly idempotent: boolean;
  /** Which host serves it: the functions, or the gateway where a stream has to be held. */
  readonly host?: "gateway";
}

/** What is not said otherwise follows from what a route does, so that no route is without. */
export function scopeOf(route: Route): Scope {
  if (route.scope !== undefined) return route.scope;
  if (typeof route.permission === "object" && route.permission.on === "deployment") return "admin";
  if (route.method === "GET") return "read";
  return typeof route.permission === "object" && route.permission.on === "experiment" && route.method === "POST" ? "submit" : "write";
}

/** Everything a route may answer besides success. */
export function errorsOf(route: Route): readonly ErrorKind[] {
  const kinds = new Set<ErrorKind>([...route.errors, "unavailable"]);
  if (route.permission !== "public") kinds.add("unauthenticated").add("forbidden");
  if (route.method === "POST" || route.method === "PUT") kinds.add("too-large");
  if (route.params !== undefined) kinds.add("not-found");
  if (route.query !== undefined || route.body !== undefined || route.method === "POST") kinds.add("invalid-input");
  if (route.idempotent) kinds.add("conflict");
  return [...kinds].sort();
}
