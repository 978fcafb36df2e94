/** `airavata admin`: hands over to the program that works on a data folder of this machine; it is no part of the API. */
import { spawn } from "node:child_process";
import { join } from "node:path";

const PROGRAM = join(import.meta.dirname, "..", "local", "admin.ts");

/** Resolves with its exit code. */
export function runAdmin(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: "inherit" });
  return new Promise((resolve, reject) => child.once("error", reject).once("exit", (code) => resolve(code ?? 1)));
}
