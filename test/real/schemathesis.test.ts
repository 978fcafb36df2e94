/**
 * Schemathesis (PyPI) against the running system: whatever it makes of /openapi.json, as an administrator and as a plain
 * user, gets no 5xx, no undocumented status or content, and no wrong input is taken.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type RunningSystem, startSystem } from "../support/running-system.ts";

const run = promisify(execFile);

const VERSION = "4.32.5";
const SEED = 20260101;
const RUN_SECONDS = 90;
const EXAMPLES = 25;
const LIMIT_MS = 300_000;
const CHECKS = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_headers_conformance",
  "response_schema_conformance",
  "negative_data_rejection",
  "unsupported_method",
  "allow_header_conformance",
  "ignored_auth",
];
/** A query beyond the limit of the request's head is refused by 431, which the tool does not count as a refusal unless told. */
const REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "429", "431"];
const CONFIG = `[checks.negative_data_rejection]\nexpected-statuses = [${REFUSALS.map((status) => `"${status}"`).join(", ")}]\n`;

/** Outside of the repository, made once for a version; REQUIRE_REAL=1 makes a failure of that one of the test. */
async function findTool(): Promise<string | undefined> {
  const home = process.env.REAL_HOME ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "real-components");
  const venv = join(home, `schemathesis-${VERSION}`);
  const tool = join(venv, "bin", "schemathesis");
  if (existsSync(tool)) return tool;
  try {
    await run("python3", ["-m", "venv", venv]);
    await run(join(venv, "bin", "pip"), ["install", "-q", "--disable-pip-version-check", `schemathesis==${VERSION}`]);
    return tool;
  } catch (error) {
    if (process.env.REQUIRE_REAL === "1") throw error;
    console.log(`skipped: schemathesis ${VERSION} cannot be installed: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

const tool = await findTool();

/** A user without any right but those of every user. */
async function plainToken({ url, token }: RunningSystem): Promise<string> {
  const body = JSON.stringify({ name: "plain", password: "correct horse battery staple" });
  const headers = { "content-type": "application/json" };
  const made = await fetch(`${url}/v1/users`, { method: "POST", headers: { ...headers, authorization: `Bearer ${token}` }, body });
  expect(made.status).toBe(201);
  const answer = await fetch(`${url}/v1/login`, { method: "POST", headers, body });
  return ((await answer.json()) as { readonly token: string }).token;
}

/** Paths that the document names and another host serves. */
async function elsewhere(url: string): Promise<string[]> {
  const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, Record<string, { "x-host"?: string }>> };
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.values(methods).some((operation) => operation["x-host"] === "gateway") ? [path] : [],
  );
}

describe.skipIf(tool === undefined)("the API under Schemathesis", () => {
  let system: RunningSystem;
  beforeAll(async () => {
    system = await startSystem({ AIRAVATA_RATE_PER_SECOND: "100000", AIRAVATA_RATE_BURST: "100000" });
    await writeFile(join(system.folder, "schemathesis.toml"), CONFIG);
  }, LIMIT_MS);
  afterAll(async () => system[Symbol.asyncDispose](), LIMIT_MS);

  it.each([
    ["an administrator", async () => system.token],
    ["a plain user", () => plainToken(system)],
  ] as const)("holds to its contract for %s", { timeout: LIMIT_MS }, async (_, tokenOf) => {
    const authorization = `Authorization: Bearer ${await tokenOf()}`;
    const options = [
      ...["--config-file", join(system.folder, "schemathesis.toml"), "run", `${system.url}/openapi.json`],
      ...["-H", authorization, "--phases", "examples,coverage,fuzzing", "--checks", CHECKS.join(",")],
      // One thread: Python 3.11's ast fails under several ("AST constructor recursion depth mismatch", python/cpython#106905).
      ...["--seed", String(SEED), "--max-time", String(RUN_SECONDS), "-n", String(EXAMPLES), "-w", "1"],
      ...["--continue-on-failure", "--no-shrink", "--no-color"],
      // It would end the very token that all the others are asked with.
      ...["--exclude-path", "/v1/logout"],
      ...(await elsewhere(system.url)).flatMap((path) => ["--exclude-path", path]),
    ];
    const { code, text } = await run(tool as string, options, { cwd: system.folder, maxBuffer: 256 * 1024 * 1024 }).then(
      ({ stdout }) => ({ code: 0, text: stdout }),
      (error: { readonly code?: number; readonly stdout?: string }) => ({ code: error.code ?? 1, text: error.stdout ?? String(error) }),
    );
    expect(failuresOf(text)).toEqual([]);
    expect(code, text.slice(-2_000)).toBe(0);
    const me = await fetch(`${system.url}/v1/me`, { headers: { authorization: authorization.slice("Authorization: ".length) } });
    expect(me.status, "the token still works, so the answers were not all 401").toBe(200);
    expect(Number(/(\d+) generated/.exec(text)?.[1])).toBeGreaterThan(300);
  });
});

/** Operation and what was wrong with it, a line each, from the report for people. */
function failuresOf(text: string): string[] {
  const [, ...sections] = text.split(/\n_{3,} (?=[A-Z]+ \/)/);
  return sections.map((section) => {
    const name = /^\S+ \S+/.exec(section)?.[0] ?? "";
    const wrong = [...new Set([...section.matchAll(/^- (ST\d+ .*)$/gm)].map((match) => match[1]))];
    return `${name}: ${wrong.join("; ")}: ${/Reproduce with:\s+(.{0,600})/s.exec(section)?.[1] ?? section.slice(0, 600)}`;
  });
}
