/**
 * How long a function takes from nothing to its first answer, as a whole process: Node, its bundle, its composition, one
 * event. Beside each start runs an empty Node, so that the ratio holds on a busy machine too.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundleFunctions } from "#local/function-bundles.ts";
import { median, report } from "./report.ts";

const BENCH = "coldstart";

/** Answered without asking any server: an address that is none, an empty batch. Timers always work, so only their start is measured. */
const EVENTS: Readonly<Record<string, object>> = {
  http: {
    version: "2.0",
    rawPath: "/nothing",
    rawQueryString: "",
    headers: {},
    requestContext: { http: { method: "GET", path: "/nothing" }, requestId: "bench", domainName: "bench" },
    isBase64Encoded: false,
  },
  "schedule-tasks": { Records: [] },
};

export async function benchColdStart({ runs }: { readonly runs: number }): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "coldstart-"));
  try {
    const key = join(folder, "key");
    await writeFile(key, "a key of this benchmark");
    const bundles = await bundleFunctions(folder);
    for (const { name, path, bytes } of bundles) {
      const event = EVENTS[name];
      const invoke = event === undefined ? "" : `await m.handler(${JSON.stringify(event)});`;
      const text = `const m = await import(${JSON.stringify(path)}); ${invoke} process.exit(0);`;
      const startsMs: number[] = [];
      const emptyMs: number[] = [];
      for (let i = 0; i < runs; i++) {
        startsMs.push(await timeNode(text, settings(key)));
        emptyMs.push(await timeNode("process.exit(0)", {}));
      }
      const [start, empty] = [median(startsMs), median(emptyMs)];
      report({ bench: BENCH, name: "bytes", value: bytes, unit: "bytes", function: name });
      report({ bench: BENCH, name: "start", value: start, unit: "ms", function: name, runs, best: Math.round(Math.min(...startsMs)) });
      report({ bench: BENCH, name: "empty-node", value: empty, unit: "ms", function: name, runs, best: Math.round(Math.min(...emptyMs)) });
      report({ bench: BENCH, name: "ratio", value: start / empty, unit: "1", function: name, of: "start and empty-node" });
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const settings = (key: string): Record<string, string> => ({
  AIRAVATA_BUCKET: "bench",
  AIRAVATA_QUEUE_PREFIX: "bench-",
  AIRAVATA_SPICEDB: "127.0.0.1:9",
  AIRAVATA_SPICEDB_KEY: `file:${key}`,
  AIRAVATA_DEPLOYMENT_KEY: `file:${key}`,
  AWS_REGION: "us-east-1",
  AWS_ACCESS_KEY_ID: "bench",
  AWS_SECRET_ACCESS_KEY: "bench",
});

/** From spawn to exit. */
function timeNode(text: string, env: Readonly<Record<string, string>>): Promise<number> {
  const startMs = performance.now();
  const child = spawn(process.execPath, ["--input-type=module", "--eval", text], { env: { ...process.env, ...env }, stdio: "ignore" });
  return new Promise((done, fail) => {
    child.once("error", fail);
    child.once("exit", (code) =>
      code === 0 ? done(performance.now() - startMs) : fail(new Error(`a function's start ended with ${code}`)),
    );
  });
}
