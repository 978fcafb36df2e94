/** Files of storage resources. */
import { FILE_CONTENT, FILE_CONTENT_TYPE, type Route } from "#api/route.ts";
import { pageQuery } from "#api/schema/identity.ts";
import { storageFile, storagePage } from "#api/schema/storage.ts";
import * as z from "zod";

const PATH_CHARACTERS_MAX = 4096;
const ofStorage = z.object({ storage: z.string().min(1).max(63) });
const path = z
  .string()
  .min(1)
  .max(PATH_CHARACTERS_MAX)
  .refine((text) => text.startsWith("/") && !text.includes("\0") && !text.split("/").includes(".."), "must start with / and hold no ..")
  .describe("Path in the storage resource, like /weather/seattle.csv");
const use = { on: "storage_resource", can: "use" } as const;

export const storageRoutes = {
  listFolder: {
    method: "GET",
    path: "/v1/storage/{storage}/entries",
    summary: "What a folder of a storage resource holds, by name",
    permission: use,
    params: ofStorage,
    query: z.strictObject({ path: path.default("/"), ...pageQuery }),
    success: { status: 200, json: storagePage },
    errors: [],
    idempotent: false,
  },
  getFile: {
    method: "GET",
    path: "/v1/storage/{storage}/content",
    summary: "Content of a file of a storage resource",
    permission: use,
    params: ofStorage,
    query: z.strictObject({ path }),
    success: { status: 200, bytes: FILE_CONTENT_TYPE },
    errors: ["too-large"],
    idempotent: false,
  },
  putFile: {
    method: "PUT",
    path: "/v1/storage/{storage}/content",
    summary: "Put a file into a storage resource, whole or not at all, with the folders on the way to it",
    permission: { on: "storage_resource", can: "write" },
    params: ofStorage,
    query: z.strictObject({
      path,
      replace: z.enum(["true", "false"]).default("false").describe("Whether a file that is there may be replaced"),
      sha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits")
        .exactOptional()
        .describe("What the content must have: another is refused and nothing is written"),
    }),
    body: FILE_CONTENT,
    success: { status: 200, json: storageFile },
    errors: ["conflict", "too-large"],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
