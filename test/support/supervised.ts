/** A supervisor as a process of its own, to be killed: one part of ours and one program that knows nothing of us. */
import { fileURLToPath } from "node:url";
import { guardedCommand } from "../../local/child.ts";
import { openDataFolder } from "../../local/data-folder.ts";
import { createSupervisor, superviseUntilSignal } from "../../local/supervisor.ts";

const [path = "", events = ""] = process.argv.slice(2);
const folder = openDataFolder(path);
const part = fileURLToPath(new URL("./part.ts", import.meta.url));
const supervisor = createSupervisor({
  logFolder: folder.logs,
  print: (line) => console.log(line),
  parts: [
    { name: "ours", command: () => ({ command: process.execPath, args: [part, "--name", "ours", "--events", events] }) },
    {
      name: "foreign",
      after: ["ours"],
      command: () => guardedCommand("/bin/sh", ["-c", `echo "foreign started $$" >> "$0"; echo up; exec sleep 600`, events]),
      parseReady: (line) => (line === "up" ? {} : undefined),
    },
  ],
});
process.exitCode = await superviseUntilSignal(supervisor, () => console.log("all ready"));
folder.release();
