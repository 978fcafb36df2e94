/** Options of the agent: option > environment > default > error. Every error names the option and what to do. */
import { open } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import type { Capacity } from "#domain/capacity.ts";
import { SchedulerError } from "#domain/error.ts";
import { TOKEN_BYTES_MAX } from "#protocol/limits.ts";

export interface AgentOptions {
  /** host:port */
  readonly gateway: string;
  readonly caFile: string;
  readonly tokenFile: string | undefined;
  readonly stateDir: string;
  readonly workDir: string;
  readonly cacheDir: string;
  readonly size: Capacity;
  /** Room for waiting work beyond the size, in percent of it. */
  readonly prefetchPercent: number;
  /** When the allocation ends, milliseconds since 1970; `undefined` = no limit. */
  readonly endsAtMs: number | undefined;
  /** Exit after this long without work; `undefined` = stay. */
  readonly idleTimeoutMs: number | undefined;
}

/** What the defaults are taken from: the share of the machine that this process may use. */
export interface Machine {
  readonly cores: number;
  readonly memoryMib: number;
}

export const USAGE = `airavata-worker --gateway host:port --ca file [options]

  --gateway host:port     the task gateway                                  AIRAVATA_GATEWAY
  --ca file               CA certificate of the deployment (ca.pem)         AIRAVATA_CA
  --token-file file       one-time token, needed for the first start        AIRAVATA_TOKEN_FILE
  --state-dir folder      key and certificate   (./.airavata-worker)        AIRAVATA_STATE_DIR
  --work-dir folder       tasks, by worker's id (<state-dir>/work)          AIRAVATA_WORK_DIR
  --cache-dir folder      cached inputs         (<state-dir>/cache)         AIRAVATA_CACHE_DIR
  --slots n               whole cores to offer; or --cpu                    AIRAVATA_SLOTS
  --cpu n                 cores to offer, may be a fraction (all)           AIRAVATA_CPU
  --memory-mib n          memory to offer (all)                             AIRAVATA_MEMORY_MIB
  --gpu n                 devices to offer (0)                              AIRAVATA_GPU
  --prefetch-percent n    room for waiting work, 0 to 1000 (100)            AIRAVATA_PREFETCH_PERCENT
  --ends-at time          end of the allocation: Unix seconds or ISO 8601   AIRAVATA_ENDS_AT, SLURM_JOB_END_TIME
  --idle-timeout time     exit when idle for so long: 90, 90s, 15m, 2h      AIRAVATA_IDLE_TIMEOUT
`;

const NAMES = [
  "gateway",
  "ca",
  "token-file",
  "state-dir",
  "work-dir",
  "cache-dir",
  "slots",
  "cpu",
  "memory-mib",
  "gpu",
  "prefetch-percent",
  "ends-at",
  "idle-timeout",
] as const;
type Name = (typeof NAMES)[number];

const CORES_MAX = 4_096;
const MEMORY_MIB_MAX = 64 * 1024 * 1024;
const GPUS_MAX = 256;
const PREFETCH_PERCENT_MAX = 1_000;
const IDLE_SECONDS_MAX = 30 * 24 * 3600;

/** Throws `invalid-input`. Relative paths are taken from `cwd`. */
export function parseOptions(
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  machine: Machine,
  cwd: string = process.cwd(),
): AgentOptions {
  const given = parseNames(args);
  const read = (name: Name): string | undefined => given[name] ?? (env[environmentName(name)] || undefined);
  const need = (name: Name, example: string): string =>
    read(name) ?? refuse(name, `is missing: give --${name} ${example} or set ${environmentName(name)}`);
  const path = (name: Name, fallback: string) => resolve(cwd, read(name) ?? fallback);

  const gateway = parseAddress(need("gateway", "host:port"));
  const caFile = resolve(cwd, need("ca", "ca.pem"));
  const token = read("token-file");
  const stateDir = path("state-dir", ".airavata-worker");
  const idle = read("idle-timeout");
  const endsAt = read("ends-at") ?? (env.SLURM_JOB_END_TIME || undefined);
  return {
    gateway,
    caFile,
    tokenFile: token === undefined ? undefined : resolve(cwd, token),
    stateDir,
    workDir: path("work-dir", join(stateDir, "work")),
    cacheDir: path("cache-dir", join(stateDir, "cache")),
    size: parseSize(read, machine),
    prefetchPercent: whole("prefetch-percent", read("prefetch-percent") ?? "100", 0, PREFETCH_PERCENT_MAX),
    endsAtMs: endsAt === undefined ? undefined : parseInstant(endsAt),
    idleTimeoutMs: idle === undefined ? undefined : parseDuration(idle),
  };
}

/** The token in a file. It has no option of its own: command lines are public on a machine. Throws `invalid-input`. */
export async function readToken(file: string): Promise<string> {
  const handle = await open(file, "r").catch((error: NodeJS.ErrnoException) =>
    refuse("token-file", `${file} can't be opened (${error.code}): name a file that this user can read`),
  );
  try {
    if (!(await handle.stat()).isFile()) refuse("token-file", `${file} is no regular file: write the token to one`);
    const buffer = Buffer.alloc(TOKEN_BYTES_MAX + 1);
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, 0);
    if (bytesRead > TOKEN_BYTES_MAX) refuse("token-file", `${file} is larger than ${TOKEN_BYTES_MAX} bytes: it holds no token`);
    const token = buffer.toString("utf8", 0, bytesRead).trim();
    if (!/^[\x21-\x7e]+$/.test(token)) refuse("token-file", `${file} must hold one token and nothing else: write it again`);
    return token;
  } finally {
    await handle.close();
  }
}

const environmentName = (name: Name): string => `AIRAVATA_${name.toUpperCase().replaceAll("-", "_")}`;

function refuse(name: Name, problem: string): never {
  throw new SchedulerError("invalid-input", `--${name} ${problem}`);
}

function parseNames(args: readonly string[]): Partial<Record<Name, string>> {
  const options = Object.fromEntries(NAMES.map((name) => [name, { type: "string" as const }]));
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values as Partial<Record<Name, string>>;
  } catch (cause) {
    // Its text repeats no more than the argument's name; a value could be a token given by mistake.
    const unknown = /'(-[^'=]*)/.exec(cause instanceof Error ? cause.message : "")?.[1] ?? "an argument";
    throw new SchedulerError("invalid-input", `${unknown} is not understood: run with --help for the options`);
  }
}

function parseAddress(text: string): string {
  const match = /^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match === null || port < 1 || port > 65_535)
    refuse("gateway", `${text} is no host:port: write gateway.example.org:7443 or [::1]:7443`);
  return text;
}

function parseSize(read: (name: Name) => string | undefined, machine: Machine): Capacity {
  const slots = read("slots");
  const cpu = read("cpu");
  if (slots !== undefined && cpu !== undefined) refuse("slots", "and --cpu say the same thing: give one of them");
  const cores = slots === undefined ? fraction("cpu", cpu ?? String(machine.cores)) : whole("slots", slots, 1, CORES_MAX);
  return {
    cpuMilli: Math.round(cores * 1000),
    memoryMib: whole("memory-mib", read("memory-mib") ?? String(machine.memoryMib), 1, MEMORY_MIB_MAX),
    gpu: whole("gpu", read("gpu") ?? "0", 0, GPUS_MAX),
  };
}

function whole(name: Name, text: string, min: number, max: number): number {
  const value = /^[0-9]{1,12}$/.test(text) ? Number(text) : Number.NaN;
  return value >= min && value <= max ? value : refuse(name, `${text} is no whole number from ${min} to ${max}: correct it`);
}

function fraction(name: Name, text: string): number {
  const value = /^[0-9]{1,6}(\.[0-9]{1,3})?$/.test(text) ? Number(text) : Number.NaN;
  return value > 0 && value <= CORES_MAX
    ? value
    : refuse(name, `${text} is no number above 0 and up to ${CORES_MAX}, like 4 or 0.5: correct it`);
}

/** Unix seconds (as Slurm gives them) or an ISO 8601 instant with its zone: local time would depend on the node. */
function parseInstant(text: string): number {
  if (/^[0-9]{9,11}$/.test(text)) return Number(text) * 1000;
  const zoned = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text);
  const time = zoned ? Date.parse(text) : Number.NaN;
  return Number.isNaN(time) ? refuse("ends-at", `${text} is no time: write Unix seconds or 2027-01-31T12:00:00Z`) : time;
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600 };

function parseDuration(text: string): number {
  const match = /^([0-9]{1,8})([smh]?)$/.exec(text);
  const seconds = Number(match?.[1]) * (SECONDS[match?.[2] || "s"] ?? 1);
  return seconds >= 1 && seconds <= IDLE_SECONDS_MAX
    ? seconds * 1000
    : refuse("idle-timeout", `${text} is no time from 1 s to 30 days: write 90, 90s, 15m or 2h`);
}
