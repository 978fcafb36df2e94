/** Outputs: listed, one at a time, or all in one archive. Contents are only ever attachments: a browser must not run them. */
import type { ExperimentOrchestrator, OutputView } from "#core/experiment-orchestrator/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { type Pack, pack } from "tar-stream";
import { attachmentHeaders, lastOf } from "./attachment.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";
import { ARCHIVE_ENTRIES_MAX, ARCHIVE_PAGE, OUTPUT_STREAMED_BYTES_MAX } from "./limits.ts";

type Operations = "listOutputs" | "getOutput" | "getOutputsArchive";

/** Answers that may be larger than a function's result: a host that can stream sends them past the handler. */
export const isArchivePath = (path: string): boolean => /^\/v1\/experiments\/[^/]+\/outputs\.tar\.gz$/.test(path);

/** Gives up content that nobody will read. */
async function discard(content: AsyncIterable<Uint8Array>): Promise<void> {
  await content[Symbol.asyncIterator]().return?.();
}

/** Path of an output in an archive; leading slashes and `..` can't lead anywhere else. */
function entryNameOf(output: OutputView): string {
  const parts = output.path.split("/").filter((part) => part !== "" && part !== ".");
  if (parts.length === 0 || parts.includes(".."))
    throw new SchedulerError("integrity", `output ${output.task} has the path ${output.path}`);
  return `${output.task}/${parts.join("/")}`;
}

async function* allOutputs(orchestrator: ExperimentOrchestrator, id: ExperimentId): AsyncGenerator<OutputView> {
  let cursor: string | undefined;
  let seen = 0;
  do {
    const page = await orchestrator.outputs(id, { limit: ARCHIVE_PAGE, ...(cursor === undefined ? {} : { cursor }) });
    for (const output of page.items) {
      if (++seen > ARCHIVE_ENTRIES_MAX)
        throw new SchedulerError("too-large", `more than ${ARCHIVE_ENTRIES_MAX} outputs: fetch them one by one`);
      yield output;
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
}

async function writeEntry(archive: Pack, output: OutputView, content: AsyncIterable<Uint8Array>): Promise<void> {
  const { promise: written, resolve, reject } = Promise.withResolvers<void>();
  const entry = archive.entry({ name: entryNameOf(output), size: output.bytes, mtime: new Date(0) }, (error) =>
    error ? reject(error) : resolve(),
  );
  try {
    for await (const chunk of content) {
      if (!entry.write(chunk)) await Promise.race([new Promise<void>((drained) => entry.once("drain", () => drained())), written]);
    }
    entry.end(undefined);
  } catch (error) {
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
  await written;
}

/** Streams; an error after the first byte ends the transfer short, which gunzip then reports. */
function archiveOf(orchestrator: ExperimentOrchestrator, id: ExperimentId, onError: (error: unknown) => void): ReadableStream<Uint8Array> {
  const archive = pack();
  async function fill(): Promise<void> {
    for await (const output of allOutputs(orchestrator, id)) {
      const [set = "", number = ""] = output.task.split("/");
      const { content } = await orchestrator.output(id, { set, number: Number(number), name: output.name });
      await writeEntry(archive, output, content);
    }
    archive.finalize();
  }
  fill().catch((error: unknown) => {
    onError(error);
    archive.destroy(error instanceof Error ? error : new Error(String(error)));
  });
  // The typings of tar-stream leave out that its streams can be iterated.
  const chunks = archive as unknown as AsyncIterable<Uint8Array>;
  return ReadableStream.from(chunks).pipeThrough(new CompressionStream("gzip"));
}

export function createOutputHandlers(deps: HttpDeps): Handlers<Operations> {
  const { orchestrator } = deps;
  return {
    listOutputs: async ({ params, query }) => {
      const page = await orchestrator.outputs(params.id, query);
      const items = page.items.map(({ task, name, path, bytes, sha256 }) => ({ task, name, path, bytes, sha256 }));
      return { items, ...(page.cursor === undefined ? {} : { cursor: page.cursor }) };
    },
    getOutput: async ({ params: { id, set, number, name } }) => {
      const { view, content, object } = await orchestrator.output(id, { set, number, name });
      const stored = { sha256: view.sha256, ...(object === undefined ? {} : { object }) };
      const location = view.bytes > OUTPUT_STREAMED_BYTES_MAX ? await deps.signOutput?.(stored) : undefined;
      if (location !== undefined) {
        await discard(content);
        return new Response(null, { status: 302, headers: { location } });
      }
      const headers = {
        "content-length": String(view.bytes),
        ...attachmentHeaders(lastOf(view.path)),
        etag: `"${view.sha256}"`,
      };
      return new Response(ReadableStream.from(content), { headers });
    },
    getOutputsArchive: async ({ params: { id }, requestId }) => {
      const { id: found } = await orchestrator.find(id);
      const report = (error: unknown) =>
        deps.logger.error("archive broke off", {
          experiment: id,
          requestId,
          error: error instanceof Error ? error.message : String(error),
        });
      const headers = attachmentHeaders(`${found}.tar.gz`, "application/gzip");
      return new Response(archiveOf(orchestrator, found, report), { headers });
    },
  };
}
