import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import type { TaskPlace } from "#domain/edges.ts";
import { taskBindings, type TaskReference } from "#domain/expansion.ts";
import type { ExperimentId } from "#domain/id.ts";
import { members, SEGMENT_TASKS } from "#domain/index-set.ts";
import type { Lease } from "#domain/lease.ts";
import { outputKey } from "#domain/object-owner.ts";
import type { Plan } from "#domain/plan.ts";
import type { OutputFile } from "#domain/result.ts";
import { locate } from "#domain/segment.ts";
import { type TaskFiles, taskFiles, WORK_FILE } from "#domain/workflow-files.ts";
import type { Plans } from "#core/task-scheduler/index.ts";
import type { Clock } from "#ports/clock.ts";
import type { InputStore, PinnedInput } from "#ports/input-store.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import type { Storage } from "#ports/storage.ts";
import type { TaskStore } from "#ports/task-store.ts";
import type { DataMover, StagedFile, StagedFiles, StagedInput, StagedTask } from "./index.ts";
import { createResults } from "./results.ts";

const URL_LIFETIME_MS = 24 * 3_600_000;
/** Files of one input beyond which they travel as a listing object. */
const FILES_IN_MESSAGE_MAX = 200;
/** Bytes that the files of one input, or of one task, take of a message. */
const FILES_BYTES_MAX = 256 * 1024;
/** Of all tasks of a lease: a message has at most 4 MiB. */
const FILES_OF_LEASE_BYTES_MAX = 2 * 1024 * 1024;
/** Checksum, size and frame of a file in a message. */
const FILE_FRAME_BYTES = 100;
const FOLDER_ENTRIES_MAX = 10_000;
/** A file that changes while it is read is read again. */
const READ_TRIES = 3;

const contentKey = (sha256: string): string => `c/${sha256}`;
/** Where the content of a committed output is that is not in its result object. */
const contentOf = ({ object, sha256 }: Pick<OutputFile, "object" | "sha256">): string => object ?? contentKey(sha256);

interface DataMoverDeps {
  readonly tasks: TaskStore;
  readonly objects: ObjectStore;
  readonly inputs: InputStore;
  readonly plans: Plans;
  /** The storage resource of this name, on behalf of the experiment's owner. Throws `not-found` or `forbidden`. */
  readonly storage: (experiment: ExperimentId, name: string) => Promise<Storage>;
  readonly clock: Clock;
}

const sha256Of = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** Each call shares the running one of the same key. */
function single<T>(): (key: string, work: () => Promise<T>) => Promise<T> {
  const running = new Map<string, Promise<T>>();
  return (key, work) => {
    const known = running.get(key);
    if (known !== undefined) return known;
    const started = work().finally(() => running.delete(key));
    running.set(key, started);
    return started;
  };
}

async function measure(body: AsyncIterable<Uint8Array>): Promise<PinnedInput> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of body) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { sha256: hash.digest("hex"), bytes };
}

export function createDataMover(deps: DataMoverDeps): DataMover {
  const results = createResults(deps);
  const once = single<PinnedInput>();
  const expiresAtMs = () => deps.clock.now() + URL_LIFETIME_MS;

  async function copyIn(storage: Storage, path: string): Promise<PinnedInput> {
    for (let i = 1; ; i++) {
      const found = await measure(await storage.read(path));
      if ((await deps.objects.stat(contentKey(found.sha256))) !== undefined) return found;
      try {
        await deps.objects.putStream(contentKey(found.sha256), await storage.read(path), found);
        return found;
      } catch (error) {
        if (!(error instanceof SchedulerError) || error.kind !== "integrity" || i === READ_TRIES) throw error;
      }
    }
  }

  const bringIn = (experiment: ExperimentId, name: string, path: string): Promise<PinnedInput> =>
    once(`${experiment} ${name}:${path}`, async () => {
      const pinned = await deps.inputs.read(experiment, name, path);
      if (pinned !== undefined && (await deps.objects.stat(contentKey(pinned.sha256))) !== undefined) return pinned;
      const storage = await deps.storage(experiment, name);
      const entry = await storage.stat(path);
      if (entry === undefined) throw new SchedulerError("not-found", `${name}:${path} does not exist`);
      if (entry.kind === "folder") throw new SchedulerError("invalid-input", `${name}:${path} is a folder; a parameter names one file`);
      return deps.inputs.pin(experiment, name, path, await copyIn(storage, path));
    });

  async function fromStorage(experiment: ExperimentId, storage: string, path: string, to: string): Promise<StagedFile> {
    const { sha256, bytes } = await bringIn(experiment, storage, path);
    return { path: to, sha256, bytes, url: await deps.objects.signGet(contentKey(sha256), expiresAtMs()) };
  }

  async function assetFiles(experiment: ExperimentId, asset: Plan["assets"][number]): Promise<StagedFile[]> {
    if (!asset.path.endsWith("/"))
      return [
        await fromStorage(experiment, asset.storage, asset.path, asset.to.endsWith("/") ? asset.to + baseName(asset.path) : asset.to),
      ];
    const storage = await deps.storage(experiment, asset.storage);
    const files: StagedFile[] = [];
    for (const e of await storage.list(asset.path, FOLDER_ENTRIES_MAX)) {
      const to = `${asset.to.replace(/\/$/, "")}/${baseName(e.path)}`;
      files.push(
        ...(await assetFiles(experiment, {
          storage: asset.storage,
          path: e.kind === "folder" ? `${e.path.replace(/\/$/, "")}/` : e.path,
          to: e.kind === "folder" ? `${to}/` : to,
        })),
      );
      if (files.length > FOLDER_ENTRIES_MAX)
        throw new SchedulerError("too-large", `${asset.storage}:${asset.path} holds more than ${FOLDER_ENTRIES_MAX} files`);
    }
    return files;
  }

  /** For the time that the lease is open: then it is an orphan under the lease's name, and swept. */
  async function putFor(lease: Lease, bytes: Uint8Array, sha256: string): Promise<string> {
    const key = outputKey(lease.key, sha256);
    await deps.objects.putIfAbsent(key, bytes);
    return deps.objects.signGet(key, expiresAtMs());
  }

  async function fromOutput(lease: Lease, output: OutputFile, path: string, inlineMax: number): Promise<StagedFile> {
    const { sha256, bytes } = output;
    if (output.inline === undefined) return { path, sha256, bytes, url: await deps.objects.signGet(contentOf(output), expiresAtMs()) };
    const inline = Buffer.from(output.inline, "base64");
    return bytes <= inlineMax ? { path, sha256, bytes, inline } : { path, sha256, bytes, url: await putFor(lease, inline, sha256) };
  }

  async function outputsOf(
    lease: Lease,
    reference: TaskReference,
    indices: readonly number[],
  ): Promise<{ number: number; file: OutputFile }[]> {
    const found: { number: number; file: OutputFile }[] = [];
    const { experiment } = lease.key;
    let loaded = -1;
    let leases: readonly Lease[] = [];
    for (const number of indices) {
      const { segment, index } = locate(number);
      if (segment !== loaded) leases = await results.leases({ experiment, set: reference.set, segment });
      loaded = segment;
      const file = (await results.completed(leases, index))?.outputs.find((o) => o.name === reference.output);
      if (file === undefined)
        throw new SchedulerError("integrity", `task ${number} of set ${reference.set} has no committed output ${reference.output}`);
      found.push({ number, file });
    }
    return found;
  }

  async function reference(lease: Lease, r: TaskReference, inlineMax: number): Promise<StagedInput> {
    const indices = r.kind === "one" ? [r.index] : Array.from({ length: r.count }, (_, i) => i);
    const found = await outputsOf(lease, r, indices);
    const width = String(Math.max(1, found.length - 1)).length;
    const place = (number: number, file: OutputFile) =>
      r.kind === "one" ? baseName(file.path) : `${String(number).padStart(width, "0")}/${baseName(file.path)}`;
    const files = await Promise.all(
      found.map(({ number, file }) => fromOutput(lease, file, place(number, file), r.kind === "one" ? inlineMax : FILES_BYTES_MAX)),
    );
    return { name: r.name, many: r.kind === "all", ...(await listed(lease, files, FILES_BYTES_MAX)) };
  }

  /** As they are while they are few and small, else as a listing: an assignment is one message. */
  async function listed(lease: Lease, files: readonly StagedFile[], bytesMax: number): Promise<StagedFiles> {
    const bytes = files.reduce((sum, f) => sum + FILE_FRAME_BYTES + f.path.length + (f.url?.length ?? 0) + (f.inline?.length ?? 0), 0);
    if (files.length <= FILES_IN_MESSAGE_MAX && bytes <= bytesMax) return { files };
    const listing = Buffer.from(
      JSON.stringify(
        files.map((f) => ({
          path: f.path,
          sha256: f.sha256,
          bytes: f.bytes,
          url: f.url ?? "",
          inline: f.inline === undefined ? "" : Buffer.from(f.inline).toString("base64"),
        })),
      ),
    );
    const sha256 = sha256Of(listing);
    return { files: [], listing: { url: await putFor(lease, listing, sha256), sha256 } };
  }

  /** Files of one task of a workflow, under their names. `committed` gives the outputs of a task by path. */
  async function ownFiles(
    lease: Lease,
    plan: Plan,
    task: TaskFiles,
    committed: (at: TaskPlace) => Promise<ReadonlyMap<string, OutputFile>>,
  ): Promise<StagedFile[]> {
    const work = Buffer.from(task.work);
    const files: StagedFile[] = [{ path: WORK_FILE, sha256: sha256Of(work), bytes: work.length, inline: work }];
    for (const { path, from } of task.inputs) {
      if (from === undefined) {
        const folder = plan.files?.from;
        // In simulated work the task makes these itself.
        if (folder !== undefined) files.push(await fromStorage(lease.key.experiment, folder.storage, folder.path + path, path));
        continue;
      }
      const output = (await committed(from)).get(path);
      if (output === undefined) throw new SchedulerError("integrity", `task ${from.task} of set ${from.set} has no committed file ${path}`);
      files.push(await fromOutput(lease, output, path, FILES_BYTES_MAX));
    }
    return files;
  }

  /** Outputs of single tasks by path, each result read once for a lease. */
  function committedOutputs(experiment: ExperimentId): (at: TaskPlace) => Promise<ReadonlyMap<string, OutputFile>> {
    const leases = new Map<string, ReturnType<typeof results.leases>>();
    const found = new Map<string, Promise<ReadonlyMap<string, OutputFile>>>();
    async function read({ set, task }: TaskPlace): Promise<ReadonlyMap<string, OutputFile>> {
      const { segment, index } = locate(task);
      const name = `${set}/${segment}`;
      const reading = leases.get(name) ?? results.leases({ experiment, set, segment });
      leases.set(name, reading);
      const result = await results.completed(await reading, index);
      return new Map(result?.outputs.map((o) => [o.path, o]));
    }
    return (at) => {
      const name = `${at.set}/${at.task}`;
      const known = found.get(name) ?? read(at);
      found.set(name, known);
      return known;
    };
  }

  /** Tasks of a lease often share an input (a barrier, a constant file): each is resolved once. */
  async function stage(lease: Lease, tasks: Parameters<DataMover["stage"]>[1]): ReturnType<DataMover["stage"]> {
    const { plan, planHash } = await deps.plans.of(lease.key.experiment);
    const set = plan.sets[lease.key.set];
    if (set === undefined) throw new SchedulerError("integrity", `the plan has no set ${lease.key.set}`);
    const shared = single<StagedInput>();
    const cache = new Map<string, Promise<StagedInput>>();
    const resolve = (key: string, work: () => Promise<StagedInput>) => {
      const known = cache.get(key) ?? shared(key, work);
      cache.set(key, known);
      return known;
    };
    const committed = committedOutputs(lease.key.experiment);
    const all = members(tasks);
    const bytesMax = Math.min(FILES_BYTES_MAX, Math.floor(FILES_OF_LEASE_BYTES_MAX / all.length));
    const assets = await stagedOr(async () => (await Promise.all(plan.assets.map((a) => assetFiles(lease.key.experiment, a)))).flat());
    if (typeof assets === "string")
      return { plan, planHash, set, assets: [], tasks: [], unstaged: all.map((index) => ({ index, message: assets })) };
    const stageTask = async (index: number): Promise<StagedTask> => {
      const number = lease.key.segment * SEGMENT_TASKS + index;
      const bindings = taskBindings(plan, lease.key.set, number);
      const inputs = await Promise.all([
        ...bindings.inputs.map((i) =>
          resolve(`s ${i.name} ${i.storage}:${i.path}`, async () => ({
            name: i.name,
            many: false,
            files: [await fromStorage(lease.key.experiment, i.storage, i.path, baseName(i.path))],
          })),
        ),
        ...bindings.references.map((r) =>
          resolve(`r ${r.name} ${r.set} ${r.output} ${r.kind === "one" ? r.index : "all"}`, () =>
            reference(lease, r, bytesMax / bindings.references.length),
          ),
        ),
      ]);
      const files = taskFiles(plan, lease.key.set, number);
      const own = files === undefined ? { files: [] } : await listed(lease, await ownFiles(lease, plan, files, committed), bytesMax);
      return { index, number, parameters: bindings.texts, inputs, own, outputFiles: files?.outputs ?? [] };
    };
    const found = await Promise.all(all.map(async (index) => ({ index, task: await stagedOr(() => stageTask(index)) })));
    const good = found.flatMap(({ task }) => (typeof task === "string" ? [] : [task]));
    const unstaged = found.flatMap(({ index, task }) => (typeof task === "string" ? [{ index, message: task }] : []));
    return { plan, planHash, set, assets, tasks: good, unstaged };
  }

  return {
    stage,
    bringIn,
    async open(output) {
      const { inline } = output;
      if (inline !== undefined)
        return (async function* () {
          yield Buffer.from(inline, "base64");
        })();
      const content = await deps.objects.getStream(contentOf(output));
      if (content === undefined) throw new SchedulerError("integrity", `the content of ${output.path} is missing`);
      return content;
    },
    signUploads: (lease, files) => Promise.all(files.map((f) => deps.objects.signPut(outputKey(lease, f.sha256), f, expiresAtMs()))),
    signDownload: (output, untilMs) => deps.objects.signGet(contentOf(output), untilMs),
  };
}

/** Why something can't be staged, where asking again would not help. */
async function stagedOr<T>(work: () => Promise<T>): Promise<T | string> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SchedulerError && error.disposition === "terminal") return error.message;
    throw error;
  }
}

const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
