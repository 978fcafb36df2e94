/** The dependency rule (biome.json, one row for each folder): every row refuses a planted violation and lets pass what it permits. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const biome = join(root, "node_modules", ".bin", "biome");

/** A folder (or file), imports it may write, and imports it may not. */
interface Row {
  readonly folder: string;
  readonly may: readonly string[];
  readonly mayNot: readonly string[];
}

const ADAPTER = ["./client.ts", "#domain/id.ts", "#ports/clock.ts", "node:fs", "node:fs/promises"];
const NOT_ADAPTER = [
  "../memory/task-store.ts",
  "#adapters/memory/task-store.ts",
  "#core/task-scheduler/index.ts",
  "#config",
  "#api/routes.ts",
];
const ENTRY = ["./x.ts", "#domain/id.ts", "#api/routes.ts", "#core/task-scheduler/index.ts", "hono"];
const NOT_ENTRY = ["#adapters/memory/task-store.ts", "#core/task-scheduler/placement.ts", "@aws-sdk/client-dynamodb", "../x.ts"];

const ROWS: readonly Row[] = [
  {
    folder: "shared/domain",
    may: ["./id.ts"],
    mayNot: ["node:fs", "zod", "#ports/clock.ts", "#core/task-scheduler/index.ts", "../ports/clock.ts"],
  },
  { folder: "shared/ports", may: ["./clock.ts", "#domain/id.ts"], mayNot: ["node:fs", "zod", "#core/task-scheduler/index.ts", "#config"] },
  {
    folder: "shared/core/task-scheduler",
    may: ["./placement.ts", "#domain/id.ts", "#ports/clock.ts", "#core/data-mover/index.ts", "node:crypto"],
    mayNot: [
      "node:fs",
      "zod",
      "#core/data-mover/cache.ts",
      "../data-mover/index.ts",
      "#adapters/system/clock.ts",
      "#config",
      "@aws-sdk/client-sqs",
    ],
  },
  { folder: "shared/adapters/file", may: ADAPTER, mayNot: [...NOT_ADAPTER, "@aws-sdk/client-dynamodb", "zod"] },
  { folder: "shared/adapters/dynamodb", may: [...ADAPTER, "@aws-sdk/client-dynamodb"], mayNot: [...NOT_ADAPTER, "@authzed/authzed-node"] },
  { folder: "shared/adapters/s3", may: [...ADAPTER, "@aws-sdk/client-s3"], mayNot: [...NOT_ADAPTER, "@aws-sdk/client-sqs"] },
  { folder: "shared/adapters/sqs", may: [...ADAPTER, "@aws-sdk/client-sqs"], mayNot: [...NOT_ADAPTER, "@aws-sdk/client-s3"] },
  { folder: "shared/adapters/spicedb", may: [...ADAPTER, "@authzed/authzed-node"], mayNot: [...NOT_ADAPTER, "@aws-sdk/client-dynamodb"] },
  { folder: "shared/adapters/pino", may: [...ADAPTER, "pino"], mayNot: [...NOT_ADAPTER, "@aws-sdk/client-dynamodb"] },
  {
    folder: "shared/api",
    may: ["./routes.ts", "#api/routes.ts", "#domain/id.ts", "zod", "yaml"],
    mayNot: ["node:fs", "#ports/clock.ts", "#core/task-scheduler/index.ts", "hono"],
  },
  {
    folder: "shared/compose",
    may: [
      "./http.ts",
      "#adapters/dynamodb/task-store.ts",
      "#core/task-scheduler/index.ts",
      "#config",
      "#ports/clock.ts",
      "#domain/id.ts",
      "node:path",
    ],
    mayNot: ["#core/task-scheduler/placement.ts", "#protocol/version.ts", "@aws-sdk/client-dynamodb", "hono"],
  },
  { folder: "functions/http", may: [...ENTRY, "#compose/http.ts"], mayNot: [...NOT_ENTRY, "#compose/schedule.ts", "#compose/gateway.ts"] },
  { folder: "functions/queue", may: [...ENTRY, "#compose/schedule.ts"], mayNot: [...NOT_ENTRY, "#compose/http.ts", "#compose/timer.ts"] },
  { folder: "functions/timer", may: [...ENTRY, "#compose/timer.ts"], mayNot: [...NOT_ENTRY, "#compose/schedule.ts"] },
  {
    folder: "worker/protocol",
    may: ["./version.ts", "#domain/id.ts", "@grpc/grpc-js", "@bufbuild/protobuf/wire"],
    mayNot: ["#ports/clock.ts", "#core/worker-lifecycle/index.ts", "../agent/agent.ts"],
  },
  {
    folder: "worker/agent",
    may: ["./executor.ts", "#protocol/channel.ts", "#domain/id.ts", "node:child_process"],
    mayNot: [
      "@aws-sdk/client-s3",
      "#adapters/file/object-store.ts",
      "#core/worker-lifecycle/index.ts",
      "#compose/gateway.ts",
      "../gateway/session.ts",
    ],
  },
  {
    folder: "worker/gateway",
    may: [
      "./session.ts",
      "#protocol/channel.ts",
      "#compose/gateway.ts",
      "#core/worker-lifecycle/index.ts",
      "@grpc/grpc-js",
      "hono",
      "node:fs",
    ],
    mayNot: [
      "#compose/http.ts",
      "#adapters/dynamodb/task-store.ts",
      "#core/worker-lifecycle/lease.ts",
      "../agent/agent.ts",
      "@aws-sdk/client-dynamodb",
    ],
  },
  {
    folder: "cli/commands",
    may: ["./task.ts", "#api/client.ts", "#domain/id.ts", "commander", "node:fs"],
    mayNot: ["#core/task-scheduler/index.ts", "#adapters/file/object-store.ts", "#ports/clock.ts", "#protocol/version.ts", "../context.ts"],
  },
  {
    folder: "local",
    may: ["./example.ts", "#adapters/dynamodb/client.ts", "#core/task-scheduler/index.ts", "#functions/http/index.ts"],
    mayNot: ["../cli/main.ts"],
  },
  { folder: "bench", may: ["./report.ts", "#adapters/dynamodb/client.ts"], mayNot: ["../cli/main.ts"] },
];

/** The one file with a row of its own: planted with all of these imports at once. */
const CONFIG: Row = { folder: "shared/config.ts", may: ["zod", "node:path"], mayNot: ["#domain/id.ts", "#core/farm/index.ts", "yaml"] };

/** Rules of another kind: a text that breaks each. */
const FAULTS: readonly (readonly [name: string, path: string, text: string, rule: string])[] = [
  ["a cycle of files", "shared/domain/egg.ts", 'import { hen } from "./hen.ts";\nexport const egg = () => hen;\n', "noImportCycles"],
  [
    "a cycle of rooms",
    "shared/core/farm/index.ts",
    'import { hen } from "#core/barn/index.ts";\nexport const egg = () => hen;\n',
    "noImportCycles",
  ],
  ["any", "shared/domain/any.ts", "export const f = (x: any): unknown => x;\n", "noExplicitAny"],
  [
    "a promise that nobody waits for",
    "cli/float.ts",
    "async function f(): Promise<void> {}\nexport function g(): void {\n  f();\n}\n",
    "noFloatingPromises",
  ],
  [
    "a function too complex",
    "cli/complex.ts",
    `export function f(a: number): number {\n${"  if (a > 1) for (;;) if (a) return a;\n".repeat(4)}  return 0;\n}\n`,
    "noExcessiveCognitiveComplexity",
  ],
];

const OTHERS: Readonly<Record<string, string>> = {
  "shared/domain/hen.ts": 'import { egg } from "./egg.ts";\nexport const hen = () => egg;\n',
  "shared/core/barn/index.ts": 'import { egg } from "#core/farm/index.ts";\nexport const hen = () => egg;\n',
  "worker/protocol/gen/any.ts": "export const f = (x:any)  => x\n",
};

const fileFor = (row: Row, kind: "may" | "mayNot", n: number): string => `${row.folder}/${kind}-${n}.ts`;
const importOf = (specifier: string, n = 0): string => `import * as x${n} from "${specifier}";\nexport const y${n} = () => x${n};\n`;

let place: string;
/** File -> the rules that it broke. */
const broken = new Map<string, string[]>();

interface Report {
  readonly diagnostics: readonly { readonly category: string; readonly location: { readonly path: string | { readonly file: string } } }[];
}

async function lint(folder: string): Promise<void> {
  const run = promisify(execFile)(biome, ["check", "--reporter=json", "--max-diagnostics=none", "--formatter-enabled=false"], {
    cwd: folder,
    maxBuffer: 64 * 1024 * 1024,
  });
  const { stdout, stderr } = await run.catch((error: { stdout: string; stderr: string }) => error);
  if (stdout === "") throw new Error(`biome gave no report: ${stderr}`);
  for (const { category, location } of (JSON.parse(stdout) as Report).diagnostics) {
    const file = typeof location.path === "string" ? location.path : location.path.file;
    broken.set(file, [...(broken.get(file) ?? []), category.split("/").at(-1) ?? ""]);
  }
}

beforeAll(async () => {
  place = await mkdtemp(join(tmpdir(), "boundaries-"));
  for (const name of ["biome.json", "package.json", "tsconfig.json"]) await cp(join(root, name), join(place, name));
  const plant = async (path: string, text: string) => {
    await mkdir(dirname(join(place, path)), { recursive: true });
    await writeFile(join(place, path), text);
  };
  for (const row of ROWS) {
    for (const [n, specifier] of row.may.entries()) await plant(fileFor(row, "may", n), importOf(specifier));
    for (const [n, specifier] of row.mayNot.entries()) await plant(fileFor(row, "mayNot", n), importOf(specifier));
  }
  for (const [, path, text] of FAULTS) await plant(path, text);
  for (const [path, text] of Object.entries(OTHERS)) await plant(path, text);
  await plant(CONFIG.folder, [...CONFIG.may, ...CONFIG.mayNot].map(importOf).join(""));
  await lint(place);
});

afterAll(async () => await rm(place, { recursive: true, force: true }));

describe.each(ROWS)("$folder", (row) => {
  test.each(row.may.map((specifier, n) => [specifier, n] as const))("may import %s", (_, n) => {
    expect(broken.get(fileFor(row, "may", n)) ?? []).toEqual([]);
  });
  test.each(row.mayNot.map((specifier, n) => [specifier, n] as const))("may not import %s", (_, n) => {
    expect(broken.get(fileFor(row, "mayNot", n)) ?? []).toContain("noRestrictedImports");
  });
});

test(`${CONFIG.folder} imports zod and Node only`, () => {
  expect(broken.get(CONFIG.folder)).toEqual(CONFIG.mayNot.map(() => "noRestrictedImports"));
});

describe("planted faults are found", () => {
  test.each(FAULTS)("%s", (_, path, __, rule) => expect(broken.get(path) ?? []).toContain(rule));
});

test("generated code is exempt", () => expect(broken.get("worker/protocol/gen/any.ts")).toBeUndefined());
