/** Public WfCommons instances, where this machine has them: beside the repository, or in the folder WFINSTANCES. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = process.env.WFINSTANCES ?? resolve(import.meta.dirname, "../../../shared/data/wfinstances");

/** Path of an instance; `undefined`, with the reason printed, where it is not here. REQUIRE_REAL=1 makes that a failure. */
export function instancePath(name: string): string | undefined {
  const path = join(folder, name);
  if (existsSync(path)) return path;
  if (process.env.REQUIRE_REAL === "1") throw new Error(`the workflow instance ${path} is missing`);
  process.stderr.write(`left out: ${path} is not here (WFINSTANCES names another folder)\n`);
  return undefined;
}
