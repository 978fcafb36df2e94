/**
 * Package environments: the conda and pip packages that an experiment asks for, made once for each list of them and used
 * by every attempt that has the same list: `<cacheDir>/environments/<sha256 of the list>/<build>`.
 *
 * An environment can't be moved (its programs name their own folder), so each build has a folder of its own and becomes
 * current by one symbolic link. Two agents that build the same one at once both succeed; the first link counts. What a
 * killed build left is swept a day later. Tools run without a shell and never see variables of ours.
 */
import { spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { access, constants, mkdir, readdir, readlink, rm, stat, symlink, utimes } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { PackageKind } from "#domain/worker.ts";
import { codeOf, machineError, StagingError } from "./fault.ts";
import { BUILD_MS_MAX, BUILD_OUTPUT_BYTES_MAX, BUILD_REFUSED_MS, LEFT_BUILD_MS, UNUSED_ENVIRONMENT_MS } from "./limits.ts";
import type { Variables } from "./environment.ts";

/** Programs found on the worker's PATH. */
export interface PackageTools {
  /** micromamba, mamba or conda. */
  readonly conda?: string;
  readonly uv?: string;
  /** A Python with `venv` and `ensurepip`. */
  readonly python?: string;
}

export interface PackageList {
  readonly conda: readonly string[];
  readonly pip: readonly string[];
}

export interface PackageEnvironments {
  /** Variables that make programs find the packages; none for an empty list. @throws StagingError @throws MachineError */
  ready(list: PackageList, signal: AbortSignal): Promise<Variables>;
}

type Environment = Readonly<Record<string, string | undefined>>;
const CURRENT = "current";

async function findProgram(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter).filter((f) => f !== "")) {
    const file = join(folder, name);
    const runs = await access(file, constants.X_OK).then(
      async () => (await stat(file)).isFile(),
      () => false,
    );
    if (runs) return file;
  }
  return undefined;
}

export async function findPackageTools(environment: Environment): Promise<PackageTools> {
  const path = environment.PATH ?? "";
  const [micromamba, mamba, conda, uv, python] = await Promise.all(
    ["micromamba", "mamba", "conda", "uv", "python3"].map((name) => findProgram(name, path)),
  );
  const maker = micromamba ?? mamba ?? conda;
  const able = python !== undefined && (await run([python, "-c", "import venv, ensurepip"], environment).then(succeeded, () => false));
  return { ...(maker === undefined ? {} : { conda: maker }), ...(uv === undefined ? {} : { uv }), ...(able ? { python } : {}) };
}

export const kindsOf = (tools: PackageTools): PackageKind[] => [
  ...(tools.conda === undefined ? [] : (["conda"] as const)),
  ...(tools.conda === undefined && tools.uv === undefined && tools.python === undefined ? [] : (["pip"] as const)),
];

interface Ended {
  readonly code: number | null;
  readonly tail: string;
}
const succeeded = ({ code }: Ended): boolean => code === 0;

/** Runs a program in a process group of its own, which ends with it, with this process, or at the time limit. */
function run([command = "", ...args]: readonly string[], environment: Environment): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { env: environment, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let tail = Buffer.alloc(0);
    const keep = (chunk: Buffer) => {
      tail = Buffer.concat([tail, chunk]).subarray(-BUILD_OUTPUT_BYTES_MAX);
    };
    child.stdout.on("data", keep);
    child.stderr.on("data", keep);
    const kill = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // Nothing of the group is left.
      }
    };
    const timer = setTimeout(kill, BUILD_MS_MAX);
    process.once("exit", kill);
    const end = () => {
      clearTimeout(timer);
      process.off("exit", kill);
    };
    child.once("error", (error) => {
      end();
      reject(machineError(`${command} can't be started`, error));
    });
    child.once("close", (code) => {
      end();
      kill();
      resolve({ code, tail: tail.toString("utf8").trim() });
    });
  });
}

/** The commands that fill the folder `prefix`. @throws StagingError when there is no tool for a kind */
export function buildCommands(list: PackageList, tools: PackageTools, prefix: string): string[][] {
  const python = join(prefix, "bin", "python");
  const byPip = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--", ...list.pip];
  if (list.conda.length > 0) {
    if (tools.conda === undefined) throw new StagingError("this worker has no micromamba, mamba or conda: ask for a resource that has one");
    const packages = list.pip.length === 0 ? list.conda : [...list.conda, "pip"];
    const create = [tools.conda, "create", "--yes", "--prefix", prefix, "--override-channels", "--channel", "conda-forge", ...packages];
    return [create, ...(list.pip.length === 0 ? [] : [byPip])];
  }
  if (tools.uv !== undefined)
    return [
      [tools.uv, "venv", prefix],
      [tools.uv, "pip", "install", "--python", python, "--", ...list.pip],
    ];
  if (tools.python !== undefined) return [[tools.python, "-m", "venv", prefix], byPip];
  throw new StagingError("this worker has neither uv nor a Python with venv: ask for a resource that has one");
}

export function createPackageEnvironments(at: {
  /** Absolute; shared by agents that see it. */
  readonly dir: string;
  readonly environment: Environment;
  readonly now: () => number;
}): PackageEnvironments {
  const root = join(at.dir, "environments");
  const environment = Object.fromEntries(Object.entries(at.environment).filter(([name]) => !name.startsWith("AIRAVATA_")));
  const builds = new Map<string, Promise<string>>();
  let tools: Promise<PackageTools> | undefined;

  async function build(list: PackageList, home: string): Promise<string> {
    tools ??= findPackageTools(environment);
    const prefix = join(home, `build-${randomBytes(6).toString("hex")}`);
    try {
      for (const command of buildCommands(list, await tools, prefix)) {
        const { code, tail } = await run(command, environment);
        if (code !== 0)
          throw new StagingError(`packages can't be installed: ${command[0]} ended with ${code ?? "a signal"}; it said last: ${tail}`);
      }
      await symlink(prefix, join(home, CURRENT)).catch((error: unknown) => {
        if (codeOf(error) !== "EEXIST") throw error;
      });
      const current = await readlink(join(home, CURRENT));
      if (current !== prefix) await rm(prefix, { recursive: true, force: true });
      return current;
    } catch (error) {
      await rm(prefix, { recursive: true, force: true });
      throw error instanceof StagingError ? error : machineError("the package environment can't be made", error);
    }
  }

  async function find(list: PackageList, hash: string): Promise<string> {
    const home = join(root, hash);
    await sweep(root, hash, at.now());
    await mkdir(home, { recursive: true, mode: 0o700 });
    const now = new Date(at.now());
    const current = await readlink(join(home, CURRENT)).catch(() => undefined);
    const prefix = current ?? (await build(list, home));
    await utimes(home, now, now); // in use: the sweep goes by it
    return prefix;
  }

  /** Once for each list in one process. A failure holds for a while: each attempt of a lease would try in turn. */
  function found(list: PackageList): Promise<string> {
    const hash = createHash("sha256")
      .update(JSON.stringify([list.conda, list.pip]))
      .digest("hex");
    const known = builds.get(hash);
    if (known !== undefined) return known;
    const making = find(list, hash);
    builds.set(hash, making);
    making.catch(() => setTimeout(() => builds.delete(hash), BUILD_REFUSED_MS).unref());
    return making;
  }

  return {
    async ready(list, signal) {
      if (list.conda.length === 0 && list.pip.length === 0) return {};
      const stopped = new Promise<never>((_, reject) => {
        const stop = () => reject(new StagingError("stopped: no longer wanted"));
        if (signal.aborted) stop();
        signal.addEventListener("abort", stop, { once: true });
      });
      // The build goes on for others that wait for it, and for the next attempt.
      const prefix = await Promise.race([found(list), stopped]);
      const path = [join(prefix, "bin"), ...(environment.PATH === undefined ? [] : [environment.PATH])].join(delimiter);
      return { PATH: path, [list.conda.length > 0 ? "CONDA_PREFIX" : "VIRTUAL_ENV"]: prefix };
    },
  };
}

/** Removes environments that nobody has used for long, and builds that were killed. Best effort: others may do the same. */
async function sweep(root: string, keep: string, nowMs: number): Promise<void> {
  const ageMs = async (path: string) =>
    nowMs -
    (await stat(path).then(
      (s) => s.mtimeMs,
      () => nowMs,
    ));
  for (const name of await readdir(root).catch(() => [])) {
    const home = join(root, name);
    if (name !== keep && (await ageMs(home)) > UNUSED_ENVIRONMENT_MS)
      await rm(home, { recursive: true, force: true }).catch(() => undefined);
    const current = await readlink(join(home, CURRENT)).catch(() => undefined);
    for (const build of await readdir(home).catch(() => [])) {
      const path = join(home, build);
      if (build === CURRENT || path === current || (await ageMs(path)) < LEFT_BUILD_MS) continue;
      await rm(path, { recursive: true, force: true }).catch(() => undefined);
    }
  }
}
