/** Where the parts are, in a file for `airavata admin status`. Written whole at each change; a full disk costs only the news. */
import { renameSync, writeFileSync } from "node:fs";

export const PARTS_FILE = "parts.json";

export interface PartState {
  readonly name: string;
  readonly state: "waiting" | "starting" | "ready" | "pausing" | "ended";
  readonly pid: number | undefined;
  /** How often it ended by itself. */
  readonly restarts: number;
  readonly since: string;
  /** Of its last end. */
  readonly reason: string | undefined;
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

export function writePartStates(path: string, states: readonly PartState[]): void {
  const draft = `${path}.${process.pid}`;
  try {
    writeFileSync(draft, `${JSON.stringify(states, null, 2)}\n`, { mode: 0o600 });
    renameSync(draft, path);
  } catch {
    // The next change tries again; what matters is printed and in the logs.
  }
}
