/** One file for each deployed function, with what it uses and nothing else. */
import { basename, dirname, join, resolve } from "node:path";
import { type BuildOptions, build, type Plugin } from "esbuild";

const PROJECT = resolve(import.meta.dirname, "..");

interface FunctionEntry {
  readonly name: string;
  /** Exports `handler`. */
  readonly file: string;
  /** Checks permissions, and so carries the client of SpiceDB. */
  readonly asksSpiceDb: boolean;
}

const FUNCTION_ENTRIES: readonly FunctionEntry[] = [
  { name: "http", file: "functions/http/entry.ts", asksSpiceDb: true },
  { name: "schedule-tasks", file: "functions/queue/schedule-tasks-entry.ts", asksSpiceDb: false },
  { name: "sweep-experiments", file: "functions/timer/sweep-experiments.ts", asksSpiceDb: false },
  { name: "reap-workers", file: "functions/timer/reap-workers.ts", asksSpiceDb: false },
];

const withoutThreads: Plugin = {
  name: "without-threads",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^thread-stream$/ }, () => ({ path: "thread-stream", namespace: "absent" }));
    const contents = "module.exports = class { constructor() { throw new Error('functions log without transports'); } };";
    onLoad({ filter: /.*/, namespace: "absent" }, () => ({ contents }));
  },
};

/**
 * - ES modules of the packages, where they have them: from these, unused parts can be left out.
 * - grpc-js loads its proto loader only for channelz and ORCA reports, which no function serves: 110 kB left out.
 * - A function's credentials come from its environment. The SDK loads the other sources (profiles, single sign-on) only when
 *   there are none: 80 kB left out.
 * - pino writes to its own process here; threads for its transports are never made: 10 kB left out.
 * - The banner gives packages in CommonJS their `require`.
 */
const BUNDLING = {
  bundle: true,
  platform: "node",
  target: "node24",
  format: "esm",
  minify: true,
  mainFields: ["module", "main"],
  external: [
    "@grpc/proto-loader",
    "@aws-sdk/credential-provider-ini",
    "@aws-sdk/credential-provider-process",
    "@aws-sdk/credential-provider-sso",
    "@aws-sdk/credential-provider-web-identity",
    "@smithy/credential-provider-imds",
  ],
  plugins: [withoutThreads],
  banner: { js: "import{createRequire as __require}from'node:module';const require=__require(import.meta.url);" },
  logLevel: "warning",
} as const satisfies BuildOptions;

export interface FunctionBundle extends FunctionEntry {
  readonly path: string;
  readonly bytes: number;
}

/** Writes `<folder>/<name>/index.mjs` of each entry. */
export async function bundleFunctions(folder: string, entries = FUNCTION_ENTRIES): Promise<readonly FunctionBundle[]> {
  return Promise.all(
    entries.map(async (entry) => {
      const path = join(folder, entry.name, "index.mjs");
      const { metafile } = await build({
        ...BUNDLING,
        absWorkingDir: PROJECT,
        entryPoints: [entry.file],
        outfile: path,
        metafile: true,
      });
      const [output] = Object.entries(metafile.outputs).filter(([file]) => basename(dirname(file)) === entry.name);
      return { ...entry, path, bytes: output?.[1].bytes ?? 0 };
    }),
  );
}
