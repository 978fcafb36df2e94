/** Compute and storage resources, and workers. */
import { RESOURCE_NAME, type Resource } from "#domain/resource.ts";
import { PACKAGE_KINDS, type WorkerState } from "#domain/worker.ts";
import * as z from "zod";
import { count, idOf, instantMs, pageOf } from "./identity.ts";
import { capacity } from "./plan-summary.ts";

const resourceName = z.string().regex(RESOURCE_NAME, "must start with a letter and hold a-z, 0-9 and - only, at most 63 of them");

const ROOT_CHARACTERS_MAX = 1024;
const isPlainAbsolute = (path: string): boolean =>
  path.startsWith("/") && !path.includes("\0") && !path.split("/").some((part) => part === ".." || part === ".");

const root = z
  .string()
  .max(ROOT_CHARACTERS_MAX)
  .refine(isPlainAbsolute, "must be an absolute path without . and .. in it")
  .describe("Absolute path of the folder");

const held = { id: idOf("resource"), name: z.string(), owner: idOf("user"), createdAtMs: instantMs };

export const resource = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("LOCAL"), ...held }),
  z.object({ kind: z.literal("POSIX"), ...held, root: z.string() }),
]) satisfies z.ZodType<Resource>;
export const resourceList = pageOf(resource);

const asked = {
  name: resourceName,
  open: z.boolean().default(false).describe("Whether every user may use it; else its owner and administrators"),
};

export const resourceRequest = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("LOCAL"), ...asked }),
  z.strictObject({
    kind: z.literal("POSIX"),
    ...asked,
    writable: z.boolean().default(false).describe("Whether every user may put files there"),
    root,
  }),
]);
type Settings<R> = R extends unknown ? Omit<R, "open" | "writable"> : never;
/** What is registered, without who may use it. */
export type ResourceSettings = Settings<z.output<typeof resourceRequest>>;

const WORKER_STATES = ["READY", "DRAINING", "DEAD"] as const satisfies readonly WorkerState[];

export const worker = z.object({
  worker: z.string().describe("`<id>#<incarnation>`"),
  pool: z.string().describe("Name of the compute resource it runs on"),
  state: z.enum(WORKER_STATES),
  size: capacity,
  free: capacity,
  leases: count,
  host: z.string(),
  version: z.string(),
  expiresAtMs: instantMs.describe("When it counts as lost unless it is heard from"),
  packages: z.array(z.enum(PACKAGE_KINDS)).readonly().describe("Package environments that it can make for tasks"),
  endsAtMs: instantMs.exactOptional().describe("When its allocation ends"),
});
export const workerList = pageOf(worker);
export type WorkerAnswer = z.output<typeof worker>;
