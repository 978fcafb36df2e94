/** The command line as a process of its own against the real application over HTTP: output, exit codes, files. */
import { spawn } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { partsOf } from "../../cli/download.ts";
import { createHttpApp, createLambdaHandler } from "../../functions/http/index.ts";
import { createFunctionsHost, type FunctionsHost } from "../../local/functions-host.ts";
import { createSystemClock } from "../../shared/adapters/system/clock.ts";
import type { Experiment } from "../../shared/domain/experiment.ts";
import type { Logger } from "../../shared/ports/logger.ts";
import {
  ALICE,
  anOutput,
  createFakeHttp,
  EXPERIMENT_YAML,
  type FakeHttp,
  OUTPUT_TEXT,
  PASSWORD,
  tokenOf,
} from "../support/fake-http-deps.ts";

// Starting processes is slow on a busy machine.
vi.setConfig({ testTimeout: 60_000 });

const main = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), "cli", "main.ts");
const logger: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => logger };

let fake: FakeHttp;
let host: FunctionsHost;
let url: string;
let folder: string;

interface Ran {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface RunOptions {
  readonly input?: string;
  readonly env?: Record<string, string>;
  readonly onError?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

function airavata(args: readonly string[], { input = "", env = {}, onError }: RunOptions = {}): Promise<Ran> {
  const child = spawn(process.execPath, [main, ...args], {
    cwd: folder,
    env: { PATH: process.env.PATH, HOME: folder, XDG_CONFIG_HOME: join(folder, "config"), AIRAVATA_SERVER: url, ...env },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stderr.on("data", (chunk) => {
    err += chunk;
    onError?.(err, (signal) => child.kill(signal));
  });
  child.stdin.end(input);
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, err })));
}

const loggedIn = (args: readonly string[], options: RunOptions = {}) =>
  airavata(args, { ...options, env: { AIRAVATA_TOKEN: tokenOf(ALICE), ...options.env } });
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return name;
};
const contextFile = (): string => join(folder, "config", "airavata", "context.json");

function turnAll(status: Experiment["status"]): void {
  for (const held of fake.experiments.values()) held.experiment = { ...held.experiment, status, endedAtMs: 9 };
}

async function created(): Promise<string> {
  const { code, out } = await loggedIn(["experiment", "run", file("e.yaml", EXPERIMENT_YAML), "--detach"]);
  expect(code).toBe(0);
  return out.trim();
}

beforeEach(async () => {
  fake = createFakeHttp();
  folder = mkdtempSync(join(tmpdir(), "airavata-cli-"));
  const http = { handler: createLambdaHandler(createHttpApp(fake.deps)), host: "127.0.0.1", port: 0 };
  host = createFunctionsHost({ http, clock: createSystemClock(), logger });
  url = (await host.start()).url ?? "";
});

afterEach(async () => {
  await host.stop();
  rmSync(folder, { recursive: true, force: true });
});

describe("login", () => {
  it("remembers the token in a file that only its owner can read, and never shows it", async () => {
    const login = await airavata(["login", "--user", "alice"], { input: `${PASSWORD}\n` });
    expect(login.code).toBe(0);
    expect(statSync(contextFile()).mode & 0o777).toBe(0o600);
    expect(login.out + login.err).not.toContain(tokenOf(ALICE));
    chmodSync(contextFile(), 0o644);
    const shown = await airavata(["context", "show"], { env: { AIRAVATA_SERVER: "" } });
    expect([shown.code, shown.out.includes("alice"), shown.out.includes(tokenOf(ALICE))]).toEqual([0, true, false]);
    expect(statSync(contextFile()).mode & 0o777).toBe(0o600);
    expect((await airavata(["experiment", "list"], { env: { AIRAVATA_SERVER: "" } })).code).toBe(0);
  });

  it("takes the password from a file, and no wrong one: 3", async () => {
    expect((await airavata(["login", "--user", "alice", "--password-file", file("p", `${PASSWORD}\n`)])).code).toBe(0);
    const wrong = await airavata(["login", "--user", "alice", "--password-file", file("p", "wrong")]);
    expect([wrong.code, wrong.err.includes("wrong, or")]).toEqual([3, true]);
    expect((await airavata(["login", "--user", "alice", "--password-file", "absent"])).code).toBe(2);
    expect((await airavata(["login"])).code).toBe(2);
  });

  it("is for one server: another one never gets the token", async () => {
    await airavata(["login", "--user", "alice"], { input: PASSWORD });
    const other = await airavata(["experiment", "list", "--server", url.replace("127.0.0.1", "localhost")]);
    expect([other.code, other.err.includes("not logged in at")]).toEqual([3, true]);
  });
});

describe("contexts", () => {
  const named = (name: string) => airavata(["login", "--user", "alice", "--password-file", file("p", `${PASSWORD}\n`), "--context", name]);

  it("are logins under names; one is in use until another is chosen", async () => {
    expect((await named("campus")).code).toBe(0);
    expect((await named("lab")).code).toBe(0);
    const stored = join(folder, "config", "airavata", "contexts", "lab.json");
    expect(statSync(stored).mode & 0o777).toBe(0o600);
    expect((await airavata(["context", "show"])).code).toBe(3);
    expect((await airavata(["context", "show", "--context", "lab"])).code).toBe(0);
    expect((await airavata(["context", "use", "lab"])).code).toBe(0);
    expect((await airavata(["config", "show"])).code).toBe(0);
    expect((await airavata(["context", "list", "--quiet"])).out).toBe("campus\nlab\n");
    expect((await airavata(["context", "remove", "lab"])).code).toBe(0);
    expect(existsSync(stored)).toBe(false);
    expect((await airavata(["context", "list", "--quiet"])).out).toBe("campus\ndefault\n");
  });

  it("have names that lead nowhere else", async () => {
    const { code, err } = await airavata(["context", "show", "--context", "../../x"]);
    expect(code).toBe(2);
    expect(err).toContain("no name of a context");
    expect((await airavata(["context", "use", "absent"])).code).toBe(4);
  });
});

describe("exit codes", () => {
  it("2 for what is typed wrongly, with a suggestion", async () => {
    const results = await Promise.all([
      airavata(["experiment", "stat"]),
      airavata(["experiment", "plan"]),
      loggedIn(["experiment", "list", "--limit", "0"]),
      loggedIn(["experiment", "run", "a", "--watch", "--detach"]),
    ]);
    expect(results.map((result) => result.code)).toEqual([2, 2, 2, 2]);
    expect(results[0]?.err).toContain("Did you mean");
    expect(results.every((result) => result.out === "")).toBe(true);
  });

  it("3 without a login and with a token that is not valid, and says what to do", async () => {
    const results = await Promise.all([
      airavata(["experiment", "list"]),
      airavata(["worker", "list"], { env: { AIRAVATA_TOKEN: "forged" } }),
    ]);
    expect(results.map((result) => result.code)).toEqual([3, 3]);
    for (const result of results) expect(result.err).toContain("hint: log in: airavata auth login");
  });

  it("4 for what is not there or not yours", async () => {
    const id = await created();
    const [unknown, malformed, theirs] = await Promise.all([
      loggedIn(["experiment", "status", "exp_00000000000000000000000000"]),
      loggedIn(["experiment", "watch", "nonsense"]),
      loggedIn(["experiment", "cancel", id], { env: { AIRAVATA_TOKEN: "token-of-bob" } }),
    ]);
    expect([unknown.code, malformed.code, theirs.code]).toEqual([4, 4, 4]);
  });

  it("1 when nobody answers", async () => {
    await host.stop();
    const login = await airavata(["login", "--user", "alice"], { input: PASSWORD });
    expect([login.code, login.err.includes("can't reach")]).toEqual([1, true]);
  });

  it("0 for help", async () => expect((await airavata(["--help"])).code).toBe(0));
});

describe("experiment plan", () => {
  it("needs no server and no login", async () => {
    await host.stop();
    const plan = await airavata(["experiment", "plan", file("e.yaml", EXPERIMENT_YAML), "--set", "WHO=[a, b]", "--json"]);
    expect([plan.code, JSON.parse(plan.out).tasks]).toEqual([0, 2]);
  });

  it("names line and column of every mistake: 2", async () => {
    const plan = await airavata(["experiment", "plan", file("e.yaml", EXPERIMENT_YAML.replace("task_inputs", "task_input"))]);
    expect(plan.code).toBe(2);
    expect(plan.err).toMatch(/\n {2}\d+:\d+: .*task_input/);
  });

  it("refuses files that are absent, too large or not UTF-8", async () => {
    file("large.yaml", "#".repeat(2_000_000));
    writeFileSync(join(folder, "bytes.yaml"), Buffer.from([0xff, 0xfe]));
    const results = await Promise.all(["absent", "large.yaml", "bytes.yaml"].map((name) => airavata(["experiment", "plan", name])));
    expect(results.map((result) => result.code)).toEqual([2, 2, 2]);
  });
});

describe("experiment run", () => {
  it("follows it in plain lines and ends with 0 when it completes", async () => {
    const onError = (text: string) => text.includes("RUNNING") && turnAll("COMPLETED");
    const run = await loggedIn(["experiment", "run", file("e.yaml", EXPERIMENT_YAML)], { onError });
    expect([run.code, run.err.includes("3/3 done")]).toEqual([0, true]);
    expect(run.err).toContain("airavata experiment download exp_");
    expect(run.out + run.err).not.toContain("\u001b");
  });

  it("ends with 1 when it fails, and prints one JSON document with --json", async () => {
    const running = loggedIn(["experiment", "run", file("e.yaml", EXPERIMENT_YAML), "--json"]);
    await expect.poll(() => fake.experiments.size, { timeout: 8_000 }).toBe(1);
    turnAll("FAILED");
    const { code, out, err } = await running;
    expect([code, JSON.parse(out).status, err]).toEqual([1, "FAILED", ""]);
  });

  it("submits again when the server could only create", async () => {
    const { SchedulerError } = await import("../../shared/domain/error.ts");
    fake.failSubmit = new SchedulerError("unavailable", "throttled");
    setTimeout(() => (fake.failSubmit = undefined), 600);
    const run = await loggedIn(["experiment", "run", file("e.yaml", EXPERIMENT_YAML), "--detach", "--json"]);
    expect([run.code, JSON.parse(run.out).status, fake.experiments.size]).toEqual([0, "RUNNING", 1]);
  });

  it("lets it run when it is interrupted, and says how to go on", async () => {
    const run = await loggedIn(["experiment", "run", file("e.yaml", EXPERIMENT_YAML)], {
      onError: (text, kill) => text.includes("RUNNING") && !text.includes("goes on") && kill("SIGINT"),
    });
    expect([run.code, run.err.includes("it goes on running")]).toEqual([130, true]);
    expect([...fake.experiments.values()][0]?.experiment.status).toBe("RUNNING");
  });
});

describe("looking", () => {
  it("shows lists, tasks, outputs, resources and workers; --json gives the items", async () => {
    const id = await created();
    const commands = [
      ["experiment", "list"],
      ["experiment", "status", id],
      ["experiment", "tasks", id, "--all"],
      ["experiment", "task", id, "hello/1"],
      ["experiment", "outputs", id],
      ["resource", "list"],
      ["worker", "list"],
    ];
    const results = await Promise.all(commands.map((args) => loggedIn([...args, "--json"])));
    expect(results.map((result) => result.code)).toEqual(commands.map(() => 0));
    expect(JSON.parse(results[2]?.out ?? "").items).toHaveLength(3);
    const [status, tasks] = await Promise.all([loggedIn(["experiment", "status", id]), loggedIn(["experiment", "tasks", id])]);
    expect(status.out).toContain("hello");
    expect(tasks.out).toContain("hello/2  QUEUED");
  });

  it("never passes control characters of others on to the terminal", async () => {
    fake.outputs.push(anOutput("hello/1", "a\u001b]0;owned\u0007b"));
    const { out } = await loggedIn(["experiment", "outputs", await created()]);
    expect(out).toContain("\ufffd]0;owned");
    expect(out).not.toContain("\u001b");
  });

  it("registers resources for administrators only", async () => {
    const args = ["resource", "register", "data", "--kind", "POSIX", "--root", "/data", "--open"];
    const results = await Promise.all([
      loggedIn(args),
      loggedIn(args, { env: { AIRAVATA_TOKEN: "token-of-admin" } }),
      loggedIn(["resource", "register", "data", "--kind", "POSIX"]),
    ]);
    expect(results.map((result) => result.code)).toEqual([3, 0, 2]);
  });

  it("edits, and refuses what is out of range or nothing", async () => {
    const id = await created();
    const { code, out } = await loggedIn(["experiment", "edit", id, "--priority", "7", "--weight", "3"]);
    expect([code, out.includes("priority 7, weight 3")]).toEqual([0, true]);
    expect((await loggedIn(["experiment", "edit", id, "--weight", "0"])).code).toBe(2);
    expect((await loggedIn(["experiment", "edit", id])).code).toBe(2);
  });

  it("resubmits as a new experiment", async () => {
    const id = await created();
    const { code, out } = await loggedIn(["experiment", "resubmit", id]);
    expect([code, /exp_\w+/.exec(out)?.[0] === id]).toEqual([0, false]);
  });

  it.each([
    ["pause", "PAUSED"],
    ["resume", "RUNNING"],
    ["retry", "RETRYING"],
    ["cancel", "CANCELED"],
  ])("%s", async (command, status) => {
    const { code, out } = await loggedIn(["experiment", command, await created()]);
    expect([code, out.includes(status)]).toEqual([0, true]);
  });
});

describe("experiment download", () => {
  it("fetches <set>/<number>/<path>, and only what is missing the next time", async () => {
    const id = await created();
    fake.outputs.push(anOutput("hello/1", "deep/er/b.txt", "b".repeat(100_000)));
    const first = await loggedIn(["experiment", "download", id, "--to", "got", "--json"]);
    expect([first.code, JSON.parse(first.out)]).toMatchObject([0, { fetched: 2, kept: 0 }]);
    expect(readFileSync(join(folder, "got/hello/0/out.txt"), "utf8")).toBe(OUTPUT_TEXT);
    writeFileSync(join(folder, "got/hello/0/out.txt"), "it r");
    const second = await loggedIn(["experiment", "download", id, "--to", "got", "--json"]);
    expect(JSON.parse(second.out)).toMatchObject({ fetched: 1, kept: 1 });
    expect(readFileSync(join(folder, "got/hello/0/out.txt"), "utf8")).toBe(OUTPUT_TEXT);
  });

  it.each(["../../../evil", "/evil", "a/../../../../evil", "a//b", ".", "a/", "", "a\\b", "a\0b"])("refuses the path %j", (path) => {
    expect(() => partsOf({ task: "hello/0", path })).toThrow("outside of the folder");
    expect(() => partsOf({ task: "../0", path: "a" })).toThrow("outside of the folder");
    expect(partsOf({ task: "hello/0", path: "./a/b..c" })).toEqual(["hello", "0", "a", "b..c"]);
  });

  it("writes nothing outside", async () => {
    const id = await created();
    fake.outputs.splice(0, 1, anOutput("hello/0", "../../../evil"));
    const { code } = await loggedIn(["experiment", "download", id, "--to", "deep/got"]);
    expect(code).toBe(1);
    expect(existsSync(join(folder, "evil")) || existsSync(join(folder, "deep/evil"))).toBe(false);
  });

  it("does not follow a link that lies in the way: 5", async () => {
    const id = await created();
    mkdirSync(join(folder, "elsewhere"));
    mkdirSync(join(folder, "got"));
    symlinkSync(join(folder, "elsewhere"), join(folder, "got/hello"));
    expect((await loggedIn(["experiment", "download", id, "--to", "got"])).code).toBe(5);
    expect(existsSync(join(folder, "elsewhere/0"))).toBe(false);
  });

  it("D1: gives no name to bytes that are not those of the listing", async () => {
    const id = await created();
    fake.outputs.splice(0, 1, { ...anOutput("hello/0", "out.txt"), text: "forged it\n" });
    const { code, err } = await loggedIn(["experiment", "download", id, "--to", "got"]);
    expect([code, err.includes("did not arrive as it was made")]).toEqual([1, true]);
    expect(existsSync(join(folder, "got/hello/0/out.txt"))).toBe(false);
  });
});
