import { execFileSync } from "node:child_process";
import { chmod, mkdir, readdir, rename, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createMemoryStorage } from "#adapters/memory/storage.ts";
import { createPosixStorage } from "#adapters/posix/storage.ts";
import type { Storage } from "#ports/storage.ts";
import { makeFolder, type TestFolder } from "../support/test-folder.ts";
import { bytesOf, describeStorage, textOf } from "./storage.contract.ts";

describeStorage("memory", async () => {
  const subject = createMemoryStorage();
  const write = async (path: string, text: string): Promise<void> => subject.place(path, Buffer.from(text));
  return { subject, dispose: async () => {}, write, delete: async (path) => subject.delete(path) };
});

describeStorage("posix", async () => {
  const { folder, [Symbol.asyncDispose]: dispose } = await makeFolder();
  const write = async (path: string, text: string): Promise<void> => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  return { subject: createPosixStorage({ root: folder }), dispose, write, delete: (path) => rm(join(folder, path)) };
});

/** Node makes no named pipes itself; POSIX names the program that does. */
const PIPE_MAKER = "mkfifo";
const makePipe = (path: string): Buffer => execFileSync(PIPE_MAKER, [path]);

describe("posix storage", () => {
  let made: TestFolder;
  let root: string;
  let storage: Storage;
  beforeEach(async () => {
    made = await makeFolder();
    root = join(made.folder, "root");
    await mkdir(root);
    await writeFile(join(made.folder, "secret"), "not yours");
    storage = createPosixStorage({ root });
  });
  afterEach(() => made[Symbol.asyncDispose]());

  it.each([
    ["a link to a file outside", "../secret"],
    ["an absolute link", "/etc/passwd"],
    ["a link to the folder above", ".."],
    ["a link to the root of the machine", "/"],
  ])("refuses %s and does not list it", async (_, target) => {
    await symlink(target, join(root, "link"));
    await expect(storage.stat("/link")).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(storage.read("/link")).rejects.toMatchObject({ kind: "invalid-input" });
    expect(await storage.list("/", 10)).toEqual([]);
  });

  it("writes nothing through a link to the outside, whatever part of the way it is", async () => {
    const outside = join(made.folder, "outside");
    await mkdir(outside);
    await symlink(outside, join(root, "link"));
    await symlink(join(outside, "new"), join(root, "file"));
    for (const path of ["/link/x", "/link/deeper/x"])
      await expect(storage.write(path, bytesOf("x"), { replace: true })).rejects.toMatchObject({ kind: "invalid-input" });
    // A link with the name of the file is replaced, never followed.
    await storage.write("/file", bytesOf("x"), { replace: true });
    expect(await textOf(await storage.read("/file"))).toBe("x");
    expect(await readdir(outside)).toEqual([]);
  });

  it("leaves nothing behind when the content breaks off", async () => {
    async function* broken() {
      yield Buffer.from("half");
      throw new Error("the connection is gone");
    }
    await expect(storage.write("/a/file", broken(), { replace: true })).rejects.toThrow("gone");
    expect(await readdir(join(root, "a"))).toEqual([]);
  });

  it("does not list what is not whole yet", async () => {
    const { promise: half, resolve: goOn } = Promise.withResolvers<void>();
    async function* slow() {
      yield Buffer.from("half");
      await half;
      yield Buffer.from("whole");
    }
    const writing = storage.write("/file", slow(), { replace: false });
    await vi.waitFor(async () => expect(await readdir(root)).toHaveLength(1));
    expect(await storage.list("/", 10)).toEqual([]);
    goOn();
    await writing;
    expect((await storage.list("/", 10)).map((e) => e.path)).toEqual(["/file"]);
  });

  it("refuses what lies behind a link to the outside", async () => {
    await symlink("..", join(root, "link"));
    await expect(storage.stat("/link/secret")).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(storage.list("/link", 10)).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(storage.read("/link/secret")).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it("refuses a folder beside the root whose name begins like it", async () => {
    await mkdir(`${root}-other`);
    await symlink("../root-other", join(root, "link"));
    await expect(storage.stat("/link")).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it("follows links that stay inside, and a root that is a link itself", async () => {
    await mkdir(join(root, "d"));
    await writeFile(join(root, "d", "file"), "inside");
    await symlink("d", join(root, "link"));
    await symlink(root, join(made.folder, "root-link"));
    const linked = createPosixStorage({ root: join(made.folder, "root-link") });
    for (const each of [storage, linked]) {
      expect(await textOf(await each.read("/link/file"))).toBe("inside");
      expect((await each.list("/", 10)).map((entry) => [entry.path, entry.kind])).toEqual([
        ["/d", "folder"],
        ["/link", "folder"],
      ]);
    }
  });

  it("refuses links in a circle and treats a broken one as nothing", async () => {
    await symlink("b", join(root, "a"));
    await symlink("a", join(root, "b"));
    await symlink("nowhere", join(root, "broken"));
    await expect(storage.stat("/a")).rejects.toMatchObject({ kind: "invalid-input" });
    expect(await storage.stat("/broken")).toBeUndefined();
    expect(await storage.list("/", 10)).toEqual([]);
  });

  it("refuses pipes at once instead of waiting for a writer, and does not list them", async () => {
    makePipe(join(root, "pipe"));
    await expect(storage.stat("/pipe")).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(storage.read("/pipe")).rejects.toMatchObject({ kind: "invalid-input" });
    expect(await storage.list("/", 10)).toEqual([]);
  });

  it("gives nothing of a file that became a link to the outside after it was found", async () => {
    await writeFile(join(root, "file"), "mine");
    const body = await storage.read("/file");
    await rm(join(root, "file"));
    await symlink("../secret", join(root, "file"));
    await expect(textOf(body)).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it("gives nothing of a file whose folder became a link to the outside after it was found", async () => {
    await mkdir(join(root, "d"));
    await writeFile(join(root, "d", "secret"), "mine");
    const body = await storage.read("/d/secret");
    await rename(join(root, "d"), join(root, "e"));
    await symlink("..", join(root, "d"));
    await expect(textOf(body)).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it("does not hang on a file that became a pipe after it was found", async () => {
    await writeFile(join(root, "file"), "mine");
    const body = await storage.read("/file");
    await rm(join(root, "file"));
    makePipe(join(root, "file"));
    await expect(textOf(body)).rejects.toMatchObject({ kind: "invalid-input" });
  });

  it("sees a change of the same size by its time, to the nanosecond", async () => {
    await writeFile(join(root, "file"), "one");
    const before = await storage.stat("/file");
    await writeFile(join(root, "file"), "two");
    await utimes(join(root, "file"), 1_700_000_000, 1_700_000_000.000001);
    const first = await storage.stat("/file");
    await utimes(join(root, "file"), 1_700_000_000, 1_700_000_000.000002);
    const second = await storage.stat("/file");
    expect(new Set([before?.stamp, first?.stamp, second?.stamp]).size).toBe(3);
  });

  it("tells a root that is not mounted from a file that is not there", async () => {
    const unmounted = createPosixStorage({ root: join(made.folder, "later") });
    await expect(unmounted.stat("/file")).rejects.toMatchObject({ kind: "unavailable" });
    await mkdir(join(made.folder, "later"));
    expect(await unmounted.stat("/file")).toBeUndefined();
  });

  it.skipIf(process.getuid?.() === 0)("says what it may not read", async () => {
    await writeFile(join(root, "file"), "x");
    await chmod(join(root, "file"), 0o000);
    await expect(storage.read("/file").then(textOf)).rejects.toMatchObject({ kind: "forbidden" });
  });
});
