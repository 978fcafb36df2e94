/** Package environments, made by tools of the test: what they are asked for, when, and what attempts get of it. */
import { chmod, mkdir, readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { buildCommands, createPackageEnvironments, findPackageTools, kindsOf } from "../../worker/agent/packages.ts";
import { StagingError } from "../../worker/agent/fault.ts";
import { UNUSED_ENVIRONMENT_MS } from "../../worker/agent/limits.ts";
import { aMachine, type Machine } from "../support/attempt.ts";

const never = new AbortController().signal;
const DAY_MS = 24 * 3_600_000;
let machine: Machine;
let tools: string;
let environment: Record<string, string>;

beforeEach(async () => {
  machine = await aMachine();
  tools = join(machine.dir, "tools");
  await mkdir(tools);
  environment = { PATH: `${tools}:/usr/bin:/bin`, AIRAVATA_TOKEN_FILE: "secret" };
});
afterEach(() => machine.remove());

async function program(name: string, script: string): Promise<void> {
  await writeFile(join(tools, name), `#!/bin/sh\n${script}`);
  await chmod(join(tools, name), 0o755);
}
/** Notes what it is asked for; makes a program `hello` in the environment. */
const uv = () =>
  program(
    "uv",
    `echo "$@" >>"${machine.dir}/asked"; env >"${machine.dir}/env"; [ "$1" = venv ] && mkdir -p "$2/bin" && printf '#!/bin/sh\\necho hi' >"$2/bin/hello" && chmod +x "$2/bin/hello"; true`,
  );
const asked = async () => (await readFile(join(machine.dir, "asked"), "utf8")).trim().split("\n");
const environments = (now = Date.now) => createPackageEnvironments({ dir: join(machine.dir, "cache"), environment, now });
const NUMPY = { conda: [], pip: ["numpy==2.1"] };

describe("package environments", () => {
  test("a list is built once for all that want it, in this process and the next", async () => {
    await uv();
    const first = environments();
    const [a, b] = await Promise.all([first.ready(NUMPY, never), first.ready(NUMPY, never)]);
    const c = await environments().ready(NUMPY, never);
    expect(a).toEqual(b);
    expect(c).toEqual(a);
    expect(a.PATH).toBe(`${a.VIRTUAL_ENV}/bin:${environment.PATH}`);
    expect(await asked()).toEqual([`venv ${a.VIRTUAL_ENV}`, `pip install --python ${a.VIRTUAL_ENV}/bin/python -- numpy==2.1`]);
  });

  test("another list is another environment, and no list is none", async () => {
    await uv();
    const made = environments();
    const a = await made.ready(NUMPY, never);
    expect((await made.ready({ conda: [], pip: ["numpy==2.2"] }, never)).VIRTUAL_ENV).not.toBe(a.VIRTUAL_ENV);
    expect(await made.ready({ conda: [], pip: [] }, never)).toEqual({});
  });

  test("two agents that build the same one at once end with the same", async () => {
    await uv();
    const [a, b] = await Promise.all([environments().ready(NUMPY, never), environments().ready(NUMPY, never)]);
    expect(a).toEqual(b);
    const [home] = await readdir(join(machine.dir, "cache", "environments"));
    expect((await readdir(join(machine.dir, "cache", "environments", home ?? ""))).filter((n) => n.startsWith("build-")).length).toBe(1);
  });

  test("a tool that fails fails the staging with its last words, and leaves nothing", async () => {
    await program("uv", 'mkdir -p "$2"; echo "no such package numpy" >&2; exit 7');
    const making = environments().ready(NUMPY, never);
    await expect(making).rejects.toThrow(StagingError);
    await expect(making).rejects.toThrow(/ended with 7; it said last: no such package numpy/);
    const [home] = await readdir(join(machine.dir, "cache", "environments"));
    expect(await readdir(join(machine.dir, "cache", "environments", home ?? ""))).toEqual([]);
  });

  test("an attempt that is no longer wanted does not wait for the build, which goes on", async () => {
    await program("uv", 'sleep 0.3; mkdir -p "$2/bin"');
    const stop = new AbortController();
    const made = environments();
    const waiting = made.ready(NUMPY, stop.signal);
    stop.abort();
    await expect(waiting).rejects.toThrow("no longer wanted");
    expect(await made.ready(NUMPY, never)).toHaveProperty("VIRTUAL_ENV");
  });

  test("tools never see what is ours", async () => {
    await uv();
    await environments().ready(NUMPY, never);
    expect(await readFile(join(machine.dir, "env"), "utf8")).not.toContain("AIRAVATA_");
  });

  test("what nobody used for long, and builds that were killed, are swept", async () => {
    await uv();
    const root = join(machine.dir, "cache", "environments");
    await environments().ready({ conda: [], pip: ["old"] }, never);
    const [old = ""] = await readdir(root);
    const left = join(root, old, "build-left");
    await mkdir(left);
    const before = new Date(Date.now() - 2 * DAY_MS);
    await utimes(left, before, before);
    await environments().ready(NUMPY, never);
    expect(await readdir(join(root, old))).not.toContain("build-left");
    await environments(() => Date.now() + UNUSED_ENVIRONMENT_MS + DAY_MS).ready(NUMPY, never);
    expect(await readdir(root)).not.toContain(old);
  });
});

describe("tools", () => {
  test("conda makes an environment with pip in it when both are asked for", () => {
    const commands = buildCommands({ conda: ["gromacs=2024"], pip: ["x"] }, { conda: "/micromamba", uv: "/uv" }, "/p");
    expect(commands).toEqual([
      ["/micromamba", "create", "--yes", "--prefix", "/p", "--override-channels", "--channel", "conda-forge", "gromacs=2024", "pip"],
      ["/p/bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--", "x"],
    ]);
    expect(() => buildCommands({ conda: ["x"], pip: [] }, { uv: "/uv" }, "/p")).toThrow("no micromamba, mamba or conda");
    expect(() => buildCommands(NUMPY, {}, "/p")).toThrow("neither uv nor a Python");
  });

  test("are looked for on the path, and a Python counts only when it can make environments", async () => {
    await program("python3", "exit 1");
    expect(kindsOf(await findPackageTools({ PATH: tools }))).toEqual([]);
    await program("python3", "exit 0");
    expect(kindsOf(await findPackageTools({ PATH: tools }))).toEqual(["pip"]);
    await program("micromamba", "exit 0");
    expect(kindsOf(await findPackageTools({ PATH: tools }))).toEqual(["conda", "pip"]);
  });
});

test("an attempt fails in staging where no tool is there", async () => {
  const own = await aMachine({ environment: { PATH: tools } });
  const result = await own.run({ script: "true", assignment: { conda: ["numpy"] } });
  expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("no micromamba, mamba or conda") });
  await own.remove();
});

test("an attempt finds the programs of its environment", async () => {
  await uv();
  const own = await aMachine({ environment });
  const result = await own.run({ script: "hello; echo $VIRTUAL_ENV", assignment: { pip: ["hello"] } });
  expect(result).toMatchObject({ outcome: "done", stdout: expect.stringMatching(/^hi\n\/.*build-/) });
  await own.remove();
});
