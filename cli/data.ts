/** data ls, get, put: files of storage resources, named <storage>:/<path> as in experiment files. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, type Stats } from "node:fs";
import { link, mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, relative, resolve } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Client } from "#api/client.ts";
import { SchedulerError } from "#domain/error.ts";
import { EXIT } from "./exit-code.ts";
import { clean, showBytes, showCount, table } from "./output.ts";
import { eachPage, type PageOptions, readPages } from "./pages.ts";
import { connect, type Session } from "./session.ts";

const FILES_MAX = 100_000;

interface Place {
  readonly storage: string;
  /** Starts with a slash. */
  readonly path: string;
}

interface CopyOptions {
  readonly recursive?: boolean;
  readonly replace?: boolean;
}

const refuse = (message: string): never => {
  throw new SchedulerError("invalid-input", message);
};

function placeOf(text = ""): Place {
  const found = /^([a-z][a-z0-9-]{0,62}):(\/.*)$/s.exec(text);
  if (found === null) return refuse(`${JSON.stringify(text)} is no place in a storage resource: write it like shared-data:/folder/file`);
  return { storage: found[1] as string, path: found[2] as string };
}

const named = ({ storage, path }: Place): string => clean(`${storage}:${path}`);
const nameIn = (path: string): string => path.split("/").findLast((part) => part !== "") ?? "";
const below = (folder: string, name: string): string => `${folder.replace(/\/+$/, "")}/${name}`;

export async function list(session: Session, options: PageOptions, args: readonly string[]): Promise<number> {
  const { storage, path } = placeOf(args[0]);
  const client = await connect(session);
  const page = await readPages(options, (at) =>
    client.call("listFolder", { params: { storage }, query: { path, ...at }, signal: session.signal }),
  );
  const rows = page.items.map((e) => (e.kind === "folder" ? ["-", `${nameIn(e.path)}/`] : [showBytes(e.bytes), nameIn(e.path)]));
  session.output.result(page, () => [
    ...table(["SIZE", "NAME"], rows),
    ...(page.cursor === undefined ? [] : [`more: --cursor ${page.cursor}`]),
  ]);
  return EXIT.done;
}

interface Tally {
  files: number;
  bytes: number;
}

function report(session: Session, verb: string, tally: Tally, where: string): number {
  session.output.result({ ...tally, to: where }, () => [
    `${showCount(tally.files)} ${tally.files === 1 ? "file" : "files"} (${showBytes(tally.bytes)}) ${verb} ${where}`,
  ]);
  return EXIT.done;
}

async function localStats(path: string): Promise<Stats | undefined> {
  return stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
    throw new SchedulerError("invalid-input", `can't read ${path}: ${error.message}`, { cause: error });
  });
}

async function putOne(client: Client, session: Session, file: string, to: Place, replace: boolean): Promise<number> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  const query = { path: to.path, replace: replace ? ("true" as const) : ("false" as const), sha256: hash.digest("hex") };
  const body = createReadStream(file) as AsyncIterable<Uint8Array>;
  return (await client.call("putFile", { params: { storage: to.storage }, query, body, signal: session.signal })).bytes;
}

/** Regular files below a folder; links are followed to files, not to folders, so nothing goes in circles. */
async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files: string[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() || (entry.isSymbolicLink() && (await localStats(path))?.isFile())) files.push(path);
    if (files.length > FILES_MAX) refuse(`${folder} holds more than ${showCount(FILES_MAX)} files: put its parts one by one`);
  }
  return files.sort();
}

interface Copy {
  readonly from: string;
  readonly to: string;
}

async function copiesOf(source: string, to: string, recursive: boolean): Promise<Copy[]> {
  const found = (await localStats(source)) ?? refuse(`there is no file ${source}`);
  if (found.isFile()) return [{ from: source, to }];
  if (!found.isDirectory()) refuse(`${source} is no file`);
  if (!recursive) refuse(`${source} is a folder: put it with --recursive`);
  return (await filesBelow(source)).map((file) => ({ from: file, to: below(to, relative(source, file)) }));
}

/** `data put FILE... STORAGE:/PATH`: a path that ends in a slash, or several files, name a folder. */
export async function put(session: Session, options: CopyOptions, args: readonly string[]): Promise<number> {
  const to = placeOf(args.at(-1));
  const sources = args.slice(0, -1);
  if (sources.length === 0) refuse("name the files to put before the place");
  const intoFolder = to.path.endsWith("/") || sources.length > 1;
  const copies: Copy[] = [];
  for (const source of sources) {
    const target = intoFolder ? below(to.path, basename(resolve(source))) : to.path;
    copies.push(...(await copiesOf(source, target, options.recursive === true)));
  }
  const client = await connect(session);
  const tally: Tally = { files: 0, bytes: 0 };
  for (const copy of copies) {
    const place = { ...to, path: copy.to };
    session.output.note(`${clean(copy.from)} -> ${named(place)}`);
    tally.bytes += await putOne(client, session, copy.from, place, options.replace === true);
    tally.files++;
  }
  return report(session, "put into", tally, named(to));
}

/** The file gets its name only when it is whole. */
async function getOne(client: Client, session: Session, from: Place, file: string, replace: boolean): Promise<number> {
  const response = await client.open("getFile", {
    params: { storage: from.storage },
    query: { path: from.path },
    signal: session.signal,
  });
  const part = `${file}.${randomUUID()}.part`;
  try {
    await mkdir(dirname(file), { recursive: true });
    const content = Readable.fromWeb(response.body as Parameters<typeof Readable.fromWeb>[0]);
    await pipeline(content, createWriteStream(part, { flags: "wx" }));
    const { size } = await stat(part);
    if (replace) await rename(part, file);
    else await link(part, file);
    return size;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST")
      throw new SchedulerError("conflict", `${file} is there already: replace it with --replace, or name another place`, { cause: error });
    throw error;
  } finally {
    await response.body?.cancel().catch(() => undefined);
    await rm(part, { force: true });
  }
}

/** Names come from whoever filled the storage: none may lead out of the folder. */
function localName(name: string): string {
  if (name === "" || name === "." || name === ".." || /[/\\\0]/.test(name))
    throw new SchedulerError("integrity", `the storage names a file ${JSON.stringify(name)}: it is not fetched`);
  return name;
}

async function* filesIn(client: Client, session: Session, from: Place, to: string): AsyncGenerator<{ from: Place; to: string }> {
  const { storage, path } = from;
  for await (const page of eachPage((at) =>
    client.call("listFolder", { params: { storage }, query: { path, ...at }, signal: session.signal }),
  ))
    for (const entry of page) {
      const at = { from: { storage, path: entry.path }, to: join(to, localName(nameIn(entry.path))) };
      if (entry.kind === "file") yield at;
      else yield* filesIn(client, session, at.from, at.to);
    }
}

/** `data get STORAGE:/PATH [TO]`: to the present folder unless told otherwise. */
export async function get(session: Session, options: CopyOptions, args: readonly string[]): Promise<number> {
  const from = placeOf(args[0]);
  const client = await connect(session);
  const name = localName(nameIn(from.path) || from.storage);
  const wanted = args[1] ?? ".";
  const root = (await localStats(wanted))?.isDirectory() ? join(wanted, name) : wanted;
  const tally: Tally = { files: 0, bytes: 0 };
  async function* one() {
    yield { from, to: root };
  }
  for await (const copy of options.recursive === true ? filesIn(client, session, from, root) : one()) {
    session.output.note(`${named(copy.from)} -> ${clean(copy.to)}`);
    tally.bytes += await getOne(client, session, copy.from, copy.to, options.replace === true);
    tally.files++;
  }
  return report(session, "got into", tally, root);
}
