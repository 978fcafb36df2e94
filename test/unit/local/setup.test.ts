/** local/setup.mjs in a tree of its own, with an npm that only writes down that it was called. */
import { execFile } from "node:child_process";
import { chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
let tree: string;

const lockWith = (version: string): string =>
  JSON.stringify({ packages: { "": {}, "node_modules/a": { version }, "node_modules/b": { version: "1.0.0", optional: true } } });

const writeScript = async (path: string, text: string): Promise<void> => {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
};

/** Runs setup; `preload` is JavaScript that runs before it. */
function setup(options: { preload?: string; env?: Record<string, string> } = {}): Promise<{ code: number; said: string }> {
  const preload = options.preload === undefined ? [] : ["--import", `data:text/javascript,${encodeURIComponent(options.preload)}`];
  const env = { PATH: `${join(tree, "fake")}:/usr/bin:/bin`, ...options.env };
  return new Promise((resolve) => {
    execFile(process.execPath, [...preload, join(tree, "local", "setup.mjs")], { env }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), said: stdout + stderr }),
    );
  });
}

const installs = async (): Promise<number> => (await readFile(join(tree, "calls"), "utf8").catch(() => "")).split("\n").length - 1;

beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), "setup-"));
  await mkdir(join(tree, "local"));
  await cp(join(root, "local", "setup.mjs"), join(tree, "local", "setup.mjs"));
  await writeFile(join(tree, "package-lock.json"), lockWith("1.0.0"));
  const node = join(tree, "node_modules", ".bin", "node");
  await writeScript(join(tree, "fake", "npm"), `echo "$@" >> ${tree}/calls; mkdir -p $(dirname ${node}); cp ${tree}/fake/node24 ${node}`);
  await writeScript(join(tree, "fake", "node24"), "echo v24.99.0");
});

afterEach(async () => await rm(tree, { recursive: true, force: true }));

test("installs once, and again when the lock file changes", async () => {
  expect((await setup()).code).toBe(0);
  expect((await setup()).said).toBe("");
  expect(await installs()).toBe(1);
  await writeFile(join(tree, "package-lock.json"), lockWith("2.0.0"));
  expect((await setup()).code).toBe(0);
  expect(await installs()).toBe(2);
});

test("does not trust a node_modules that no finished install left", async () => {
  await mkdir(join(tree, "node_modules"));
  await writeFile(join(tree, "node_modules", ".package-lock.json"), lockWith("1.0.0"));
  await setup();
  expect(await installs()).toBe(1);
});

test("believes npm when it changed the lock file and node_modules together", async () => {
  await setup();
  await writeFile(join(tree, "package-lock.json"), lockWith("2.0.0"));
  const installed = JSON.stringify({ packages: { "node_modules/a": { version: "2.0.0" } } });
  await writeFile(join(tree, "node_modules", ".package-lock.json"), installed);
  expect((await setup()).code).toBe(0);
  expect(await installs()).toBe(1);
});

test("a failed install fails, and leaves nothing that looks like a good one", async () => {
  await writeScript(join(tree, "fake", "npm"), `echo "$@" >> ${tree}/calls; mkdir -p ${tree}/node_modules; exit 7`);
  const { code, said } = await setup();
  expect(code).toBe(1);
  expect(said).toContain("npm ci failed (exit code 7)");
  await setup();
  expect(await installs()).toBe(2);
});

test("says so when the install brought no Node 24", async () => {
  await writeScript(join(tree, "fake", "node24"), "echo v20.0.0");
  const { code, said } = await setup();
  expect(code).toBe(1);
  expect(said).toContain("is not Node 24");
});

test("on a platform without the embedded engine it says what to do, and goes on once that is done", async () => {
  const preload =
    'Object.defineProperty(process, "platform", { value: "darwin" }); Object.defineProperty(process, "arch", { value: "arm64" });';
  const { code, said } = await setup({ preload });
  expect(code).toBe(1);
  expect(said).toContain("darwin-arm64 lacks one part");
  expect(said).toContain("AIRAVATA_DYNAMODB_ENDPOINT");
  expect(await installs()).toBe(0);
  expect((await setup({ preload, env: { AIRAVATA_DYNAMODB_ENDPOINT: "http://127.0.0.1:8000" } })).code).toBe(0);
});
