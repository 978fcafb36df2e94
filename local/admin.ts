/** `airavata admin`: what the operator of an installation does on its machine, beside the running system or without it. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { EXIT, MEANINGS } from "#cli/exit-code.ts";
import { SchedulerError } from "#domain/error.ts";
import { makeBackup } from "./backup.ts";
import { whoHolds } from "./data-folder.ts";
import { PARTS_FILE, type PartState } from "./part-states.ts";
import { restoreBackup, verifyBackup } from "./restore.ts";

const USAGE = `airavata admin <command> [options]        on the machine of the installation

  status            the parts of the running system: state, process, restarts and why
  backup <file>     everything in one tar file, while the system runs or stands still;
                    it holds the installation's keys: keep it as secret as the folder
  verify <file>     read a backup and check every checksum and database; writes nothing that stays
  restore <file>    verify, and put it into the folder, which must be new or empty; then: npm start

  --data-dir D      the data folder (.airavata)
  --json            answer in JSON
  --help

Exit codes: 0 done, 1 failed, 2 usage, 4 no such file or folder, 5 refused (in use, not empty, of a newer release).
`;

interface Call {
  readonly dataDir: string;
  readonly file: string;
}

interface Answer {
  readonly json: object;
  readonly text: string;
  readonly failed?: boolean;
}

const MIB = 1024 * 1024;
const sizeOf = ({ files, bytes }: { files: number; bytes: number }) => `${files} files, ${(bytes / MIB).toFixed(1)} MiB`;

const COMMANDS: Readonly<Record<string, { readonly takesFile: boolean; readonly run: (call: Call) => Promise<Answer> }>> = {
  status: { takesFile: false, run: async ({ dataDir }) => status(dataDir) },
  backup: {
    takesFile: true,
    async run({ dataDir, file }) {
      const made = await makeBackup(dataDir, file);
      return {
        json: made,
        text: `backed up ${dataDir} to ${made.file}: ${sizeOf(made)}. It holds the installation's keys: keep it secret.`,
      };
    },
  },
  verify: {
    takesFile: true,
    async run({ file }) {
      const seen = await verifyBackup(file);
      return { json: seen, text: `${seen.file} is sound: ${sizeOf(seen)}, made ${seen.about.madeAt} by release ${seen.about.release}` };
    },
  },
  restore: {
    takesFile: true,
    async run({ dataDir, file }) {
      const seen = await restoreBackup(file, dataDir);
      return {
        json: seen,
        text: `restored ${dataDir} as it was ${seen.about.madeAt}: ${sizeOf(seen)}. Start it with: npm start -- --data-dir ${dataDir}`,
      };
    },
  },
};

function status(dataDir: string): Answer {
  const holder = whoHolds(dataDir);
  if (holder === undefined) return { json: { running: false }, text: `${dataDir} is not in use: start it with npm start`, failed: true };
  let parts: readonly PartState[] = [];
  try {
    parts = JSON.parse(readFileSync(join(dataDir, "run", PARTS_FILE), "utf8")) as PartState[];
  } catch {
    return { json: { running: true, holder }, text: `${dataDir} is in use by ${holder}, which has not told of its parts yet` };
  }
  const lines = parts.map(({ name, state, pid, restarts, reason }) => {
    const why = reason === undefined ? "" : `  last end: ${reason}`;
    return `  ${name.padEnd(14)} ${state.padEnd(10)} ${String(pid ?? "-").padStart(7)}  restarts ${restarts}${why}`;
  });
  const failed = parts.some((p) => p.state !== "ready");
  return { json: { running: true, holder, parts }, text: [`${dataDir}: ${holder}`, ...lines].join("\n"), failed };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        "data-dir": { type: "string", default: ".airavata" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (cause) {
    throw new SchedulerError("invalid-input", `${cause instanceof Error ? cause.message : cause} (airavata admin --help)`, { cause });
  }
}

async function main(): Promise<number> {
  const { values, positionals } = parse(process.argv.slice(2));
  const [name = "", file = "", ...more] = positionals;
  if (values.help || name === "") {
    process.stdout.write(USAGE);
    return name === "" && !values.help ? EXIT.usage : EXIT.done;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new SchedulerError("invalid-input", `there is no command admin ${name} (airavata admin --help)`);
  if (command.takesFile !== (file !== "") || more.length > 0)
    throw new SchedulerError("invalid-input", `admin ${name} takes ${command.takesFile ? "one file" : "no file"} (airavata admin --help)`);
  const answer = await command.run({ dataDir: resolve(values["data-dir"]), file });
  process.stdout.write(`${values.json ? JSON.stringify(answer.json, null, 2) : answer.text}\n`);
  return answer.failed === true ? EXIT.failed : EXIT.done;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = error instanceof SchedulerError ? MEANINGS[error.kind].exit : EXIT.failed;
}
