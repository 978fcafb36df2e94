/** A fresh bucket on some S3, and the object store on it. */
import { randomBytes } from "node:crypto";
import { CreateBucketCommand, DeleteBucketCommand, ListMultipartUploadsCommand, type S3Client } from "@aws-sdk/client-s3";
import { createS3Client } from "#adapters/s3/client.ts";
import { createS3ObjectStore } from "#adapters/s3/object-store.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import { createSystemRandom } from "#adapters/system/random.ts";
import type { ObjectStore } from "#ports/object-store.ts";

/** Where an S3 is, and the secret of its key `test`: what emulators compare signatures with. */
export interface S3Server {
  readonly endpoint: string;
  readonly secret: string;
}

export interface Bucket extends AsyncDisposable {
  readonly client: S3Client;
  readonly bucket: string;
  readonly store: ObjectStore;
  /** Uploads in parts that were neither completed nor given up. */
  openUploads(): Promise<number>;
}

export function openBucket({ endpoint, secret }: S3Server, bucket: string): Pick<Bucket, "client" | "store"> {
  const client = createS3Client({ endpoint, region: "us-east-1", credentials: { accessKeyId: "test", secretAccessKey: secret } });
  return { client, store: createS3ObjectStore({ client, bucket, clock: createSystemClock(), random: createSystemRandom() }) };
}

export async function makeBucket(server: S3Server): Promise<Bucket> {
  const bucket = `objects-${randomBytes(6).toString("hex")}`;
  const { client, store } = openBucket(server, bucket);
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  const dispose = async (): Promise<void> => {
    for (const { key } of await store.list("", { limit: 10_000 })) await store.remove(key);
    // versitygw leaves folders of keys that it refused.
    await client.send(new DeleteBucketCommand({ Bucket: bucket })).catch((error: Error) => {
      if (error.name !== "BucketNotEmpty") throw error;
    });
    client.destroy();
  };
  const openUploads = async (): Promise<number> =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0;
  return { client, bucket, store, openUploads, [Symbol.asyncDispose]: dispose };
}
