import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface TestFolder {
  readonly folder: string;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A folder of its own for a test; gone with it. */
export async function makeFolder(): Promise<TestFolder> {
  const folder = await mkdtemp(join(tmpdir(), "airavata-test-"));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
