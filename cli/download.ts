/**
 * experiment download: all outputs as <set>/<number>/<path> below one folder.
 *
 * Names come from task scripts and are not trusted: no part may leave the folder, and no folder on the way may be a link.
 * D1: a file gets its name only when size and SHA-256 are those of the listing. What is there already and equal is kept,
 * so a download that broke off goes on where it was.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, lstat, mkdir, open, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Client } from "#api/client.ts";
import type { OutputViewAnswer } from "#api/schema/experiment-view.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ExperimentId } from "#domain/id.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId, readTaskName } from "./experiment-id.ts";
import { showBytes, showCount } from "./output.ts";
import { eachPage } from "./pages.ts";
import { connect, type Session } from "./session.ts";

const FILES_AT_ONCE = 8;
const TRIES_MAX = 3;

interface DownloadOptions {
  readonly to?: string;
  readonly set?: string;
}

const isAbsent = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** The parts below the folder: set, number, then those of the path. Refuses anything that could lead elsewhere. */
export function partsOf(output: Pick<OutputViewAnswer, "task" | "path">): string[] {
  const { set, number } = readTaskName(output.task);
  const path = output.path.replace(/^(\.\/)+/, "");
  const parts = [set, String(number), ...path.split("/")];
  const isBad = (part: string): boolean => part === "" || part === "." || part === ".." || /[/\\\0]/.test(part);
  if (parts.some(isBad))
    throw new SchedulerError(
      "integrity",
      `output ${JSON.stringify(output.path)} of ${output.task} would lie outside of the folder: it is not fetched`,
    );
  return parts;
}

/** Makes the folders one by one, so that a link on the way is seen. */
async function makeFolders(root: string, parts: readonly string[], known: Set<string>): Promise<string> {
  let folder = root;
  for (const part of parts) {
    folder = join(folder, part);
    if (known.has(folder)) continue;
    await mkdir(folder).catch((error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    });
    if (!(await lstat(folder)).isDirectory())
      throw new SchedulerError("conflict", `${folder} is in the way: it is not a folder of its own`);
    known.add(folder);
  }
  return folder;
}

/** True when the very content is there already. */
async function isThere(file: string, output: OutputViewAnswer): Promise<boolean> {
  try {
    const found = await lstat(file);
    if (!found.isFile() || found.size !== output.bytes) return false;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk);
  return hash.digest("hex") === output.sha256;
}

async function writeChecked(handle: FileHandle, response: Response, output: OutputViewAnswer): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > output.bytes) break;
    hash.update(chunk);
    await handle.write(chunk);
  }
  if (bytes === output.bytes && hash.digest("hex") === output.sha256) return;
  throw new SchedulerError("integrity", `output ${output.name} of ${output.task} did not arrive as it was made`);
}

interface Place {
  readonly client: Client;
  readonly id: ExperimentId;
  readonly root: string;
  readonly known: Set<string>;
  readonly signal: AbortSignal;
}

async function fetchOnce({ client, id, signal }: Place, output: OutputViewAnswer, file: string): Promise<void> {
  const part = `${file}.${randomUUID()}.part`;
  const params = { id, ...readTaskName(output.task), name: output.name };
  const response = await client.open("getOutput", { params, signal });
  try {
    {
      await using handle = await open(part, "wx");
      await writeChecked(handle, response, output);
    }
    await rename(part, file);
  } catch (error) {
    await response.body?.cancel().catch(() => undefined);
    await rm(part, { force: true });
    throw error;
  }
}

/** `false`: it was there already. */
async function fetchOutput(place: Place, output: OutputViewAnswer): Promise<boolean> {
  const parts = partsOf(output);
  const folder = await makeFolders(place.root, parts.slice(0, -1), place.known);
  const file = join(folder, parts.at(-1) as string);
  if (await isThere(file, output)) return false;
  for (let n = 1; ; n++) {
    try {
      await fetchOnce(place, output, file);
      return true;
    } catch (error) {
      const isTransfer = !(error instanceof SchedulerError) || error.kind === "integrity";
      if (n >= TRIES_MAX || !isTransfer || place.signal.aborted) throw error;
    }
  }
}

interface Tally {
  fetched: number;
  kept: number;
  bytes: number;
}

/** Several at once over one listing. The first error ends all of it. */
async function fetchAll(place: Place, outputs: AsyncGenerator<OutputViewAnswer>): Promise<Tally> {
  const tally: Tally = { fetched: 0, kept: 0, bytes: 0 };
  let failed = false;
  async function lane(): Promise<void> {
    while (!failed) {
      const { value: output, done } = await outputs.next();
      if (done === true) return;
      if (await fetchOutput(place, output)) tally.fetched++;
      else tally.kept++;
      tally.bytes += output.bytes;
    }
  }
  const guarded = async (): Promise<void> => {
    try {
      await lane();
    } catch (error) {
      failed = true;
      throw error;
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: FILES_AT_ONCE }, guarded));
  const first = outcomes.find((outcome) => outcome.status === "rejected");
  if (first !== undefined) throw first.reason;
  return tally;
}

export async function download(session: Session, options: DownloadOptions, args: readonly string[]): Promise<number> {
  const id = readExperimentId(args[0]);
  const { signal } = session;
  const client = await connect(session);
  const filter = options.set === undefined ? {} : { set: options.set };
  async function* outputs(): AsyncGenerator<OutputViewAnswer> {
    for await (const page of eachPage((at) => client.call("listOutputs", { params: { id }, query: { ...filter, ...at }, signal })))
      yield* page;
  }
  // Ask before making a folder: an unknown id leaves nothing behind.
  await client.call("getExperiment", { params: { id }, signal });
  const root = resolve(options.to ?? id);
  await mkdir(root, { recursive: true });
  const tally = await fetchAll({ client, id, root, known: new Set(), signal }, outputs());
  const kept = tally.kept > 0 ? `, ${showCount(tally.kept)} were there already` : "";
  session.output.result({ folder: root, ...tally }, () => [
    `${showCount(tally.fetched)} files fetched${kept} (${showBytes(tally.bytes)}) in ${root}`,
  ]);
  return EXIT.done;
}
