/** Seen live with real processes: a log followed over a kill -9 of the gateway, events resumed at the one that comes after it. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readEvents, type StreamEvent } from "#api/event-stream.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const LIMIT_MS = 300_000;

let folder: string;
let env: NodeJS.ProcessEnv;
let system: ChildProcess;
let api: string;
let token: string;

interface Running {
  readonly done: Promise<{ readonly code: number | null; readonly out: string; readonly err: string }>;
  out(): string;
  stop(): void;
}

function airavata(...args: string[]): Running {
  const child = spawn(process.execPath, [join(PROJECT, "cli/main.ts"), ...args], { env, cwd: folder });
  const chunks: Buffer[] = [];
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => void chunks.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => (err += chunk.toString()));
  const out = () => Buffer.concat(chunks).toString("latin1");
  return {
    out,
    done: new Promise((done) => child.once("close", (code) => done({ code, out: out(), err }))),
    stop: () => void child.kill("SIGINT"),
  };
}

async function until(what: () => boolean | Promise<boolean>, limitMs = 60_000): Promise<void> {
  const deadline = Date.now() + limitMs;
  while (!(await what())) {
    if (Date.now() > deadline) throw new Error("not in time");
    await new Promise((done) => setTimeout(done, 50));
  }
}

/** Of the gateway below our own data folder. */
async function gatewayPid(): Promise<number> {
  for (const entry of await readdir("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    const [command, environment] = await Promise.all(
      ["cmdline", "environ"].map((f) => readFile(`/proc/${entry}/${f}`, "utf8").catch(() => "")),
    );
    if (command?.includes("local/gateway-part.ts") && environment?.includes(join(folder, "data"))) return Number(entry);
  }
  throw new Error("there is no gateway");
}

const authorized = (signal?: AbortSignal) => ({
  headers: { authorization: `Bearer ${token}` },
  ...(signal === undefined ? {} : { signal }),
});

async function start(name: string, script: string): Promise<string> {
  const file = `name: ${name}\nscripts:\n  S: |\n${script.replace(/^/gm, "    ")}\ntasks: {t: {script: S}}\nresources: {compute: {cpu: 1, ram_gb: 0.1, time: "0:05:00"}}\n`;
  await writeFile(join(folder, `${name}.yaml`), file);
  const { out } = await airavata("experiment", "run", join(folder, `${name}.yaml`), "--detach").done;
  return /exp_[0-9a-z]{26}/.exec(out)?.[0] as string;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "live-"));
  env = { ...process.env, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
  system = spawn(process.execPath, [join(PROJECT, "local/main.ts"), "--data-dir", join(folder, "data"), "--port", "0", "--slots", "4"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  system.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
  await until(() => out.includes("checked against"), LIMIT_MS);
  api = /ready: (http\S+)/.exec(out)?.[1] as string;
  const password = (await readFile(join(folder, "data", "admin-password"), "utf8")).trim();
  const headers = { "content-type": "application/json" };
  const login = await fetch(`${api}/v1/login`, { method: "POST", headers, body: JSON.stringify({ name: "admin", password }) });
  token = ((await login.json()) as { token: string }).token;
}, LIMIT_MS);

afterAll(async () => {
  const ended = new Promise((done) => system.once("exit", done));
  system.kill("SIGTERM");
  await ended;
  await rm(folder, { recursive: true, force: true });
}, 60_000);

describe("a log", () => {
  test("is followed from before its task starts to its end, over a kill -9 of the gateway, without a byte lost or twice", {
    timeout: LIMIT_MS,
  }, async () => {
    const door = join(folder, "door");
    const id = await start(
      "count",
      `for i in $(seq 1 200); do echo "line $i"; [ $i -ne 60 ] || until [ -e ${door} ]; do sleep 0.05; done; sleep 0.01; done`,
    );
    const following = airavata("experiment", "logs", id, "t/0", "--follow");
    await until(() => following.out().includes("line 60\n"));
    const before = await gatewayPid();
    process.kill(before, "SIGKILL");
    await writeFile(door, "");
    await until(async () => (await gatewayPid().catch(() => before)) !== before);
    const { code, out } = await following.done;
    expect(out).toBe(Array.from({ length: 200 }, (_, i) => `line ${i + 1}\n`).join(""));
    expect(code).toBe(0);
    expect((await airavata("experiment", "logs", id, "t/0").done).out).toBe(out);
    expect((await airavata("experiment", "logs", id, "t/0", "--tail", "9").done).out).toBe("line 200\n");
  });

  test("keeps bytes as they are, and the streams apart", { timeout: LIMIT_MS }, async () => {
    const id = await start("bytes", `printf 'a\\0b\\377\\342\\202'; sleep 1; printf '\\254 end'; echo oops >&2; exit 3`);
    const live = airavata("experiment", "logs", id, "t/0", "--follow");
    const odd = Buffer.from([...Buffer.from("a\0b"), 255, 0xe2, 0x82, 0xac, ...Buffer.from(" end")]).toString("latin1");
    expect((await live.done).out).toBe(odd);
    expect((await airavata("experiment", "logs", id, "t/0").done).out).toBe(odd);
    expect((await airavata("experiment", "logs", id, "t/0", "--stderr").done).out).toBe("oops\n");
    expect((await airavata("experiment", "logs", id, "t/7").done).code).toBe(4);
  });

  test("that is long keeps its first and last bytes and says how many are missing", { timeout: LIMIT_MS }, async () => {
    const id = await start("long", "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last");
    expect((await airavata("experiment", "watch", id).done).code).toBe(0);
    const { out, err } = await airavata("experiment", "logs", id, "t/0").done;
    expect([out.startsWith("first\nxx"), out.endsWith("xx\nlast\n")]).toEqual([true, true]);
    const missing = Number(/\[([\d,]+) bytes are left out/.exec(err)?.[1]?.replaceAll(",", ""));
    expect(out.length + missing).toBe("first\n".length + 3_000_000 + "\nlast\n".length);
  });
});

describe("events", () => {
  async function open(url: string, after: string | undefined, signal: AbortSignal): Promise<AsyncGenerator<StreamEvent | undefined>> {
    const response = await fetch(`${url}${after === undefined ? "" : `?after=${after}`}`, authorized(signal));
    return readEvents(response.body as unknown as AsyncIterable<Uint8Array>);
  }
  async function nextOf(events: AsyncGenerator<StreamEvent | undefined>): Promise<StreamEvent> {
    for (let next = await events.next(); next.done !== true; next = await events.next()) if (next.value !== undefined) return next.value;
    throw new Error("the stream has ended");
  }

  test("go on behind an id, and with a snapshot at a gateway that does not know it; watch sees the failure", {
    timeout: LIMIT_MS,
  }, async () => {
    const door = join(folder, "events-door");
    const id = await start("fails", `until [ -e ${door} ]; do sleep 0.05; done; exit 3`);
    const view = (await (await fetch(`${api}/v1/experiments/${id}`, authorized())).json()) as { links: { events: string } };
    const stop = new AbortController();
    const first = await nextOf(await open(view.links.events, undefined, stop.signal));
    expect(first).toMatchObject({ event: "snapshot", data: { view: { id, status: "RUNNING" } } });
    const watching = airavata("experiment", "watch", id, "--json");
    const before = await gatewayPid();
    process.kill(before, "SIGKILL");
    await until(async () => (await gatewayPid().catch(() => before)) !== before);
    await until(() =>
      fetch(view.links.events, { ...authorized(), method: "GET", signal: AbortSignal.timeout(500) }).then(
        (r) => r.ok,
        () => false,
      ),
    );
    const again = await open(view.links.events, first.id, stop.signal);
    const anew = await nextOf(again);
    expect(anew.event).toBe("snapshot");
    await writeFile(door, "");
    const seen: StreamEvent[] = [];
    while (!seen.some((e) => e.event === "state" && (e.data as { status: string }).status === "FAILED")) seen.push(await nextOf(again));
    expect(seen).toContainEqual(
      expect.objectContaining({ event: "task-failed", data: expect.objectContaining({ task: "t/0", cause: "exit", exitCode: 3 }) }),
    );
    const resumed = await open(view.links.events, anew.id, stop.signal);
    const replayed: StreamEvent[] = [];
    for (let i = 0; i < seen.length; i++) replayed.push(await nextOf(resumed));
    expect(replayed).toEqual(seen);
    stop.abort();
    const { code, out } = await watching.done;
    expect(code).toBe(1);
    expect(out).toContain('"task":"t/0"');
    expect(JSON.parse(out.trim().split("\n").at(-1) as string)).toMatchObject({ event: "ended", view: { status: "FAILED" } });
  });
});

test("metrics and health of the gateway are those of what happened", { timeout: LIMIT_MS }, async () => {
  const { links } = (await (await fetch(`${api}/v1/health`)).json()) as { links: { gateway: string } };
  const text = await (await fetch(`${links.gateway}/metrics`)).text();
  expect(text).toMatch(/airavata_gateway_workers 1\n/);
  expect(text).toMatch(/airavata_gateway_tasks_total\{outcome="exit"\} [1-9]/);
  expect(text).toMatch(/process_resident_memory_bytes [1-9]/);
  expect(await (await fetch(`${links.gateway}/health`)).json()).toMatchObject({ status: "ok", workers: 1 });
});
