/** Packages from a real index, by the Python of this machine. */
import { expect, test } from "vitest";
import { findPackageTools } from "../../worker/agent/packages.ts";
import { aMachine } from "../support/attempt.ts";

const { python } = await findPackageTools(process.env);
if (process.env.REQUIRE_REAL === "1" && python === undefined)
  throw new Error("no python3 with venv and ensurepip: install one, or leave REQUIRE_REAL unset");

test.skipIf(python === undefined)("an attempt runs with the pip packages of its experiment", async () => {
  const machine = await aMachine();
  const script = "#!/usr/bin/env python\nimport six, sys\nprint(six.__version__, sys.prefix)";
  const result = await machine.run({ script, assignment: { pip: ["six==1.17.0"] } });
  expect(result).toMatchObject({ outcome: "done", stdout: expect.stringMatching(/^1\.17\.0 .*environments.*build-/) });
  const missing = await machine.run({ script, assignment: { pip: ["six==0.0.0.0"] } });
  expect(missing).toMatchObject({ outcome: "staging", message: expect.stringContaining("six==0.0.0.0") });
  await machine.remove();
});
