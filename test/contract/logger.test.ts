import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { createPinoLogger, type LogLevel } from "#adapters/pino/logger.ts";
import type { Logger } from "#ports/logger.ts";

function logTo(level: LogLevel = "debug"): { readonly logger: Logger; readonly lines: () => Record<string, unknown>[] } {
  const written: string[] = [];
  const logger = createPinoLogger({ level, to: { write: (line: string) => written.push(line) }, facts: { process: "gateway" } });
  return { logger, lines: () => written.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe("pino logger", () => {
  it("writes one object a line, with time, level, message and facts", () => {
    const { logger, lines } = logTo();
    logger.child({ worker: "wrk_1" }).warn("lost a stream", { tasks: 3, forced: false, reason: undefined });
    expect(lines()).toEqual([
      {
        level: "warn",
        time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
        process: "gateway",
        worker: "wrk_1",
        tasks: 3,
        forced: false,
        message: "lost a stream",
      },
    ]);
  });

  it("leaves out what is below its level", () => {
    const { logger, lines } = logTo("warn");
    logger.debug("a");
    logger.info("b");
    logger.warn("c");
    logger.error("d");
    expect(lines().map((line) => line["message"])).toEqual(["c", "d"]);
  });

  it.each([
    "token",
    "joinToken",
    "password",
    "dbPassword",
    "passphrase",
    "secret",
    "clientSecret",
    "authorization",
    "Authorization",
    "set-cookie",
    "privateKey",
    "private_key",
    "apiKey",
    "accessKeyId",
    "signature",
  ])("strikes out the fact %s, also in children", (key) => {
    const { logger, lines } = logTo();
    logger.info("a", { [key]: "hunter2" });
    logger.child({ [key]: "hunter2" }).info("b");
    expect(JSON.stringify(lines())).not.toContain("hunter2");
    expect(lines()).toHaveLength(2);
  });

  it.each([
    "Authorization: Bearer hunter2hunter2",
    "GET http://x/objects/a?expires=1&method=GET&signature=hunter2",
    "https://s3/a?X-Amz-Signature=hunter2&X-Amz-Date=1",
    "postgres://user:hunter2@db/x",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----",
  ])("strikes secrets out of the text %j", (text) => {
    const { logger, lines } = logTo();
    logger.error(text, { detail: text });
    expect(JSON.stringify(lines())).not.toContain("hunter2");
  });

  it("keeps numbers and harmless names", () => {
    const { logger, lines } = logTo();
    logger.info("a", { tokensUsed: 3, resource: "res_1", key: "runs/1", url: "https://x/y?page=2" });
    expect(lines()[0]).toMatchObject({ tokensUsed: 3, resource: "res_1", key: "runs/1", url: "https://x/y?page=2" });
  });

  it("lets no fact forge a line or stand for a field of its own", () => {
    const { logger, lines } = logTo();
    logger.info('a\n{"level":"error"}', { message: "b", level: "error", time: "never" });
    expect(lines()).toHaveLength(1);
    expect(lines()[0]).toMatchObject({ level: "info", message: 'a\n{"level":"error"}', message_: "b", level_: "error", time_: "never" });
  });

  it("cuts texts without end", () => {
    const { logger, lines } = logTo();
    logger.info("a", { long: "x".repeat(100_000) });
    expect(JSON.stringify(lines()).length).toBeLessThan(10_000);
  });

  it("has every line out before a process dies of what it tells", () => {
    const script = `import { createPinoLogger } from "#adapters/pino/logger.ts";
      const logger = createPinoLogger({ level: "info", to: "stdout" });
      for (let i = 0; i < 1000; i++) logger.info("line", { i });
      process.kill(process.pid, "SIGKILL");`;
    const out = (() => {
      try {
        return execFileSync(process.execPath, ["--input-type=module-typescript", "-e", script], {
          encoding: "utf8",
          stdio: ["ignore", "pipe", "inherit"],
        });
      } catch (error) {
        return String((error as { stdout: unknown }).stdout);
      }
    })();
    expect(out.trim().split("\n")).toHaveLength(1_000);
  });
});
