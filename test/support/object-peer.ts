/** A second process on the same objects, for the contract tests: one JSON command per line, one answer each. */
import { createHash } from "node:crypto";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { openFileObjectStore } from "#adapters/file/object-store.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import type { ObjectStore } from "#ports/object-store.ts";
import { openBucket, type S3Server } from "./s3-bucket.ts";

export type ObjectAddress =
  | { readonly kind: "file"; readonly folder: string }
  | { readonly kind: "s3"; readonly server: S3Server; readonly bucket: string };

export type ObjectPeerCommand =
  /** Puts `text` under each key; answers the outcomes. */
  | { readonly op: "put"; readonly keys: readonly string[]; readonly text: string }
  /** Begins a put of a stream and answers while most of it is still to come. */
  | { readonly op: "begin"; readonly key: string; readonly bytes: number };

const CHUNK_BYTES = 1_024;

async function open(address: ObjectAddress): Promise<ObjectStore> {
  if (address.kind === "s3") return openBucket(address.server, address.bucket).store;
  const { folder } = address;
  return openFileObjectStore({ folder, baseUrl: "http://localhost", signingKey: new Uint8Array(32), clock: createSystemClock() });
}

async function* slowly(body: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < body.length; at += CHUNK_BYTES) {
    yield body.subarray(at, at + CHUNK_BYTES);
    await sleep(10);
  }
}

if (import.meta.main) {
  const store = await open(JSON.parse(process.argv[2] ?? "") as ObjectAddress);
  process.stdout.write(`${JSON.stringify("ready")}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    const command = JSON.parse(line) as ObjectPeerCommand;
    if (command.op === "put") {
      const outcomes = await Promise.all(command.keys.map((key) => store.putIfAbsent(key, Buffer.from(command.text))));
      process.stdout.write(`${JSON.stringify(outcomes)}\n`);
    } else {
      const body = new Uint8Array(command.bytes).fill(7);
      void store.putStream(command.key, slowly(body), { bytes: body.length, sha256: createHash("sha256").update(body).digest("hex") });
      await sleep(100);
      process.stdout.write(`${JSON.stringify("begun")}\n`);
    }
  }
}
