/** What every Storage must do; run against the memory model and each real adapter. */
import { createHash } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Storage } from "#ports/storage.ts";

export interface StorageSubject {
  readonly subject: Storage;
  readonly dispose: () => Promise<void>;
  /** What the owner of the storage does beside us: creates or replaces a file with its folders. */
  readonly write: (path: string, text: string) => Promise<void>;
  readonly delete: (path: string) => Promise<void>;
}

export async function textOf(body: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

export async function* bytesOf(...texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

export function describeStorage(name: string, make: () => Promise<StorageSubject>): void {
  describe(`Storage: ${name}`, () => {
    let made: StorageSubject;
    beforeEach(async () => {
      made = await make();
    });
    afterEach(() => made.dispose());
    describe("files", () => fileCases(() => made));
    describe("folders", () => folderCases(() => made));
    describe("paths", () => pathCases(() => made));
    describe("writing", () => writeCases(() => made));
  });
}

function writeCases(made: () => StorageSubject): void {
  it("puts a file with the folders on the way, and says what it holds", async () => {
    const { subject } = made();
    const written = await subject.write("/a/b/file", bytesOf("hé", "llo"), { replace: false });
    expect(written).toMatchObject({ path: "/a/b/file", kind: "file", bytes: 6, sha256: sha256("héllo") });
    expect(await textOf(await subject.read("/a/b/file"))).toBe("héllo");
    expect(await subject.stat("/a/b/file")).toMatchObject({ stamp: written.stamp });
  });

  it("keeps what is there unless it may be replaced", async () => {
    const { subject, write } = made();
    await write("/file", "old");
    await expect(subject.write("/file", bytesOf("new"), { replace: false })).rejects.toMatchObject({ kind: "conflict" });
    expect(await textOf(await subject.read("/file"))).toBe("old");
    await subject.write("/file", bytesOf("new"), { replace: true });
    expect(await textOf(await subject.read("/file"))).toBe("new");
  });

  it("refuses content with another checksum than announced, and changes nothing", async () => {
    const { subject, write } = made();
    await write("/file", "old");
    const expected = { sha256: sha256("announced") };
    for (const path of ["/file", "/other"]) {
      const options = { replace: true, expect: expected };
      await expect(subject.write(path, bytesOf("else"), options)).rejects.toMatchObject({ kind: "integrity" });
    }
    expect(await textOf(await subject.read("/file"))).toBe("old");
    expect(await subject.stat("/other")).toBeUndefined();
    await subject.write("/file", bytesOf("announced"), { replace: true, expect: expected });
  });

  it("takes no folder for a file and no file for a folder", async () => {
    const { subject, write } = made();
    await write("/folder/file", "x");
    for (const path of ["/folder", "/folder/file/below", "/"])
      await expect(subject.write(path, bytesOf("new"), { replace: true })).rejects.toMatchObject({ kind: "conflict" });
    expect(await textOf(await subject.read("/folder/file"))).toBe("x");
  });
}

function fileCases(made: () => StorageSubject): void {
  it("gives what the owner wrote", async () => {
    const { subject, write } = made();
    await write("/data/in.txt", "héllo");
    expect(await subject.stat("/data/in.txt")).toMatchObject({ path: "/data/in.txt", kind: "file", bytes: 6 });
    expect(await textOf(await subject.read("/data/in.txt"))).toBe("héllo");
  });

  it("gives an empty file", async () => {
    const { subject, write } = made();
    await write("/empty", "");
    expect(await subject.stat("/empty")).toMatchObject({ kind: "file", bytes: 0 });
    expect(await textOf(await subject.read("/empty"))).toBe("");
  });

  it("gives a large file whole", async () => {
    const { subject, write } = made();
    const text = "0123456789".repeat(100_000);
    await write("/large", text);
    expect((await textOf(await subject.read("/large"))) === text).toBe(true);
  });

  it("tells nothing from something", async () => {
    const { subject, write } = made();
    await write("/file", "x");
    for (const path of ["/none", "/none/below", "/file/below"]) {
      expect(await subject.stat(path)).toBeUndefined();
      await expect(subject.read(path)).rejects.toMatchObject({ kind: "not-found" });
    }
  });

  it("keeps the stamp of a file that stays, and changes it with the content", async () => {
    const { subject, write } = made();
    const stamp = async () => (await subject.stat("/file"))?.stamp;
    await write("/file", "one");
    const first = await stamp();
    expect(await stamp()).toBe(first);
    await write("/file", "three");
    expect(await stamp()).not.toBe(first);
  });

  it("forgets what the owner deleted", async () => {
    const { subject, write, delete: remove } = made();
    await write("/file", "x");
    await remove("/file");
    expect(await subject.stat("/file")).toBeUndefined();
  });
}

function folderCases(made: () => StorageSubject): void {
  it("lists a folder by name, files and folders, at most `limit`", async () => {
    const { subject, write } = made();
    for (const path of ["/d/b", "/d/a", "/d/c/deep", "/d/a.txt", "/e"]) await write(path, path);
    const listed = await subject.list("/d", 10);
    expect(listed.map((entry) => [entry.path, entry.kind, entry.bytes])).toEqual([
      ["/d/a", "file", 4],
      ["/d/a.txt", "file", 8],
      ["/d/b", "file", 4],
      ["/d/c", "folder", 0],
    ]);
    expect((await subject.list("/d", 2)).map((entry) => entry.path)).toEqual(["/d/a", "/d/a.txt"]);
    expect((await subject.list("/", 10)).map((entry) => entry.path)).toEqual(["/d", "/e"]);
  });

  it("lists each entry as `stat` gives it", async () => {
    const { subject, write } = made();
    await write("/d/a", "x");
    expect(await subject.list("/d", 10)).toEqual([await subject.stat("/d/a")]);
  });

  it("gives more entries than it looks at in one go", async () => {
    const { subject, write } = made();
    for (let i = 0; i < 150; i++) await write(`/many/${`${i}`.padStart(3, "0")}`, "");
    expect(await subject.list("/many", 1_000)).toHaveLength(150);
    expect((await subject.list("/many", 100)).at(-1)?.path).toBe("/many/099");
  });

  it("tells files from folders", async () => {
    const { subject, write } = made();
    await write("/d/a", "x");
    expect(await subject.stat("/d")).toMatchObject({ path: "/d", kind: "folder", bytes: 0 });
    expect(await subject.stat("/")).toMatchObject({ path: "/", kind: "folder" });
    await expect(subject.read("/d")).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(subject.list("/d/a", 10)).rejects.toMatchObject({ kind: "invalid-input" });
    await expect(subject.list("/none", 10)).rejects.toMatchObject({ kind: "not-found" });
  });
}

function pathCases(made: () => StorageSubject): void {
  it.each(["", "file", "./file", "..", "/..", "/../etc/passwd", "/a/../../etc/passwd", "/a/..", "/\0", "/a\0b", `/${"x".repeat(4_096)}`])(
    "refuses the path %j",
    async (path) => {
      const { subject } = made();
      const refused = { kind: "invalid-input" };
      await expect(subject.stat(path)).rejects.toMatchObject(refused);
      await expect(subject.list(path, 10)).rejects.toMatchObject(refused);
      await expect(subject.read(path)).rejects.toMatchObject(refused);
    },
  );

  it.each([
    ["/d//a", "/d/a"],
    ["/d/./a", "/d/a"],
    ["//d/a", "/d/a"],
    ["/d/", "/d"],
  ])("knows %s as %s", async (path, name) => {
    const { subject, write } = made();
    await write("/d/a", "x");
    expect((await subject.stat(path))?.path).toBe(name);
  });

  it.each(["..a", "a..", "...", "a b", "ä", "a\nb", "-rf", "*", "%2e%2e"])("takes the name %j as it is", async (name) => {
    const { subject, write } = made();
    await write(`/${name}`, "x");
    expect((await subject.list("/", 10)).map((entry) => entry.path)).toEqual([`/${name}`]);
    expect(await textOf(await subject.read(`/${name}`))).toBe("x");
  });
}
