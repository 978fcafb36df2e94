/** Settings of a process of the deployment: environment > default > error. Parsed once, frozen; secrets are file paths. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

const schema = z.object({
  /** Folder of the embedded default's objects, queue, keys. */
  AIRAVATA_DATA_DIR: z.string().min(1),
  AIRAVATA_DYNAMODB_ENDPOINT: z.url().optional(),
  AIRAVATA_TABLE: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{3,255}$/)
    .default("airavata"),
  /** Where signed object URLs are served. */
  AIRAVATA_OBJECTS_URL: z.url(),
  /** host:port of SpiceDB. */
  AIRAVATA_SPICEDB: z.string().min(3),
  /** Origins of browsers' pages that may use the API, separated by commas; `*` for all. */
  AIRAVATA_CORS_ORIGINS: z
    .string()
    .default("")
    .transform((text) =>
      text
        .split(",")
        .map((origin) => origin.trim())
        .filter((origin) => origin !== ""),
    ),
  /** Requests a second that each account may send, and how many at once after a pause. */
  AIRAVATA_RATE_PER_SECOND: z.coerce.number().min(1).default(100),
  AIRAVATA_RATE_BURST: z.coerce.number().int().min(1).default(1_000),
  AIRAVATA_LOG: z.enum(["debug", "info", "warn", "error"]).default("info"),
});

export interface Config {
  readonly dataDir: string;
  readonly dynamodbEndpoint: string | undefined;
  readonly table: string;
  readonly objectsUrl: string;
  readonly spicedb: string;
  readonly corsOrigins: readonly string[];
  readonly rate: { readonly perSecond: number; readonly burst: number };
  readonly logLevel: "debug" | "info" | "warn" | "error";
}

export function readConfig(environment: Readonly<Record<string, string | undefined>>): Config {
  const parsed = schema.safeParse(environment);
  if (!parsed.success) {
    const what = parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; ");
    throw new Error(`the settings of this process are not right (environment variables): ${what}`);
  }
  const e = parsed.data;
  return Object.freeze({
    dataDir: e.AIRAVATA_DATA_DIR,
    dynamodbEndpoint: e.AIRAVATA_DYNAMODB_ENDPOINT,
    table: e.AIRAVATA_TABLE,
    objectsUrl: e.AIRAVATA_OBJECTS_URL,
    spicedb: e.AIRAVATA_SPICEDB,
    corsOrigins: e.AIRAVATA_CORS_ORIGINS,
    rate: { perSecond: e.AIRAVATA_RATE_PER_SECOND, burst: e.AIRAVATA_RATE_BURST },
    logLevel: e.AIRAVATA_LOG,
  });
}

/** Where the embedded default keeps what, below its data folder. */
export const dataPaths = (config: Config) => ({
  objects: join(config.dataDir, "objects"),
  queue: join(config.dataDir, "queue.db"),
  deploymentKey: join(config.dataDir, "deployment.key"),
  spicedbKey: join(config.dataDir, "spicedb.key"),
});

export const readSecret = async (file: string): Promise<string> => (await readFile(file, "utf8")).trim();

/** A key for one purpose, derived from the deployment's key file. */
export async function deploymentKey(config: Config, purpose: string): Promise<Uint8Array> {
  return createHash("sha256")
    .update(`${purpose}\0${await readSecret(dataPaths(config).deploymentKey)}`)
    .digest();
}
