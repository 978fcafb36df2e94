/**
 * `npm start`: the whole system on this machine, one process for each part, under one supervisor.
 *
 *   database       DynamoDB's API on SQLite (dynoxide), or AIRAVATA_DYNAMODB_ENDPOINT
 *   authorization  SpiceDB in process on its own gRPC API
 *   functions      HTTP, the scheduler's queue, the timers
 *   gateway        task gateway (gRPC, mutual TLS) and signed object URLs
 *   worker-N       agents
 */
import { execFile, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { SchedulerError } from "#domain/error.ts";
import { contextFile } from "#cli/context.ts";
import { EXIT, MEANINGS } from "#cli/exit-code.ts";
import { createDiskSpace } from "#adapters/system/space.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { diskReserveBytes } from "#config";
import { tellShortage } from "#ports/space.ts";
import { watchSpace } from "./space-watch.ts";
import { killLeftovers } from "#agent/orphans.ts";
import { openDataFolder } from "./data-folder.ts";
import { dynoxidePart, freePort } from "./dynoxide.ts";
import { checkExample, EXAMPLE_FILE } from "./example.ts";
import { ensureKeyFile } from "./key-file.ts";
import { PARTS_FILE, writePartStates } from "./part-states.ts";
import { createSupervisor, type Known, type Part, superviseUntilSignal } from "./supervisor.ts";

const PROJECT = resolve(import.meta.dirname, "..");
const USAGE = `npm start -- [options]

  --data-dir D   where everything is kept            (.airavata)
  --port P       port of the HTTP API, 0 = any free  (8080, any free one when it is taken)
  --live-port P  port of live logs and events        (any free one)
  --workers N    local workers                       (1)
  --slots N      tasks at once in each worker        (cores of this machine)
  --exit         run the example, check its result, stop; exit code 0 when it is right
  --help

Environment: AIRAVATA_DYNAMODB_ENDPOINT (another database than the embedded one), AIRAVATA_DISK_RESERVE_MIB (free space
below which nothing new is handed out, 256), AIRAVATA_LOG (debug, info, warn or error), AIRAVATA_CONTEXT (the file of the
login), AIRAVATA_CORS_ORIGINS, AIRAVATA_RATE_PER_SECOND, AIRAVATA_RATE_BURST.

Exit codes: 0 stopped when asked to, 1 a part was given up or the example is wrong, 2 usage,
5 refused: the folder is in use or of a newer release, the port is taken.

Beside it, in another terminal: airavata admin --help (state of the parts, backup, restore). docs/OPERATIONS.md has more.
`;

interface Options {
  readonly dataDir: string;
  readonly port: number | undefined;
  /** 0: any free one. */
  readonly gatewayHttpPort: number;
  readonly workers: number;
  readonly slots: number;
  readonly exit: boolean;
}

const OPTIONS = {
  "data-dir": { type: "string", default: ".airavata" },
  port: { type: "string" },
  "live-port": { type: "string", default: "0" },
  workers: { type: "string", default: "1" },
  slots: { type: "string", default: String(availableParallelism()) },
  exit: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

function readArguments(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS }).values;
  } catch (cause) {
    throw new SchedulerError("invalid-input", `${cause instanceof Error ? cause.message : cause} (npm start -- --help)`, { cause });
  }
}

function parseOptions(args: readonly string[]): Options | undefined {
  const values = readArguments(args);
  if (values.help) return undefined;
  const whole = (name: string, text: string, min: number, max: number): number => {
    const n = Number(text);
    if (!/^\d+$/.test(text) || n < min || n > max)
      throw new SchedulerError("invalid-input", `--${name} is a whole number from ${min} to ${max}, not ${text}`);
    return n;
  };
  return {
    dataDir: resolve(values["data-dir"]),
    port: values.port === undefined ? undefined : whole("port", values.port, 0, 65535),
    gatewayHttpPort: whole("live-port", values["live-port"], 0, 65535),
    workers: whole("workers", values.workers, 0, 64),
    slots: whole("slots", values.slots, 1, 1024),
    exit: values.exit,
  };
}

const node = (file: string, ...args: string[]) => ({ command: process.execPath, args: [join(PROJECT, file), ...args] });

async function parts(options: Options): Promise<Part[]> {
  const { dataDir } = options;
  ensureKeyFile(join(dataDir, "deployment.key"));
  ensureKeyFile(join(dataDir, "spicedb.key"));
  const outside = process.env.AIRAVATA_DYNAMODB_ENDPOINT;
  const database = outside === undefined ? [await dynoxidePart({ dbPath: join(dataDir, "state.db"), port: 0 })] : [];
  // The engine would leave it open to all; what it puts beside it takes this file's mode.
  if (outside === undefined) closeSync(openSync(join(dataDir, "state.db"), "a", 0o600));
  const objectsPort = await freePort();
  const httpPort = await freeHttpPort(options.port);
  const settings = (known: Known) => ({
    AIRAVATA_DATA_DIR: dataDir,
    AIRAVATA_DYNAMODB_ENDPOINT: outside ?? String(known.ready.get("database")?.endpoint),
    AIRAVATA_OBJECTS_URL: `http://127.0.0.1:${objectsPort}`,
    AIRAVATA_SPICEDB: `127.0.0.1:${known.ready.get("authorization")?.port}`,
  });
  const stores = [...database.map((d) => d.name), "authorization"];
  const worker = (n: number): Part => ({
    name: `worker-${n}`,
    after: ["gateway"],
    command: ({ ready }) => {
      const stateDir = join(dataDir, `worker-${n}`);
      return node(
        "worker/agent/main.ts",
        ...["--gateway", `127.0.0.1:${ready.get("gateway")?.port}`, "--ca", join(dataDir, "authority", "ca.pem")],
        ...["--token-file", join(dataDir, "run", `worker-${n}.token`)], // used when it has no sound identity of its own
        ...["--state-dir", stateDir, "--cache-dir", join(dataDir, "cache"), "--slots", String(options.slots)],
      );
    },
  });
  const all: Part[] = [
    ...database,
    {
      name: "authorization",
      command: ({ previous }) =>
        node(
          "local/authorization-engine.ts",
          "--journal",
          join(dataDir, "relationships.db"),
          "--key-file",
          join(dataDir, "spicedb.key"),
          "--port",
          String(previous?.port ?? 0),
        ),
    },
    {
      name: "functions",
      after: stores,
      command: (known) => ({ ...node("local/functions-part.ts"), env: { ...settings(known), AIRAVATA_HTTP_PORT: String(httpPort) } }),
    },
    {
      name: "gateway",
      after: stores,
      command: (known) => ({
        ...node("local/gateway-part.ts"),
        env: {
          ...settings(known),
          AIRAVATA_GATEWAY_PORT: String(known.previous?.port ?? 0),
          AIRAVATA_GATEWAY_HTTP_PORT: String(known.previous?.httpPort ?? options.gatewayHttpPort),
          AIRAVATA_WORKERS: String(options.workers),
        },
      }),
    },
    ...Array.from({ length: options.workers }, (_, i) => worker(i + 1)),
  ];
  return all.map((part) => marked(part, dataDir));
}

/** In the environment of every part and what it starts: `<data folder>/<part>`. */
const PART_MARK = "AIRAVATA_PART";

function marked(part: Part, dataDir: string): Part {
  return {
    ...part,
    command(known) {
      const command = part.command(known);
      return { ...command, env: { ...command.env, [PART_MARK]: join(dataDir, part.name) } };
    },
  };
}

/** The lock is ours: whatever still bears a mark of this folder outlived an earlier supervisor, and would write beside us. */
async function endEarlierLife(dataDir: string, print: (line: string) => void): Promise<void> {
  const ended = await killLeftovers(dataDir, PART_MARK);
  if (ended > 0) print(`ended ${ended} process${ended === 1 ? "" : "es"} that an earlier run had left`);
}

const DEFAULT_PORT = 8080;

/** A port that was asked for is taken or refused; the default gives way to another. */
async function freeHttpPort(asked: number | undefined): Promise<number> {
  if (asked === 0) return freePort();
  const port = asked ?? DEFAULT_PORT;
  const { createServer } = await import("node:net");
  const free = await new Promise<boolean>((done) => {
    const probe = createServer()
      .once("error", () => done(false))
      .listen(port, "127.0.0.1", () => probe.close(() => done(true)));
  });
  if (free) return port;
  if (asked !== undefined)
    throw new SchedulerError("conflict", `port ${asked} is taken by another program; choose another with --port, or 0 for any free one`);
  return freePort();
}

/** Logs the command line in, so that it works at once; AIRAVATA_CONTEXT names another file for it than the user's own. */
function login(options: Options, url: string): Promise<void> {
  return new Promise((done, fail) => {
    execFile(
      process.execPath,
      [
        join(PROJECT, "cli/main.ts"),
        "login",
        "--server",
        url,
        "--user",
        "admin",
        "--password-file",
        join(options.dataDir, "admin-password"),
      ],
      (error, _out, text) => (error === null ? done() : fail(new Error(`the command line could not log in: ${text}`))),
    );
  });
}

function runExample(): Promise<number> {
  return new Promise((done) => {
    const child = spawn(process.execPath, [join(PROJECT, "cli/main.ts"), "experiment", "run", join(PROJECT, EXAMPLE_FILE)], {
      stdio: "inherit",
    });
    child.once("exit", (code) => done(code ?? 1));
  });
}

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(USAGE);
    return 0;
  }
  const print = (text: string) => process.stdout.write(`${text}\n`);
  const folder = openDataFolder(options.dataDir, print);
  const over = new AbortController();
  const space = createDiskSpace(options.dataDir, diskReserveBytes(process.env));
  try {
    const first = !existsSync(join(options.dataDir, "state.db"));
    print(`starting in ${options.dataDir}`);
    await endEarlierLife(options.dataDir, print);
    const supervisor = createSupervisor({
      parts: await parts(options),
      logFolder: folder.logs,
      print,
      holdOn: () => {
        const shortage = space.shortage();
        return shortage === undefined ? undefined : tellShortage(shortage);
      },
      tell: (states) => writePartStates(join(folder.run, PARTS_FILE), states),
    });
    let failed = false;
    void watchSpace({ space, clock: createSystemClock(), logger: { warn: print, info: print } }, { signal: over.signal });
    const code = await superviseUntilSignal(supervisor, (ready) => {
      const url = String(ready.get("functions")?.url);
      void (async () => {
        await login(options, url);
        print(`\nready: ${url}\n  user admin, password in ${join(options.dataDir, "admin-password")}\n  try: npx airavata experiment list`);
        if (options.exit || first) {
          print("\nrunning the example: days of rain in Seattle by year and threshold");
          const ran = await runExample();
          failed = ran !== 0 || !(await checkExample({ url, context: readFileSync(contextFile(process.env), "utf8"), print }));
        }
      })()
        .catch((error: unknown) => {
          failed = true;
          print(`error: ${error instanceof Error ? error.message : String(error)}`);
        })
        .finally(() => options.exit && void supervisor.stop());
    });
    return options.exit && failed ? 1 : code;
  } finally {
    over.abort();
    folder.release();
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof SchedulerError ? MEANINGS[error.kind].exit : EXIT.failed;
}
