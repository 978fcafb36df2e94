/** Files of attempts: fetched once, trusted only after their checksum is, and given out only from inside the directory. */
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { aFileServer, aMachine, contentOf, type FileServer, inlineFile, type Machine, processesWith, sha256 } from "../support/attempt.ts";

let machine: Machine;
let server: FileServer;
beforeEach(async () => {
  machine = await aMachine();
  server = await aFileServer();
});
afterEach(async () => {
  await server.close();
  await machine.remove();
});

const cached = async (): Promise<string[]> =>
  (await readdir(join(machine.dir, "cache"), { recursive: true })).filter((name) => /[0-9a-f]{64}/.test(name));
const single = (name: string, file: ReturnType<FileServer["serve"]>) => ({
  name,
  many: false,
  files: [file],
  listingUrl: "",
  listingSha256: "",
});

describe("an input", () => {
  test("is fetched once for many attempts at once, and again never", async () => {
    const file = server.serve("data.bin", "x".repeat(300_000));
    const script = 'test "$(wc -c <"$IN")" = 300000 && echo changed >>"$IN"';
    const attempts = Array.from({ length: 12 }, () => machine.run({ script, task: { inputs: [single("IN", file)] } }));
    const results = await Promise.all(attempts);
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(12).fill("done"));
    expect(results.reduce((sum, { usage }) => sum + usage.bytesIn, 0)).toBe(300_000);
    const later = await machine.run({ script, task: { inputs: [single("IN", file)] } });
    expect(later).toMatchObject({ outcome: "done", inputs: [{ name: "IN", sha256: file.sha256, bytes: 300_000 }] });
    expect(server.gets).toEqual(["/data.bin"]);
  }, 30_000);

  test("is fetched once by two agents of one machine", async () => {
    const file = server.serve("shared.bin", "y".repeat(1000));
    const neighbour = await aMachine({ cacheDir: join(machine.dir, "cache") });
    const run = (on: Machine) => on.run({ script: "true", task: { inputs: [single("IN", file)] } });
    const results = await Promise.all([run(machine), run(neighbour), run(machine), run(neighbour)]);
    expect(results.map(({ outcome }) => outcome)).toEqual(Array(4).fill("done"));
    expect(server.gets).toHaveLength(1);
    await neighbour.remove();
  });

  test("with a wrong checksum is refused and not kept", async () => {
    const file = { ...server.serve("bad.bin", "tampered"), sha256: sha256("original") };
    const result = await machine.run({ script: "echo ran", task: { inputs: [single("IN", file)] } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("checksum mismatch") });
    expect(result.stdout).toBeUndefined();
    expect(await cached()).toEqual([]);
  });

  test("whose cached bytes were damaged is fetched again", async () => {
    const file = server.serve("rot.bin", "good bytes");
    await machine.run({ script: "true", task: { inputs: [single("IN", file)] } });
    await writeFile(join(machine.dir, "cache", file.sha256.slice(0, 2), file.sha256), "evil bytes");
    const later = await aMachine({ cacheDir: join(machine.dir, "cache") });
    const result = await later.run({ script: 'cat "$IN"', task: { inputs: [single("IN", file)] } });
    expect(result.stdout).toBe("good bytes");
    expect(server.gets).toHaveLength(2);
    await later.remove();
  });

  test("larger than announced is cut off", async () => {
    const file = server.serve("big.bin", "z".repeat(100_000));
    server.answer("/big.bin", (_, response) => void response.end("z".repeat(100_001)));
    const result = await machine.run({ script: "true", task: { inputs: [single("IN", file)] } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("instead of 100000") });
  });

  test("is tried again when the server has a bad moment", async () => {
    const file = server.serve("later.bin", "content");
    let failures = 0;
    server.answer("/later.bin", (request, response) => {
      if (++failures === 1) response.writeHead(503).end();
      else if (failures === 2) request.socket.destroy();
      else response.end("content");
    });
    const result = await machine.run({ script: 'cat "$IN"', task: { inputs: [single("IN", file)] } });
    expect(result.stdout).toBe("content");
  });

  test.each([
    [302, "redirects are not followed"],
    [403, "answered 403"],
  ])("answered by %i is given up with a reason that holds no signature", async (status, reason) => {
    const file = { ...server.serve("moved.bin", "content"), url: `${server.origin}/moved.bin?signature=secret` };
    server.answer(
      "/moved.bin?signature=secret",
      (_, response) => void response.writeHead(status, { location: `${server.origin}/x` }).end(),
    );
    const result = await machine.run({ script: "true", task: { inputs: [single("IN", file)] } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining(reason) });
    expect(result.message).not.toContain("secret");
    expect(server.gets).toHaveLength(1);
  });

  test("can travel with the assignment, and be a program", async () => {
    const asset = inlineFile("bin/tool", "#!/bin/sh\necho tool: $1");
    const result = await machine.run({ script: "bin/tool x", assignment: { assets: [asset] } });
    expect(result).toMatchObject({ stdout: "tool: x\n", inputs: [{ name: "bin/tool", sha256: asset.sha256 }] });
  });

  test.each(["../x", "/tmp/x", "a/../../x"])("has no place outside: %s", async (path) => {
    const result = await machine.run({ script: "true", assignment: { assets: [{ ...inlineFile("x", "x"), path }] } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining(JSON.stringify(path)) });
  });

  test("stops being fetched when nobody wants it any more", async () => {
    const file = server.serve("slow.bin", "content");
    const asked = new Promise<void>((resolve) => server.answer("/slow.bin", () => resolve()));
    const abort = new AbortController();
    const running = machine.runAny({ script: "true", task: { inputs: [single("IN", file)] } }, abort.signal);
    await asked;
    abort.abort();
    await running;
    expect(await machine.leftovers()).toEqual([]);
    expect(await cached()).toEqual([]);
  });

  test("leaves the cache, oldest first, when it is too large", async () => {
    const small = await aMachine({ cacheBytesMax: 2500, cacheDir: join(machine.dir, "cache") });
    for (let i = 0; i < 4; i++) {
      const file = server.serve(`part-${i}`, `${i}`.repeat(1000));
      expect((await small.run({ script: "true", task: { inputs: [single("IN", file)] } })).outcome).toBe("done");
    }
    const left = (await cached()).map((name) => name.slice(-64));
    expect(left).toContain(sha256("3".repeat(1000)));
    expect(left.length).toBeLessThanOrEqual(2);
    await small.remove();
  });
});

describe("an input of many files", () => {
  const many = (files: ReturnType<FileServer["serve"]>[]) => ({ name: "ALL", many: true, files, listingUrl: "", listingSha256: "" });

  test("is a quoted list, a file of paths and a folder", async () => {
    const files = ["000000", "000001 it's"].map((path) => inlineFile(path, path));
    const script = 'eval "set -- $ALL"; cat "$2"; echo; ls "$ALL_DIR"; while read -r path; do cat "$path"; done <"$ALL_LIST"';
    const result = await machine.run({ script, task: { inputs: [many(files)] } });
    expect(result.stdout).toBe("000001 it's\n000000\n000001 it's\n000000000001 it's");
  });

  test("above 64 KiB of list has an empty variable, and comes by a listing", async () => {
    const files = Array.from({ length: 2000 }, (_, i) => ({
      ...inlineFile(String(i).padStart(6, "0"), `${i}\n`),
      inline: Buffer.from(`${i}\n`).toString("base64"),
    }));
    const listing = server.serve("listing.json", JSON.stringify(files));
    const input = { ...many([]), listingUrl: listing.url, listingSha256: listing.sha256 };
    const script = 'test -z "$ALL" && xargs cat <"$ALL_LIST" | tail -n 1; wc -l <"$ALL_LIST"; ls "$ALL_DIR" | wc -l; ls "$TMPDIR"';
    const result = await machine.run({ script, task: { inputs: [input] } });
    expect((result.stdout ?? "").split(/\s+/)).toEqual(["1999", "2000", "2000", "script", ""]);
    expect(result.inputs).toHaveLength(1);
  }, 30_000);

  test("whose listing is no list is refused", async () => {
    const listing = server.serve("listing.json", '{"path": "x"}');
    const result = await machine.run({
      script: "true",
      task: { inputs: [{ ...many([]), listingUrl: listing.url, listingSha256: listing.sha256 }] },
    });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("ALL") });
  });
});

describe("files of a task's own", () => {
  test("lie under their names without variables, and so do outputs", async () => {
    const script = 'cat a "sub/b c" > out/made; env | grep -c -e made -e "b c" -e sub || true';
    const files = [inlineFile("a", "1"), server.serve("own.bin", "2")].map((file, i) => ({ ...file, path: ["a", "sub/b c"][i] ?? "" }));
    const result = await machine.run({ script, task: { files, outputFiles: ["out/made"] } });
    expect(result).toMatchObject({
      outcome: "done",
      stdout: "0\n",
      inputs: [{ name: "a" }, { name: "sub/b c" }],
      outputs: [{ name: "out/made", path: "out/made", inline: Buffer.from("12").toString("base64") }],
    });
  });

  test("come by a listing when they are many, and are recorded as one", async () => {
    const files = Array.from({ length: 300 }, (_, i) => inlineFile(`f${i}`, `${i}`));
    const listing = server.serve(
      "own.json",
      JSON.stringify(files.map((f) => ({ ...f, inline: Buffer.from(f.inline).toString("base64") }))),
    );
    const task = { filesListingUrl: listing.url, filesListingSha256: listing.sha256 };
    const result = await machine.run({ script: "ls | wc -l; cat f299", task });
    expect(result).toMatchObject({ outcome: "done", stdout: "300\n299", inputs: [{ name: "files" }] });
  });

  test.each(["../x", "/tmp/x", ".airavata/script"])("have no place outside: %s", async (path) => {
    const result = await machine.run({ script: "true", task: { files: [{ ...inlineFile("x", "1"), path }] } });
    expect(result.outcome).toBe("staging");
    expect((await machine.run({ script: "true", task: { outputFiles: [path] } })).outcome).toBe("staging");
  });
});

describe("an output", () => {
  const outputs = [{ name: "OUT", path: "out" }];

  test.each([
    ["a link out of the directory", "ln -s /etc/passwd out", "leads out"],
    ["a link in its path", "rm -rf d; ln -s /etc d; ln -s d/passwd out", "leads out"],
    ["a directory", "mkdir out", "is a directory"],
    ["a pipe", "mkfifo out", "not a regular file"],
  ])("that is %s is refused", async (_, script, reason) => {
    const result = await machine.run({ script, task: { outputs } });
    expect(result).toMatchObject({ outcome: "staging", outputs: [], message: expect.stringContaining(reason) });
  });

  test("may be a link inside the directory", async () => {
    const result = await machine.run({ script: "echo x >real; ln -s real out", task: { outputs } });
    expect(contentOf(result, "OUT")).toBe("x\n");
  });

  test.each(["../out", "/tmp/out", ""])("has no place outside: %j", async (path) => {
    const result = await machine.run({ script: "echo ran", task: { outputs: [{ name: "OUT", path }] } });
    expect(result).toMatchObject({ outcome: "staging", message: expect.stringContaining("OUT") });
    expect(result.stdout).toBeUndefined();
  });

  test("that is large is uploaded under its digest", async () => {
    const signed: unknown[] = [];
    const signUploads = async (files: readonly { sha256: string; bytes: number }[]) => {
      signed.push(...files);
      return files.map(({ sha256: digest }) => `${server.origin}/c/${digest}`);
    };
    const script = "head -c 700000 /dev/zero | tr '\\0' a >out; cp out copy; echo small >s";
    const all = [...outputs, { name: "COPY", path: "copy" }, { name: "S", path: "s" }];
    const result = await machine.run({ script, task: { outputs: all }, signUploads });
    const digest = sha256("a".repeat(700_000));
    expect(result.message).toBeUndefined();
    expect(result.outputs[0]).toEqual({ name: "OUT", path: "out", sha256: digest, bytes: 700_000 });
    expect(contentOf(result, "S")).toBe("small\n");
    expect(signed).toEqual([{ sha256: digest, bytes: 700_000 }]);
    expect(server.puts).toHaveLength(1);
    const checksum = Buffer.from(digest, "hex").toString("base64");
    const headers = { "content-length": "700000", "x-amz-checksum-sha256": checksum, "if-none-match": "*" };
    expect(server.puts[0]).toMatchObject({ path: `/c/${digest}`, headers });
    expect(sha256(server.puts[0]?.body ?? "")).toBe(digest);
    expect(result.usage.bytesOut).toBe(1_400_006);
  });

  test.each([
    [409, "staging"],
    [412, "done"],
    [403, "staging"],
  ])("answered by %i is %s", async (status, outcome) => {
    server.answer("/put", (request, response) => {
      request.resume();
      response.writeHead(status).end();
    });
    const script = "head -c 3000000 /dev/zero >out";
    const result = await machine.run({ script, task: { outputs }, signUploads: async () => [`${server.origin}/put`] });
    expect(result.outcome).toBe(outcome);
  });

  test("is uploaded again after a broken connection", async () => {
    let tries = 0;
    server.answer("/put", (request, response) => {
      if (++tries < 3) request.socket.destroy();
      else request.resume().on("end", () => response.end());
    });
    const result = await machine.run({
      script: "head -c 300000 /dev/zero >out",
      task: { outputs },
      signUploads: async () => [`${server.origin}/put`],
    });
    expect(result).toMatchObject({ outcome: "done" });
    expect(tries).toBe(3);
  });

  test("beyond what one result may hold is uploaded though it is small", async () => {
    const names = Array.from({ length: 20 }, (_, i) => ({ name: `O${i}`, path: `o${i}` }));
    const script = "for i in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19; do { echo $i; head -c 60000 /dev/zero; } >o$i; done";
    const signUploads = async (files: readonly { sha256: string }[]) => files.map(({ sha256: digest }) => `${server.origin}/c/${digest}`);
    const result = await machine.run({ script, task: { outputs: names }, signUploads });
    expect(result.outputs.filter(({ inline }) => inline !== undefined)).toHaveLength(17);
    expect(server.puts).toHaveLength(3);
  });
});

test("nothing of these tests runs on", async () => expect(await processesWith(machine.dir)).toEqual([]));
test("the cache holds files by their digest", async () => {
  const file = server.serve("a", "content");
  await machine.run({ script: "true", task: { inputs: [single("IN", file)] } });
  expect(await readFile(join(machine.dir, "cache", file.sha256.slice(0, 2), file.sha256), "utf8")).toBe("content");
});
