/** dynoxide (the DynamoDB API on SQLite) as the embedded default runs it, on a free port and a database of its own. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findDynoxide, startDynoxide as start } from "../../../local/dynoxide.ts";

const STARTS_MAX = 5;

export interface Emulator extends AsyncDisposable {
  readonly endpoint: string;
}

/** False where npm has no package of it for this platform: what needs it is then skipped, with the reason printed. */
export const hasDynoxide = isInstalled();

function isInstalled(): boolean {
  try {
    findDynoxide();
    return true;
  } catch (error) {
    console.log(`skipped on dynoxide: ${error instanceof Error ? error.message : String(error)}`);
    return false;
  }
}

/** Tries again when somebody else took the port that was free. */
export async function startDynoxide(): Promise<Emulator> {
  const folder = await mkdtemp(join(tmpdir(), "dynoxide-"));
  for (let attempt = 1; ; attempt++) {
    try {
      const dynoxide = await start({ dbPath: join(folder, "state.db") });
      const dispose = async (): Promise<void> => {
        await dynoxide.stop();
        await rm(folder, { recursive: true, force: true });
      };
      return { endpoint: dynoxide.endpoint, [Symbol.asyncDispose]: dispose };
    } catch (error) {
      if (attempt === STARTS_MAX) throw error;
    }
  }
}
