/** A part to be supervised. What it does is said by its options; what happened to it it appends to the file `events`. */
import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { announceReady, exitWithParent } from "../../local/child.ts";

const { values } = parseArgs({
  options: {
    name: { type: "string", default: "part" },
    events: { type: "string" },
    /** Ends with this exit code, after `ready`. */
    exit: { type: "string" },
    "exit-after-ms": { type: "string", default: "0" },
    "never-ready": { type: "boolean", default: false },
    "ignore-term": { type: "boolean", default: false },
    complaint: { type: "string" },
    port: { type: "string" },
    /** Leaves a process behind that watches nothing. */
    stray: { type: "boolean", default: false },
  },
});

const event = (text: string) => values.events !== undefined && appendFileSync(values.events, `${values.name} ${text}\n`);

exitWithParent();
process.on("SIGTERM", () => {
  event("asked to stop");
  if (values["ignore-term"]) return;
  setTimeout(() => {
    event("stopped");
    process.exit(0);
  }, 20);
});
event(`started ${process.pid}`);
if (values.stray) event(`stray ${spawn("sleep", ["600"], { stdio: "ignore" }).pid}`);
if (values.complaint !== undefined) process.stderr.write(`${values.complaint}\n`);
if (!values["never-ready"]) announceReady({ port: Number(values.port ?? process.pid) });
if (values.exit !== undefined) setTimeout(() => process.exit(Number(values.exit)), Number(values["exit-after-ms"]));
setInterval(() => {}, 60_000);
