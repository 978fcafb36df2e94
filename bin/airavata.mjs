#!/usr/bin/env node
/** Starts the command line tool on the Node 24 of this checkout, whichever Node (20 or later) runs this file. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const node = join(root, "node_modules", ".bin", "node");
if (!existsSync(node)) {
  process.stderr.write(`airavata: the dependencies are not installed. Run once: node ${join(root, "local", "setup.mjs")}\n`);
  process.exit(1);
}

const child = spawn(node, [join(root, "cli", "main.ts"), ...process.argv.slice(2)], { stdio: "inherit" });
// A terminal sends its signals to the whole group, others only to this process: pass them on and wait for the child's own end.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("error", (error) => {
  process.stderr.write(`airavata: can't start ${node}: ${error.message}\n`);
  process.exit(1);
});
child.on("exit", (code, signal) => process.exit(signal === null ? code : 128 + constants.signals[signal]));
