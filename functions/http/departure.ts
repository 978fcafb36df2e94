/** Everything of one's account, to take along; and its end. */
import { SchedulerError } from "#domain/error.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";

/** Grows with what a user has: hosts that can stream do. */
export const isExportPath = (path: string): boolean => path === "/v1/me/export";

const DONE = { done: true } as const;

async function* linesOf(parts: AsyncIterable<object>, onError: (error: unknown) => void): AsyncGenerator<Uint8Array> {
  try {
    for await (const part of parts) yield new TextEncoder().encode(`${JSON.stringify(part)}\n`);
    // Without this line an export is not whole.
    yield new TextEncoder().encode(`${JSON.stringify({ kind: "end" })}\n`);
  } catch (error) {
    onError(error);
    throw error;
  }
}

export function createDepartureHandlers({ departure, accounts, logger }: HttpDeps): Handlers<"exportMe" | "deleteMe" | "deleteUser"> {
  return {
    exportMe: async ({ user, requestId }) => {
      const report = (error: unknown) =>
        logger.error("export broke off", { requestId, error: error instanceof Error ? error.message : String(error) });
      const headers = {
        "content-type": "application/x-ndjson",
        "content-disposition": `attachment; filename="${user.name}.jsonl"`,
        "cache-control": "private, no-store",
      };
      return new Response(ReadableStream.from(linesOf(departure.exported(user.id), report)), { headers });
    },
    deleteMe: async ({ user, query }) => {
      if (query.confirm !== user.name)
        throw new SchedulerError("invalid-input", `confirm with the name of the account, ${user.name}: it can't be had back`);
      await departure.leave(user.id, query.experiments);
      return DONE;
    },
    deleteUser: async ({ params, query }) => {
      await departure.leave((await accounts.find(params.id)).id, query.experiments);
      return DONE;
    },
  };
}
