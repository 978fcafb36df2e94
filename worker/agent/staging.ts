/** What goes into an attempt's directory before its script runs, and what comes out of it afterwards. */
import { createHash } from "node:crypto";
import { constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, readFile, realpath, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { INLINE_OUTPUT_BYTES_MAX, INLINE_TASK_BYTES_MAX, type InputFile, type OutputFile } from "#domain/result.ts";
import type { File, Input, Output, Task, Variable } from "#protocol/gen/worker.ts";
import type { InputCache } from "./cache.ts";
import { quoteWord } from "./environment.ts";
import type { Attempt } from "./executor.ts";
import { codeOf, machineError, StagingError, textOf } from "./fault.ts";
import { LIST_VARIABLE_BYTES_MAX, LISTING_BYTES_MAX, MANY_FILES_MAX, RECORDED_INPUTS_MAX, STAGED_AT_ONCE } from "./limits.ts";
import { normalizePlace, OWN_FOLDER } from "./sandbox.ts";
import { type Transfer, tryOften } from "./transfer.ts";

/** Folder of `many` inputs. */
const INPUTS_FOLDER = "inputs";
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export interface StagedIn {
  readonly variables: readonly Variable[];
  readonly inputs: readonly InputFile[];
  /** Transferred over the network for this attempt; what the cache had does not count. */
  readonly bytesIn: number;
}

export interface StagingInTools {
  readonly cache: InputCache;
  readonly dir: string;
  readonly signal: AbortSignal;
  /** 0 = no limit. */
  readonly diskBytesMax: number;
}

/** A listing is JSON: `inline`, where present, is base64. */
interface ListedFile {
  readonly path: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly url: string;
  readonly inline: Buffer;
}

function parseListing(text: string, name: string): ListedFile[] {
  const wrong = (): StagingError => new StagingError(`input ${name}: its listing is not a list of files`);
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch {
    throw wrong();
  }
  if (!Array.isArray(list)) throw wrong();
  return list.map((entry: unknown) => {
    if (typeof entry !== "object" || entry === null) throw wrong();
    const { path, sha256, bytes, url = "", inline = "" } = entry as Record<string, unknown>;
    const size = typeof bytes === "string" ? Number(bytes) : bytes;
    if (typeof path !== "string" || typeof sha256 !== "string" || typeof size !== "number") throw wrong();
    if (typeof url !== "string" || typeof inline !== "string") throw wrong();
    return { path, sha256, bytes: size, url, inline: Buffer.from(inline, "base64") };
  });
}

/** Runs `work` on all items, some at a time; the first failure stops the rest and is thrown when none runs any more. */
async function forEachSome<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let failure: { readonly error: unknown } | undefined;
  const lane = async (): Promise<void> => {
    for (let item = items[next++]; item !== undefined && failure === undefined; item = items[next++]) {
      try {
        await work(item);
      } catch (error) {
        failure ??= { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, lane));
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
}

async function writeInline(file: File, path: string): Promise<void> {
  const digest = createHash("sha256").update(file.inline).digest("hex");
  if (digest !== file.sha256 || file.inline.length !== file.bytes) {
    throw new StagingError(`checksum mismatch: expected sha256 ${file.sha256}, received ${digest} with the assignment`);
  }
  await writeFile(path, file.inline, { mode: 0o700, flag: "wx" });
}

/** Gives the bytes that came over the network. */
async function placeFile(file: File, path: string, what: string, tools: StagingInTools): Promise<number> {
  try {
    // An empty file needs no transfer, and an empty `inline` cannot be told from none.
    if (file.url !== "") return await tools.cache.place(file, path, tools.signal);
    await writeInline(file, path);
    return 0;
  } catch (error) {
    if (codeOf(error) === "EEXIST" || codeOf((error as Error).cause) === "EEXIST")
      throw new StagingError(`${what}: another file has the same place`);
    if (error instanceof StagingError) throw new StagingError(`${what}: ${error.message}`, { cause: error });
    throw machineError(`${what} cannot be placed`, error);
  }
}

function record(name: string, files: readonly File[]): InputFile[] {
  if (files.length <= RECORDED_INPUTS_MAX) return files.map(({ sha256, bytes }) => ({ name, sha256, bytes }));
  const hash = createHash("sha256");
  let bytes = 0;
  for (const file of files) {
    hash.update(`${file.sha256} ${file.path}\n`);
    bytes += file.bytes;
  }
  return [{ name, sha256: hash.digest("hex"), bytes }];
}

interface Listing {
  readonly name: string;
  readonly listingUrl: string;
  readonly listingSha256: string;
}

async function fetchListing({ name, ...listing }: Listing, tools: StagingInTools): Promise<{ files: File[]; bytesIn: number }> {
  const path = join(tools.dir, OWN_FOLDER, `${name}.listing`);
  const wanted = { sha256: listing.listingSha256, bytes: LISTING_BYTES_MAX, url: listing.listingUrl, atMost: true };
  try {
    const bytesIn = await tools.cache.place(wanted, path, tools.signal);
    return { files: parseListing(await readFile(path, "utf8"), name), bytesIn };
  } catch (error) {
    if (error instanceof StagingError) throw new StagingError(`listing of input ${name}: ${error.message}`, { cause: error });
    throw error;
  } finally {
    await rm(path, { force: true });
  }
}

function checkDisk(files: readonly File[], bytesMax: number): void {
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
  if (bytesMax > 0 && bytes > bytesMax) throw new StagingError(`inputs of ${bytes} bytes are over the disk limit of ${bytesMax} bytes`);
}

interface Placed {
  readonly file: File;
  readonly what: string;
  /** Below the attempt's directory. */
  readonly place: string;
}

async function placeAll(all: readonly Placed[], tools: StagingInTools): Promise<number> {
  for (const folder of new Set(all.map(({ place }) => dirname(place)))) {
    if (folder !== ".") await mkdir(join(tools.dir, folder), { recursive: true, mode: 0o700 });
  }
  let bytesIn = 0;
  await forEachSome(all, STAGED_AT_ONCE, async ({ file, what, place }) => {
    if (tools.signal.aborted) throw new StagingError("stopped");
    const bytes = await placeFile(file, join(tools.dir, place), what, tools);
    bytesIn += bytes;
  });
  return bytesIn;
}

async function stageMany(input: Input, tools: StagingInTools): Promise<StagedIn> {
  const { name } = input;
  const listed = input.listingUrl === "" ? { files: input.files, bytesIn: 0 } : await fetchListing(input, tools);
  const { files } = listed;
  if (files.length > MANY_FILES_MAX) throw new StagingError(`input ${name}: more than ${MANY_FILES_MAX} files`);
  checkDisk(files, tools.diskBytesMax);
  const folder = `${INPUTS_FOLDER}/${name}`;
  const all = files.map((file) => ({ file, what: `input ${name}`, place: `${folder}/${normalizePlace(file.path, `input ${name}`)}` }));
  await mkdir(join(tools.dir, folder), { recursive: true, mode: 0o700 });
  const bytesIn = listed.bytesIn + (await placeAll(all, tools));
  const paths = all.map(({ place }) => join(tools.dir, place));
  const listPath = join(tools.dir, `${folder}.list`);
  await writeFile(listPath, paths.map((path) => `${path}\n`).join(""), { mode: 0o600, flag: "wx" });
  const list = paths.map(quoteWord).join(" ");
  const variables = [
    { name, value: Buffer.byteLength(list) <= LIST_VARIABLE_BYTES_MAX ? list : "" },
    { name: `${name}_LIST`, value: listPath },
    { name: `${name}_DIR`, value: join(tools.dir, folder) },
  ];
  return { variables, inputs: record(name, files), bytesIn };
}

/** Files of the task alone. They are all recorded, or one digest over them. */
async function ownFiles(task: Task, tools: StagingInTools): Promise<{ placed: Placed[]; inputs: InputFile[]; bytesIn: number }> {
  const listing = { name: "files", listingUrl: task.filesListingUrl, listingSha256: task.filesListingSha256 };
  const { files, bytesIn } = task.filesListingUrl === "" ? { files: task.files, bytesIn: 0 } : await fetchListing(listing, tools);
  if (files.length > MANY_FILES_MAX) throw new StagingError(`the task's files: more than ${MANY_FILES_MAX}`);
  const placed = files.map((file) => ({ file, what: `file ${file.path}`, place: normalizePlace(file.path, "file") }));
  const inputs = files.length <= RECORDED_INPUTS_MAX ? files.flatMap((file) => record(file.path, [file])) : record("files", files);
  return { placed, inputs, bytesIn };
}

/** @throws StagingError @throws MachineError */
export async function stageIn({ assignment, task }: Attempt, tools: StagingInTools): Promise<StagedIn> {
  const variables: Variable[] = [];
  const own = await ownFiles(task, tools);
  const inputs: InputFile[] = [...own.inputs];
  const placed: Placed[] = [...own.placed];
  for (const file of assignment.assets) {
    placed.push({ file, what: `asset ${file.path}`, place: normalizePlace(file.path, "asset") });
    inputs.push(...record(file.path, [file]));
  }
  for (const input of task.inputs) {
    if (!VARIABLE_NAME.test(input.name)) throw new StagingError(`input ${JSON.stringify(input.name)}: no name of a variable`);
    if (input.many) continue;
    const [file, ...more] = input.files;
    if (file === undefined || more.length > 0)
      throw new StagingError(`input ${input.name}: one file expected, ${input.files.length} given`);
    const place = normalizePlace(file.path, `input ${input.name}`);
    placed.push({ file, what: `input ${input.name}`, place });
    variables.push({ name: input.name, value: join(tools.dir, place) });
    inputs.push(...record(input.name, [file]));
  }
  checkDisk(
    placed.map(({ file }) => file),
    tools.diskBytesMax,
  );
  try {
    let bytesIn = own.bytesIn + (await placeAll(placed, tools));
    for (const input of task.inputs) {
      if (!input.many) continue;
      const staged = await stageMany(input, tools);
      variables.push(...staged.variables);
      inputs.push(...staged.inputs);
      bytesIn += staged.bytesIn;
    }
    return { variables, inputs, bytesIn };
  } catch (error) {
    throw machineError("inputs cannot be placed", error);
  }
}

/** Checks the places of outputs again (the plan's compiler did), makes their folders, and gives their variables. */
export async function prepareOutputs(outputs: readonly Output[], dir: string): Promise<Output[]> {
  const prepared = outputs.map(({ name, path }) => ({ name, path: normalizePlace(path, `output ${name}`) }));
  for (const folder of new Set(prepared.map(({ path }) => dirname(path)))) {
    if (folder === ".") continue;
    await mkdir(join(dir, folder), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      if (codeOf(error) === "EEXIST" || codeOf(error) === "ENOTDIR")
        throw new StagingError(`output folder ${folder}: an input has this place`);
      throw machineError("a folder for outputs cannot be made", error);
    });
  }
  return prepared;
}

/** The script said it was done and is not. */
export class MissingOutputError extends Error {
  override readonly name = "MissingOutputError";
}

interface FoundFile {
  readonly name: string;
  readonly path: string;
  readonly real: string;
  readonly bytes: number;
}

async function findOutput({ name, path }: Output, root: string): Promise<FoundFile> {
  const refuse = (why: string): StagingError => new StagingError(`output ${name}: ${path} ${why}`);
  let real: string;
  try {
    real = await realpath(join(root, path));
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR")
      throw new MissingOutputError(`output ${name}: the script made no file ${path}`);
    throw refuse(`cannot be read: ${textOf(error)}`);
  }
  if (!real.startsWith(`${root}/`)) throw refuse("leads out of the task's directory");
  const facts = await lstat(real);
  if (facts.isDirectory()) throw refuse("is a directory; only files can be outputs so far (pack it, for example with tar)");
  if (!facts.isFile()) throw refuse("is not a regular file");
  return { name, path, real, bytes: facts.size };
}

async function openOutput(found: FoundFile): Promise<FileHandle> {
  const file = await open(found.real, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new StagingError(`output ${found.name}: ${found.path} is not a regular file`);
}

/** Digest, and the content when it is small. */
async function readOutput(found: FoundFile, inlineMax: number): Promise<{ sha256: string; bytes: number; content: Buffer | undefined }> {
  const file = await openOutput(found);
  try {
    const hash = createHash("sha256");
    if (found.bytes <= inlineMax) {
      const content = await file.readFile();
      return {
        sha256: hash.update(content).digest("hex"),
        bytes: content.length,
        content: content.length <= inlineMax ? content : undefined,
      };
    }
    let bytes = 0;
    for await (const chunk of file.createReadStream({ highWaterMark: 256 * 1024, autoClose: false })) {
      hash.update(chunk as Buffer);
      bytes += (chunk as Buffer).length;
    }
    return { sha256: hash.digest("hex"), bytes, content: undefined };
  } finally {
    await file.close();
  }
}

export interface StagedOut {
  readonly outputs: readonly OutputFile[];
  readonly bytesOut: number;
}

export interface StagingOutTools {
  readonly transfer: Transfer;
  readonly dir: string;
  readonly signal: AbortSignal;
  readonly signUploads: Attempt["signUploads"];
}

interface Upload {
  readonly sha256: string;
  readonly bytes: number;
  readonly path: string;
}

export async function uploadAll(uploads: readonly Upload[], { transfer, signal, signUploads }: StagingOutTools): Promise<void> {
  if (uploads.length === 0) return;
  const files = uploads.map(({ sha256, bytes }) => ({ sha256, bytes }));
  const urls = await tryOften("signing of uploads", signal, () => signUploads(files));
  const pairs = uploads.map((upload, place) => ({ upload, url: urls[place] }));
  await forEachSome(pairs, STAGED_AT_ONCE, async ({ upload, url }) => {
    if (url === undefined) throw new StagingError("signing of uploads: fewer addresses than files");
    await transfer.upload(upload, url, signal);
  });
}

/** Small files travel inside the result, larger ones are uploaded. @throws MissingOutputError @throws StagingError */
export async function stageOut(outputs: readonly Output[], tools: StagingOutTools): Promise<StagedOut> {
  if (outputs.length === 0) return { outputs: [], bytesOut: 0 };
  const root = await realpath(tools.dir);
  const done: OutputFile[] = [];
  const uploads = new Map<string, Upload>();
  let inlineLeft = INLINE_TASK_BYTES_MAX;
  for (const output of outputs) {
    const found = await findOutput(output, root);
    const { sha256, bytes, content } = await readOutput(found, Math.min(INLINE_OUTPUT_BYTES_MAX, inlineLeft));
    inlineLeft -= content?.length ?? 0;
    if (content === undefined) uploads.set(sha256, { sha256, bytes, path: found.real });
    const file = { name: output.name, path: output.path, sha256, bytes };
    done.push(content === undefined ? file : { ...file, inline: content.toString("base64") });
  }
  await uploadAll([...uploads.values()], tools);
  return { outputs: done, bytesOut: done.reduce((sum, file) => sum + file.bytes, 0) };
}
