/** docs/GUIDE.md, word for word: its files are written, its commands run one after the other against the system that it starts with. */
import { spawn } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { PROJECT, startSystem, type System } from "../support/system.ts";

const LIMIT_MS = 900_000;
const BLOCK = /^```(\w+)(?: (\S+))?\n(.*?)^```$/gms;

interface Block {
  readonly language: string;
  readonly file: string | undefined;
  readonly text: string;
  readonly line: number;
}

function blocksOf(guide: string): Block[] {
  return [...guide.matchAll(BLOCK)].map((found) => ({
    language: found[1] ?? "",
    file: found[2],
    text: found[3] ?? "",
    line: guide.slice(0, found.index).split("\n").length,
  }));
}

let folder: string;
let env: NodeJS.ProcessEnv;
let system: System;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guide-"));
  const bin = join(folder, "bin");
  await mkdir(bin);
  await writeFile(join(bin, "airavata"), `#!/bin/sh\nexec "${process.execPath}" "${join(PROJECT, "cli/main.ts")}" "$@"\n`);
  await chmod(join(bin, "airavata"), 0o755);
  env = { ...process.env, PATH: `${bin}:${process.env.PATH}`, AIRAVATA_CONTEXT: join(folder, "context.json"), NO_COLOR: "1" };
  system = await startSystem({ dataDir: join(folder, ".airavata"), env, args: ["--slots", "8"] });
  env = { ...env, AIRAVATA_SERVER: system.url };
}, LIMIT_MS);

afterAll(async () => {
  await system?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** One shell for all of them, so that a variable set in one block is known in the next. Stops at the first that fails. */
function runScript(script: string): Promise<{ readonly code: number | null; readonly out: string }> {
  return new Promise((done) => {
    const shell = spawn("bash", ["-euo", "pipefail", "-c", script], { cwd: folder, env });
    let out = "";
    for (const stream of [shell.stdout, shell.stderr]) stream.on("data", (chunk: Buffer) => (out += chunk.toString()));
    shell.once("close", (code) => done({ code, out }));
  });
}

test("every command of the guide does what it says", { timeout: LIMIT_MS }, async () => {
  const blocks = blocksOf(await readFile(join(PROJECT, "docs/GUIDE.md"), "utf8"));
  const commands = blocks.filter(({ language }) => language === "sh");
  expect(commands.length).toBeGreaterThan(10);
  for (const { file, text } of blocks) {
    if (file === undefined) continue;
    await mkdir(dirname(join(folder, file)), { recursive: true });
    await writeFile(join(folder, file), text);
  }
  const script = commands.map(({ text, line }) => `echo "== docs/GUIDE.md:${line}"\n${text}`).join("\n");
  const { code, out } = await runScript(`${script}\necho "== the end"`);
  if (code !== 0 || !out.endsWith("== the end\n")) expect.fail(`ended with ${code}:\n${out.slice(-4_000)}`);
});
