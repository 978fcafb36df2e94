/** Tests of components that this machine may lack: run, skipped with the reason printed, or failed under REQUIRE_REAL=1. */
import { test } from "vitest";

/** `lacking`: what is missing and how to get it; `undefined` when nothing is. */
export function realTest(name: string, lacking: string | undefined, limitMs: number, work: () => Promise<void>): void {
  if (lacking === undefined) test(name, { timeout: limitMs }, work);
  else if (process.env.REQUIRE_REAL === "1") {
    test(name, () => {
      throw new Error(`${lacking}, and REQUIRE_REAL=1`);
    });
  } else {
    console.log(`skipped: ${name}: ${lacking}`);
    test.skip(name, () => {});
  }
}
