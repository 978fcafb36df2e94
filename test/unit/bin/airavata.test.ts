/** bin/airavata.mjs in a tree of its own, where the command line tool is what each test writes. */
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
let tree: string;
const shim = (): string => join(tree, "bin", "airavata.mjs");
const writeTool = (text: string): Promise<void> => writeFile(join(tree, "cli", "main.ts"), text);

beforeEach(async () => {
  tree = await mkdtemp(join(tmpdir(), "shim-"));
  for (const folder of ["bin", "cli", "node_modules/.bin"]) await mkdir(join(tree, folder), { recursive: true });
  await writeFile(join(tree, "package.json"), '{ "type": "module" }');
  await cp(join(root, "bin", "airavata.mjs"), shim());
  await symlink(join(root, "node_modules", ".bin", "node"), join(tree, "node_modules", ".bin", "node"));
});

afterEach(async () => await rm(tree, { recursive: true, force: true }));

test("runs the tool on Node 24 with the arguments given", async () => {
  await writeTool("const text: string = JSON.stringify([process.version, ...process.argv.slice(2)]); console.log(text);");
  const { stdout } = await promisify(execFile)(process.execPath, [shim(), "task", "--all", "a b"]);
  expect(JSON.parse(stdout)).toEqual([expect.stringMatching(/^v24\./), "task", "--all", "a b"]);
});

test("ends with the exit code of the tool", async () => {
  await writeTool("process.exit(3);");
  await expect(promisify(execFile)(process.execPath, [shim()])).rejects.toMatchObject({ code: 3 });
});

test("passes a signal on and waits for what the tool makes of it", async () => {
  await writeTool('process.on("SIGTERM", () => process.exit(5)); setInterval(() => {}, 1000); console.log("ready");');
  const child = spawn(process.execPath, [shim()], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGTERM");
  expect(await once(child, "exit")).toEqual([5, null]);
});

test("reports a tool that died of a signal as shells do", async () => {
  await writeTool('process.kill(process.pid, "SIGKILL");');
  await expect(promisify(execFile)(process.execPath, [shim()])).rejects.toMatchObject({ code: 137 });
});

test("says what to do when nothing is installed", async () => {
  await rm(join(tree, "node_modules"), { recursive: true });
  await expect(promisify(execFile)(process.execPath, [shim()])).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringContaining("setup.mjs"),
  });
});
