/**
 * An object in parts: nobody sees it before the last request, which makes it only where there is none (If-None-Match)
 * and only after size and SHA-256 of all bytes were found right here (D1). Whatever fails, the parts are removed; what a
 * killed process leaves is for the bucket's lifecycle rule.
 */
import { createHash } from "node:crypto";
import {
  AbortMultipartUploadCommand,
  type CompletedPart,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  type S3Client,
  UploadPartCommand,
} from "@aws-sdk/client-s3";
import { type AnnouncedBytes, notAnnounced } from "#domain/object-key.ts";
import { PARTS_AT_ONCE, PARTS_MAX, WHOLE_BYTES_MAX } from "./limits.ts";

interface Upload {
  readonly client: S3Client;
  readonly bucket: string;
  readonly key: string;
  readonly body: AsyncIterable<Uint8Array>;
  readonly expect: AnnouncedBytes;
}

/** Throws `integrity` when the bytes are others; S3's 412 when the object exists meanwhile. */
export async function uploadInParts({ client, bucket, key, body, expect }: Upload): Promise<void> {
  const target = { Bucket: bucket, Key: key };
  const { UploadId } = await client.send(new CreateMultipartUploadCommand({ ...target, ChecksumAlgorithm: "SHA256" }));
  const upload = { ...target, UploadId };
  try {
    const Parts = await sendParts(body, expect, async (part, number) => {
      const ChecksumSHA256 = createHash("sha256").update(part).digest("base64");
      const sent = { ...upload, PartNumber: number, Body: part, ContentLength: part.length, ChecksumSHA256 };
      const { ETag } = await client.send(new UploadPartCommand(sent));
      return { PartNumber: number, ETag, ChecksumSHA256 };
    });
    await client.send(new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts }, IfNoneMatch: "*" }));
  } catch (error) {
    await client.send(new AbortMultipartUploadCommand(upload)).catch(() => undefined); // the lifecycle rule gets it then
    throw error;
  }
}

async function sendParts(
  body: AsyncIterable<Uint8Array>,
  expect: AnnouncedBytes,
  send: (part: Uint8Array, number: number) => Promise<CompletedPart>,
): Promise<CompletedPart[]> {
  const partBytes = Math.max(WHOLE_BYTES_MAX, Math.ceil(expect.bytes / PARTS_MAX));
  const hash = createHash("sha256");
  const sent: Promise<CompletedPart>[] = [];
  let bytes = 0;
  try {
    for await (const part of inPieces(body, partBytes)) {
      bytes += part.length;
      if (bytes > expect.bytes) throw notAnnounced();
      hash.update(part);
      const sending = send(part, sent.length + 1);
      sending.catch(() => undefined); // thrown by the waits below
      sent.push(sending);
      await sent.at(-PARTS_AT_ONCE);
    }
    if (bytes !== expect.bytes || hash.digest("hex") !== expect.sha256) throw notAnnounced();
    return await Promise.all(sent);
  } finally {
    await Promise.allSettled(sent); // an abort must not be overtaken by a part
  }
}

/** Pieces of exactly `bytes`, the last one of what is left. */
async function* inPieces(body: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let held = 0;
  for await (const chunk of body) {
    let rest = chunk;
    while (held + rest.length >= bytes) {
      const cut = bytes - held;
      yield Buffer.concat([...chunks, rest.subarray(0, cut)]);
      chunks = [];
      held = 0;
      rest = rest.subarray(cut);
    }
    if (rest.length > 0) {
      chunks.push(rest.slice());
      held += rest.length;
    }
  }
  if (held > 0) yield Buffer.concat(chunks);
}
