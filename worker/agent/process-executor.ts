/**
 * Runs attempts as processes of this machine, each in a directory and a process group of its own.
 *
 * What ends how: exit 0 with all outputs -> done; another exit code, a missing output or a script that cannot be started -> exit;
 * killed by a signal not ours -> signal; our own limits -> timeout, out-of-memory, and staging for the disk limit (too much was
 * put into the directory) and for a script that fails on a full disk; inputs or outputs that cannot be moved -> staging. A failure of our own directories or of starting
 * any process at all is a worker fault. `usage.wallMs` is the script's running time; the times of the result hold staging too.
 */
import { isAbsolute } from "node:path";
import { statfsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import type { TaskResult, Usage } from "#domain/result.ts";
import { createInputCache, type InputCache } from "./cache.ts";
import { type Cgroup, type Cgroups, openOwnCgroups } from "./cgroup.ts";
import { buildEnvironment, type Variables } from "./environment.ts";
import type { Attempt, Executor, WorkerFault } from "./executor.ts";
import { MachineError, machineError, StagingError, textOf } from "./fault.ts";
import { CACHE_BYTES_MAX, DISK_FULL_BYTES, KILL_GRACE_MS } from "./limits.ts";
import { createOrphanHunt, MARK_VARIABLE } from "./orphans.ts";
import { createPackageEnvironments, type PackageEnvironments } from "./packages.ts";
import { hasProcessTable } from "./process-table.ts";
import { type KeepingTools, keepLogs } from "./log-keeping.ts";
import { type Logs, type Program, startGroup, StartError } from "./process-group.ts";
import { createSandboxes, DIRECTORY_VARIABLE, type Sandbox } from "./sandbox.ts";
import { MissingOutputError, prepareOutputs, type StagedIn, type StagingOutTools, stageIn, stageOut } from "./staging.ts";
import { createStarters, type Starters } from "./starter.ts";
import { type Stop, type Supervised, supervise, type SupervisionTools } from "./supervision.ts";
import { createTransfer, type Transfer } from "./transfer.ts";
import { createSampler } from "./usage.ts";

export interface ProcessExecutorOptions {
  /** Absolute. Attempts' directories; used by this agent only (see clearWorkDir). */
  readonly workDir: string;
  /** Absolute. Inputs by content; agents of one machine share it. */
  readonly cacheDir: string;
  /** Milliseconds since 1970, for the times of results. */
  readonly now: () => number;
  /** The worker's own environment; by default this process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  readonly cacheBytesMax?: number;
  readonly killGraceMs?: number;
  /** Leaves directories of failed attempts (the latest 100) for a look. */
  readonly keepFailed?: boolean;
  /** Additional trust for https addresses, PEM. */
  readonly ca?: string | Buffer;
  /** "auto": a cgroup for each attempt where the machine allows. */
  readonly cgroups?: "auto" | "off";
  /** "auto": programs are started by co-processes where the machine has Perl; several times as fast. */
  readonly starters?: "auto" | "off";
  /** Told of what is wrong with the machine and fails no attempt. */
  readonly onProblem?: (message: string) => void;
}

interface Machine {
  readonly options: ProcessExecutorOptions;
  readonly transfer: Transfer;
  readonly cache: InputCache;
  readonly packages: PackageEnvironments;
  readonly sandboxes: ReturnType<typeof createSandboxes>;
  readonly tools: SupervisionTools;
  readonly starters: Starters;
  /** Known once the first attempt has come. */
  readonly starting: { byStarters: boolean };
  readonly environment: Readonly<Record<string, string | undefined>>;
}

type Part = Omit<TaskResult, "index" | "startedAtMs" | "endedAtMs">;
const NO_USAGE: Usage = { wallMs: 0, cpuMs: 0, memoryPeakBytes: 0, bytesIn: 0, bytesOut: 0 };
const MIB = 1024 ** 2;

function failedStaging(message: string, staged?: StagedIn): Part {
  const usage = { ...NO_USAGE, bytesIn: staged?.bytesIn ?? 0 };
  return { outcome: "staging", message, usage, inputs: staged?.inputs ?? [], outputs: [] };
}

function limitsOf({ assignment }: Attempt) {
  return {
    timeMs: assignment.timeLimitMs,
    memoryBytes: (assignment.need?.memoryMib ?? 0) * MIB,
    diskBytes: assignment.diskLimitMib * MIB,
  };
}

/** What the attempt tells its own processes about itself. */
function ownVariables({ assignment, task }: Attempt, sandbox: Sandbox, mark: string): Variables {
  return {
    TMPDIR: sandbox.temporary,
    AIRAVATA_TASK: String(task.number),
    AIRAVATA_LEASE: assignment.lease,
    [DIRECTORY_VARIABLE]: sandbox.dir,
    [MARK_VARIABLE]: mark,
  };
}

interface Ran {
  readonly supervised: Supervised;
  readonly logs: Logs;
}

async function runProgram(
  machine: Machine,
  attempt: Attempt,
  program: Program,
  mark: string,
  cgroup: Cgroup | undefined,
  signal: AbortSignal,
): Promise<Ran> {
  const group = await (machine.starting.byStarters ? machine.starters.start(program) : startGroup(program));
  attempt.publish(group.logs);
  const of = { group, mark, dir: program.cwd, limits: limitsOf(attempt), cgroup, signal };
  const supervised = await supervise(of, machine.tools);
  await group.drained();
  if (supervised.ending.lost === true) throw new MachineError("the starter of an attempt was killed");
  return { supervised, logs: group.logs };
}

/** How it ended, leaving outputs aside. `undefined` = well so far. */
function failureOf({ ending, stop }: Supervised): Pick<Part, "outcome" | "exitCode" | "signal" | "message"> | undefined {
  if (stop !== undefined) return stoppedAs(stop);
  if (ending.signal !== null) {
    const hint = ending.signal === "SIGKILL" ? " by somebody else; the kernel does so when the machine's memory is used up" : "";
    return { outcome: "signal", signal: ending.signal, message: `killed by ${ending.signal}${hint}` };
  }
  if (ending.exitCode !== 0)
    return { outcome: "exit", exitCode: ending.exitCode ?? -1, message: `the script exited with code ${ending.exitCode}` };
  return undefined;
}

/** A script that fails where nothing can be written any more has not failed by itself: a retry finds more room, or another worker. */
function asDiskFull(failure: Pick<Part, "outcome" | "exitCode" | "signal" | "message">, dir: string): typeof failure {
  if (failure.outcome !== "exit" && failure.outcome !== "signal") return failure;
  const free = freeBytesOf(dir);
  if (free === undefined || free >= DISK_FULL_BYTES) return failure;
  return {
    ...failure,
    outcome: "staging",
    message: `the disk of this worker is full (${Math.floor(free / 1024)} KiB free): ${failure.message}`,
  };
}

/** Without what only the superuser may use; `undefined` when it can't be told. */
function freeBytesOf(dir: string): number | undefined {
  try {
    const { bavail, bsize, files, ffree } = statfsSync(dir);
    return files > 0 && ffree === 0 ? 0 : bavail * bsize;
  } catch {
    return undefined;
  }
}

function stoppedAs({ cause, message }: Stop): Pick<Part, "outcome" | "message"> {
  return { outcome: cause === "abort" ? "signal" : cause, message };
}

/** The part of the result that is the same whatever the outcome. */
async function accountOf({ supervised, logs }: Ran, staged: StagedIn, tools: KeepingTools) {
  const { wallMs, cpuMs, memoryPeakBytes } = supervised;
  return {
    usage: { wallMs, cpuMs, memoryPeakBytes, bytesIn: staged.bytesIn, bytesOut: 0 },
    inputs: staged.inputs,
    ...(await keepLogs(logs, tools)),
  };
}

async function collect(
  tools: StagingOutTools,
  outputs: Attempt["task"]["outputs"],
  account: Awaited<ReturnType<typeof accountOf>>,
): Promise<Part> {
  try {
    const out = await stageOut(outputs, tools);
    return { ...account, outcome: "done", exitCode: 0, outputs: out.outputs, usage: { ...account.usage, bytesOut: out.bytesOut } };
  } catch (error) {
    const outcome = error instanceof MissingOutputError ? "exit" : "staging";
    return { ...account, outcome, exitCode: 0, message: textOf(error), outputs: [] };
  }
}

async function runInside(
  machine: Machine,
  attempt: Attempt,
  sandbox: Sandbox,
  cgroups: Cgroups | undefined,
  signal: AbortSignal,
): Promise<Part> {
  const { hunt } = machine.tools;
  const limits = limitsOf(attempt);
  const named = await prepareOutputs(attempt.task.outputs, sandbox.dir);
  const outputFiles = attempt.task.outputFiles.map((path) => ({ name: path, path }));
  const outputs = [...named, ...(await prepareOutputs(outputFiles, sandbox.dir))];
  const packages = await machine.packages.ready(attempt.assignment, signal);
  const staged = await stageIn(attempt, { cache: machine.cache, dir: sandbox.dir, signal, diskBytesMax: limits.diskBytes });
  if (signal.aborted) return failedStaging("stopped: no longer wanted", staged);
  const mark = hunt.begin();
  const environment = buildEnvironment({
    worker: { ...machine.environment, ...packages },
    own: { ...packages, ...ownVariables(attempt, sandbox, mark) },
    templates: attempt.assignment.environment,
    parameters: attempt.task.parameters,
    files: [...staged.variables, ...named.map(({ name, path }) => ({ name, value: path }))],
  });
  let cgroup: Cgroup | undefined;
  try {
    cgroup = await cgroups?.create(limits.memoryBytes);
    const program = { command: sandbox.command, cwd: sandbox.dir, environment, cgroupEntrance: cgroup?.entrance };
    attempt.enter("running");
    const ran = await runProgram(machine, attempt, program, mark, cgroup, signal);
    attempt.enter("staging-out");
    const { dir, temporary } = sandbox;
    const tools = { transfer: machine.transfer, dir, signal, signUploads: attempt.signUploads };
    const onProblem = (message: string) => machine.options.onProblem?.(message);
    const account = await accountOf(ran, staged, { ...tools, temporary, onProblem });
    const failure = failureOf(ran.supervised);
    if (failure !== undefined) return { ...account, ...asDiskFull(failure, sandbox.dir), outputs: [] };
    return await collect(tools, outputs, account);
  } catch (error) {
    if (error instanceof StartError) hunt.forget(mark);
    else await Promise.all([cgroup?.kill(), hunt.endUnknown(mark)]);
    await cgroup?.remove();
    if (error instanceof StartError) return { ...failedStaging(error.message, staged), outcome: "exit" };
    throw error;
  }
}

async function runAttempt(machine: Machine, attempt: Attempt, cgroups: Cgroups | undefined, signal: AbortSignal): Promise<Part> {
  const { assignment, task } = attempt;
  const sandbox = await machine.sandboxes.open({ lease: assignment.lease, index: task.index }, assignment.script);
  let failed = true;
  try {
    const part = await runInside(machine, attempt, sandbox, cgroups, signal);
    failed = part.outcome !== "done";
    return part;
  } catch (error) {
    if (error instanceof StagingError) return failedStaging(error.message);
    throw error;
  } finally {
    const problem = await sandbox.close(failed && machine.options.keepFailed === true && !signal.aborted);
    if (problem !== undefined) machine.options.onProblem?.(problem);
  }
}

function createMachine(options: ProcessExecutorOptions): Machine {
  const transfer = createTransfer({ ca: options.ca });
  const starters = createStarters();
  const environment = options.environment ?? process.env;
  return {
    options,
    transfer,
    cache: createInputCache({ dir: options.cacheDir, bytesMax: options.cacheBytesMax ?? CACHE_BYTES_MAX, transfer }),
    sandboxes: createSandboxes(options.workDir),
    tools: { sampler: createSampler(starters.pids), hunt: createOrphanHunt(), killGraceMs: options.killGraceMs ?? KILL_GRACE_MS },
    starters,
    starting: { byStarters: false },
    packages: createPackageEnvironments({ dir: options.cacheDir, environment, now: options.now }),
    environment,
  };
}

export function createProcessExecutor(options: ProcessExecutorOptions): Executor {
  for (const name of ["workDir", "cacheDir"] as const) {
    if (!isAbsolute(options[name])) throw new Error(`${name} must be an absolute path, not ${JSON.stringify(options[name])}`);
  }
  const machine = createMachine(options);
  let ready: Promise<Cgroups | undefined> | undefined;
  const prepare = async (): Promise<Cgroups | undefined> => {
    for (const dir of [options.workDir, options.cacheDir]) await mkdir(dir, { recursive: true, mode: 0o700 });
    machine.starting.byStarters = options.starters !== "off" && hasProcessTable && (await machine.starters.probe());
    return options.cgroups === "off" ? undefined : await openOwnCgroups();
  };
  return {
    async run(attempt: Attempt, signal: AbortSignal): Promise<TaskResult | WorkerFault> {
      const startedAtMs = options.now();
      try {
        ready ??= prepare();
        const cgroups = await ready.catch((error: unknown) => {
          ready = undefined; // the next attempt looks again
          throw machineError("the work and cache directories cannot be made", error);
        });
        const part = await runAttempt(machine, attempt, cgroups, signal);
        return { index: attempt.task.index, startedAtMs, endedAtMs: options.now(), ...part };
      } catch (error) {
        const message = error instanceof MachineError ? error.message : `unexpected: ${textOf(error)}`;
        return { outcome: "worker-fault", message };
      }
    },
  };
}
