/** Files of storage resources: listed, read, put. Contents are only ever attachments: a browser must not run them. */
import { SchedulerError } from "#domain/error.ts";
import { isStorage } from "#domain/resource.ts";
import { attachmentHeaders, lastOf } from "./attachment.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";
import { pageOf } from "./pages.ts";

const ENTRIES_MAX = 100_000;
const NAME_SHOWN = /^\/v1\/storage\/[^/]+\/content$/;

/** Requests and answers that may be larger than a function takes: a host that can stream sends them past the handler. */
export const isFilePath = (path: string): boolean => NAME_SHOWN.test(path);

export function createStorageHandlers(deps: HttpDeps): Handlers<"listFolder" | "getFile" | "putFile"> {
  const open = async (name: string) => {
    const resource = await deps.resources.read(name);
    if (!isStorage(resource)) throw new SchedulerError("not-found", `${name} is no storage resource`);
    return deps.openStorage(resource);
  };
  return {
    listFolder: async ({ params, query }) => {
      const storage = await open(params.storage);
      const entries = await storage.list(query.path, ENTRIES_MAX);
      if (entries.length === ENTRIES_MAX)
        throw new SchedulerError("too-large", `${query.path} holds more than ${ENTRIES_MAX} files: too many to list`);
      return pageOf(entries, (entry) => entry.path, query);
    },
    getFile: async ({ params, query }) => {
      const storage = await open(params.storage);
      const entry = await storage.stat(query.path);
      if (entry === undefined) throw new SchedulerError("not-found", `there is no file ${query.path} in ${params.storage}`);
      const content = await storage.read(query.path);
      const headers = { "content-length": String(entry.bytes), ...attachmentHeaders(lastOf(entry.path)) };
      return new Response(ReadableStream.from(content), { headers });
    },
    putFile: async ({ params, query, body }) => {
      const storage = await open(params.storage);
      const expect = query.sha256 === undefined ? {} : { expect: { sha256: query.sha256 } };
      return storage.write(query.path, body, { replace: query.replace === "true", ...expect }).catch((error: unknown) => {
        // What arrived is not what its sender announced: the request is wrong, not what we store.
        if (!(error instanceof SchedulerError && error.kind === "integrity")) throw error;
        throw new SchedulerError("invalid-input", error.message, { cause: error });
      });
    },
  };
}
