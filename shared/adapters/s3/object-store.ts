/**
 * ObjectStore on one S3 bucket.
 *
 * - Put-if-absent is S3's own `If-None-Match: *`. A writer whose answer was lost may learn `exists` of its own object;
 *   keys here name their content or their writer, so that says the same.
 * - Bytes count only after their checksum (D1): a whole object is read and compared before it is sent, carries its
 *   SHA-256 for S3 to check again, and larger ones go in parts (multipart.ts).
 * - A signed PUT has size, SHA-256 and `If-None-Match: *` among its signed headers, so whoever uses it has to send
 *   `content-length`, `x-amz-checksum-sha256` (base64) and `if-none-match: *`, and S3 refuses other bytes and a second
 *   object (412). It takes at most 5 GiB, which is S3's limit of one request.
 * - A signed URL ends in whole seconds, never after the given moment. It lives no longer than the credentials that it
 *   was signed with.
 */
import { createHash } from "node:crypto";
import {
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { SchedulerError } from "#domain/error.ts";
import { type AnnouncedBytes, checkAnnounced, checkObjectKey, checkObjectList, notAnnounced } from "#domain/object-key.ts";
import type { Clock } from "#ports/clock.ts";
import type { ObjectInfo, ObjectStore } from "#ports/object-store.ts";
import type { Random } from "#ports/random.ts";
import { asSchedulerError, guarded, nameOf, statusOf } from "./client.ts";
import * as limits from "./limits.ts";
import { uploadInParts } from "./multipart.ts";

export interface S3ObjectStoreOptions {
  readonly client: S3Client;
  readonly bucket: string;
  readonly clock: Clock;
  readonly random: Random;
}

export function createS3ObjectStore(options: S3ObjectStoreOptions): ObjectStore {
  return new BucketStore(options);
}

const base64Of = (hex: string): string => Buffer.from(hex, "hex").toString("base64");
const isMissing = (error: unknown): boolean => statusOf(error) === 404 && nameOf(error) !== "NoSuchBucket";

class BucketStore implements ObjectStore {
  readonly #options: S3ObjectStoreOptions;

  constructor(options: S3ObjectStoreOptions) {
    this.#options = options;
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<"written" | "exists"> {
    checkObjectKey(key);
    return this.#putWhole(key, body.slice());
  }

  async putStream(key: string, body: AsyncIterable<Uint8Array>, expect: AnnouncedBytes): Promise<"written" | "exists"> {
    checkObjectKey(key);
    if (expect.bytes <= limits.WHOLE_BYTES_MAX) return this.#putWhole(key, await readVerified(body, expect));
    if ((await this.stat(key)) !== undefined) return "exists";
    const { client, bucket } = this.#options;
    try {
      await uploadInParts({ client, bucket, key, body, expect });
      return "written";
    } catch (error) {
      if (statusOf(error) === 412) return "exists";
      // 404: S3 no longer knows the upload. It may have been completed by a request whose answer was lost.
      if (statusOf(error) === 409 || (isMissing(error) && (await this.stat(key)) === undefined))
        throw new SchedulerError("unavailable", "the object store took another upload of the same key; try again", { cause: error });
      if (isMissing(error)) return "exists";
      throw asSchedulerError(error);
    }
  }

  async get(key: string, bytesMax: number): Promise<Uint8Array | undefined> {
    checkObjectKey(key);
    return guarded(async () => {
      const { client, bucket } = this.#options;
      // One byte more than is taken, so that an object that is too large costs no more than one that is not.
      const Range = Number.isSafeInteger(bytesMax) ? `bytes=0-${bytesMax}` : undefined;
      const found = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range })).catch(absentOrEmpty);
      if (found === undefined || found === "empty") return found === "empty" ? new Uint8Array() : undefined;
      const bytes = await found.Body?.transformToByteArray();
      if (bytes === undefined || bytes.length <= bytesMax) return bytes;
      throw new SchedulerError("too-large", `object ${key} has more bytes than the ${bytesMax} that are taken`);
    });
  }

  async getStream(key: string): Promise<AsyncIterable<Uint8Array> | undefined> {
    const info = await this.stat(key);
    return info === undefined ? undefined : this.#read(info);
  }

  async stat(key: string): Promise<ObjectInfo | undefined> {
    checkObjectKey(key);
    return guarded(async () => {
      const { client, bucket } = this.#options;
      const found = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key })).catch((error: unknown) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
      return found === undefined ? undefined : { key, bytes: found.ContentLength ?? 0 };
    });
  }

  async list(prefix: string, { limit, after = "" }: { readonly limit: number; readonly after?: string }): Promise<readonly ObjectInfo[]> {
    checkObjectList(prefix, limit);
    return guarded(async () => {
      const { client, bucket } = this.#options;
      const found: ObjectInfo[] = [];
      let last = after;
      for (;;) {
        const MaxKeys = Math.min(limits.LIST_PAGE, limit - found.length);
        const start = last === "" ? {} : { StartAfter: last };
        const page = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix, MaxKeys, ...start }));
        const objects = (page.Contents ?? []).map(({ Key = "", Size = 0 }) => ({ key: Key, bytes: Size }));
        found.push(...objects);
        last = objects.at(-1)?.key ?? "";
        if (page.IsTruncated !== true || objects.length === 0 || found.length >= limit) return found;
      }
    });
  }

  async remove(key: string): Promise<void> {
    checkObjectKey(key);
    await guarded(() => this.#options.client.send(new DeleteObjectCommand({ Bucket: this.#options.bucket, Key: key })));
  }

  async signGet(key: string, expiresAtMs: number): Promise<string> {
    checkObjectKey(key);
    const validity = this.#validity(expiresAtMs);
    return getSignedUrl(this.#options.client, new GetObjectCommand({ Bucket: this.#options.bucket, Key: key }), validity);
  }

  async signPut(key: string, expect: AnnouncedBytes, expiresAtMs: number): Promise<string> {
    checkObjectKey(key);
    checkAnnounced(expect);
    if (expect.bytes > limits.SIGNED_PUT_BYTES_MAX)
      throw new SchedulerError("too-large", `a signed put takes at most ${limits.SIGNED_PUT_BYTES_MAX} bytes: split the file`);
    const command = new PutObjectCommand({
      Bucket: this.#options.bucket,
      Key: key,
      ContentLength: expect.bytes,
      ChecksumSHA256: base64Of(expect.sha256),
      IfNoneMatch: "*",
    });
    const enforced = new Set(["content-length", "x-amz-checksum-sha256", "if-none-match", "host"]);
    return getSignedUrl(this.#options.client, command, {
      ...this.#validity(expiresAtMs),
      signableHeaders: enforced,
      unhoistableHeaders: enforced,
    });
  }

  /** A moment that has passed gives a URL that has expired. */
  #validity(expiresAtMs: number): { readonly expiresIn: number; readonly signingDate: Date } {
    const nowMs = this.#options.clock.now();
    if (!Number.isSafeInteger(expiresAtMs) || expiresAtMs < 0 || expiresAtMs - nowMs > limits.SIGNED_VALIDITY_MS_MAX)
      throw new SchedulerError("invalid-input", "a signed URL is valid for at most seven days");
    const end = Math.floor(expiresAtMs / 1_000);
    const start = Math.min(Math.floor(nowMs / 1_000), end - 1);
    return { expiresIn: end - start, signingDate: new Date(start * 1_000) };
  }

  async #putWhole(key: string, body: Uint8Array): Promise<"written" | "exists"> {
    const { client, bucket, clock, random } = this.#options;
    const ChecksumSHA256 = createHash("sha256").update(body).digest("base64");
    const put = { Bucket: bucket, Key: key, Body: body, ContentLength: body.length, ChecksumSHA256, IfNoneMatch: "*" };
    for (let tries = 0; ; tries++) {
      try {
        await client.send(new PutObjectCommand(put));
        return "written";
      } catch (error) {
        if (statusOf(error) === 412) return "exists";
        if (statusOf(error) !== 409) throw asSchedulerError(error);
        if (tries === limits.CONFLICT_RETRIES_MAX)
          throw new SchedulerError("unavailable", "the object store is busy with this key; try again", { cause: error });
      }
      await clock.sleep(random.next() * Math.min(limits.CONFLICT_CAP_MS, limits.CONFLICT_BASE_MS * 2 ** tries));
    }
  }

  /** Lazy, so that a stream nobody reads holds no connection. Objects never change: a read that breaks off goes on. */
  async *#read({ key, bytes }: ObjectInfo): AsyncGenerator<Uint8Array> {
    const { client, bucket } = this.#options;
    let at = 0;
    for (let resumes = 0; at < bytes; resumes++) {
      try {
        const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key, Range: `bytes=${at}-${bytes - 1}` }));
        for await (const chunk of Body as AsyncIterable<Uint8Array>) {
          at += chunk.length;
          yield chunk;
        }
        if (at < bytes) throw Object.assign(new Error("the answer ended early"), { code: "ECONNRESET" });
      } catch (error) {
        if (isMissing(error)) throw new SchedulerError("not-found", `object ${key} was removed`, { cause: error });
        const meant = asSchedulerError(error);
        if (resumes === limits.READ_RESUMES_MAX || !(meant instanceof SchedulerError)) throw meant;
      }
    }
  }
}

/** S3 has no range of an object without bytes and says 416. */
function absentOrEmpty(error: unknown): "empty" | undefined {
  if (isMissing(error)) return undefined;
  if (statusOf(error) === 416) return "empty";
  throw error;
}

async function readVerified(body: AsyncIterable<Uint8Array>, expect: AnnouncedBytes): Promise<Uint8Array> {
  const hash = createHash("sha256");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > expect.bytes) throw notAnnounced();
    hash.update(chunk);
    chunks.push(chunk.slice());
  }
  if (bytes !== expect.bytes || hash.digest("hex") !== expect.sha256) throw notAnnounced();
  return Buffer.concat(chunks);
}
