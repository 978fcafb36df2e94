/** The formats that a data folder has had, each with the step to the next. Docs: docs/OPERATIONS.md. */
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Migration } from "./migration.ts";

/** What lies where. Version 2: files that only a running system needs are in `run`, databases can be read by their owner only. */
export const DATA_FORMAT_VERSION = 2;

const PRIVATE_FILES = ["state.db", "relationships.db", "queue.db", "admin-password", "deployment.key", "spicedb.key"];

export const MIGRATIONS: readonly Migration[] = [
  {
    from: 1,
    what: "worker tokens leave the folder for run/, databases are closed to other users",
    rewrites: [],
    run(folder) {
      mkdirSync(join(folder, "run"), { recursive: true, mode: 0o700 });
      // One-time tokens of the last run: the gateway writes new ones at every start.
      for (const name of readdirSync(folder)) if (/^worker-\d+\.token$/.test(name)) rmSync(join(folder, name), { force: true });
      for (const name of PRIVATE_FILES) if (existsSync(join(folder, name))) chmodSync(join(folder, name), 0o600);
    },
  },
];
