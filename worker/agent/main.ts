/** The worker: `node worker/agent/main.ts --gateway host:port --ca file [options]`. */
import { readFile } from "node:fs/promises";
import { availableParallelism, hostname, totalmem } from "node:os";
import { join } from "node:path";
import { connect, type Connection } from "./connection.ts";
import { createAgent } from "./agent.ts";
import { loadOrJoin, renewIfDue } from "./join.ts";
import { CERTIFICATE_CHECK_MS, CERTIFICATE_RENEW_MS } from "./limits.ts";
import { parseOptions, USAGE } from "./options.ts";
import { findPackageTools, kindsOf } from "./packages.ts";
import { createProcessExecutor } from "./process-executor.ts";
import { clearWorkDir } from "./sandbox.ts";

const MIB = 1024 ** 2;
const DRAIN_MS = 5_000;

const line =
  (level: string) =>
  (message: string, facts: Readonly<Record<string, unknown>> = {}) => {
    process.stderr.write(`${JSON.stringify({ level, time: Date.now(), part: "worker", message, ...facts })}\n`);
  };
const logger = { debug: () => undefined, info: line("info"), warn: line("warn"), error: line("error") };

/** The agent measures durations alone: a step of the wall clock must not make a gateway look silent, or a result acknowledged. */
const clock = {
  now: () => performance.now(),
  sleep: (ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      if (signal?.aborted) return resolve();
      const timer = setTimeout(done, ms);
      function done() {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      }
      signal?.addEventListener("abort", done, { once: true });
    }),
};

async function main(): Promise<void> {
  const args = process.argv.slice(2);
  if (args.includes("--help")) return void process.stdout.write(USAGE);
  const options = parseOptions(args, process.env, { cores: availableParallelism(), memoryMib: Math.floor(totalmem() / MIB) });
  const ca = await readFile(options.caFile, "utf8");
  const place = { address: options.gateway, ca, stateDir: options.stateDir, logger };
  let identity = await loadOrJoin({ ...place, tokenFile: options.tokenFile });
  const { workerId } = identity;
  const renew = async () => {
    identity = await renewIfDue(identity, place, CERTIFICATE_RENEW_MS);
  };
  setInterval(renew, CERTIFICATE_CHECK_MS).unref(); // a connection may last longer than a certificate
  logger.info("joined", { worker: workerId, gateway: options.gateway });
  // A folder by the worker's name: other agents may share --work-dir, and what is in there is not all ours.
  const workDir = join(options.workDir, workerId);
  await clearWorkDir(workDir).catch((error: unknown) =>
    logger.warn("leavings of an earlier life stay", { error: error instanceof Error ? error.message : String(error) }),
  );
  const packages = kindsOf(await findPackageTools(process.env));
  let connection: Connection | undefined;
  const agent = createAgent({
    dial: async () => {
      await renew();
      const { certificate, key } = identity;
      connection = await connect({ address: options.gateway, ca, certificate, key, logger });
      return connection;
    },
    signUploads: async (lease, files) => {
      if (connection === undefined) throw new Error("no connection to the gateway");
      return connection.signUploads(lease, [...files]);
    },
    executor: createProcessExecutor({
      workDir,
      cacheDir: options.cacheDir,
      now: Date.now,
      ca,
      onProblem: (message) => logger.warn(message),
    }),
    clock,
    random: { next: Math.random },
    logger,
    size: options.size,
    prefetchPercent: options.prefetchPercent,
    host: hostname(),
    packages,
    endsAtMs: options.endsAtMs ?? 0,
  });
  const stop = new AbortController();
  const leave = () => {
    agent.drain("the worker was asked to stop");
    void clock.sleep(DRAIN_MS).then(() => stop.abort());
  };
  process.once("SIGTERM", leave);
  process.once("SIGINT", leave);
  process.stdout.write(`${JSON.stringify({ ready: true, worker: workerId })}\n`);
  await agent.run(stop.signal);
  process.exit(0);
}

await main();
