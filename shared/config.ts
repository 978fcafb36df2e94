/**
 * Settings of a process of the deployment: environment > default > error. Parsed once, frozen; a secret is named by its
 * place, never given. docs/OPERATIONS.md lists them for people.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";

const list = (text: string): string[] =>
  text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");

const secretPlace = z
  .string()
  .regex(/^(file|secret):./, "write file:PATH, or secret:NAME for AWS Secrets Manager")
  .optional();

const everywhere = {
  /** Default: AWS's own, or what AWS_ENDPOINT_URL_DYNAMODB names. */
  AIRAVATA_DYNAMODB_ENDPOINT: z.url().optional(),
  AIRAVATA_TABLE: z
    .string()
    .regex(/^[A-Za-z0-9_.-]{3,255}$/)
    .default("airavata"),
  /** Addresses of queues that need not be asked for: `schedule=https://…,…`. */
  AIRAVATA_QUEUE_URLS: z
    .string()
    .default("")
    .transform((text, context) =>
      Object.fromEntries(
        list(text).map((entry) => {
          const [, name = "", url = ""] = /^([a-z0-9-]+)=(https?:\/\/.+)$/.exec(entry) ?? [];
          if (name === "") context.addIssue(`${JSON.stringify(entry)} is not NAME=URL`);
          return [name, url];
        }),
      ),
    ),
  /** host:port of SpiceDB. */
  AIRAVATA_SPICEDB: z.string().min(3).optional(),
  /** `off` sends its key unprotected: loopback and private networks only. */
  AIRAVATA_SPICEDB_TLS: z.enum(["on", "off"]).optional(),
  AIRAVATA_SPICEDB_KEY: secretPlace,
  /** What keys of single purposes are derived from: tokens, signed URLs. */
  AIRAVATA_DEPLOYMENT_KEY: secretPlace,
  /** Origins of browsers' pages that may use the API, separated by commas; `*` for all. */
  AIRAVATA_CORS_ORIGINS: z.string().default("").transform(list),
  /** Requests a second that each account may send, and how many at once after a pause. */
  AIRAVATA_RATE_PER_SECOND: z.coerce.number().min(1).default(100),
  AIRAVATA_RATE_BURST: z.coerce.number().int().min(1).default(1_000),
  /** Whether everybody may make an account; else administrators make them. */
  AIRAVATA_REGISTRATION: z.enum(["open", "closed"]).default("closed"),
  /** OpenID Connect issuer whose access tokens are taken, for this audience; a client of it for the command line. */
  AIRAVATA_OIDC_ISSUER: z
    .url({ protocol: /^https?$/ })
    .refine(
      (url) => url.startsWith("https:") || /^http:\/\/(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:|\/|$)/.test(url),
      "must be https, except on this machine",
    )
    .optional(),
  AIRAVATA_OIDC_AUDIENCE: z.string().min(1).default("airavata"),
  AIRAVATA_OIDC_CLIENT_ID: z.string().min(1).default("airavata-cli"),
  AIRAVATA_OIDC_SCOPE: z.string().min(1).default("openid profile email offline_access"),
  /** Whether users of the issuer who are new here get an account. */
  AIRAVATA_OIDC_ACCOUNTS: z.enum(["made", "known"]).default("made"),
  AIRAVATA_LOG: z.enum(["debug", "info", "warn", "error"]).default("info"),
};

const MIB = 1024 * 1024;
const bucket = z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, "a bucket's name is 3 to 63 of a-z 0-9 . -");
const queuePrefix = z.string().regex(/^[A-Za-z0-9_-]{0,15}$/, "a prefix of queues is at most 15 of A-Z a-z 0-9 _ -");

const functionSchema = z.object({ ...everywhere, AIRAVATA_BUCKET: bucket, AIRAVATA_QUEUE_PREFIX: queuePrefix });

const machineSchema = z.object({
  ...everywhere,
  /** Folder of what this machine keeps: keys, and objects and messages unless S3 and SQS have them. */
  AIRAVATA_DATA_DIR: z.string().min(1),
  /** Where signed object URLs are served; of no use with a bucket. */
  AIRAVATA_OBJECTS_URL: z.url(),
  /** Given: objects are in this S3 bucket. */
  AIRAVATA_BUCKET: bucket.optional(),
  /** Given: messages go by SQS, in queues whose names begin so. */
  AIRAVATA_QUEUE_PREFIX: queuePrefix.optional(),
  /** Free space of the folder's disk below which no new work is handed out. */
  AIRAVATA_DISK_RESERVE_MIB: z.coerce.number().int().min(1).max(1_048_576).default(256),
});

/** Where a secret is: a file, or a name that AWS's extension for functions resolves. */
type SecretPlace = { readonly kind: "file"; readonly path: string } | { readonly kind: "secret"; readonly name: string };

export interface QueueSettings {
  readonly prefix: string;
  readonly urls: Readonly<Record<string, string>>;
}

export interface Config {
  readonly dynamodbEndpoint: string | undefined;
  readonly table: string;
  readonly spicedb: string | undefined;
  readonly spicedbTls: boolean;
  readonly spicedbKey: SecretPlace | undefined;
  readonly deploymentKey: SecretPlace | undefined;
  readonly corsOrigins: readonly string[];
  readonly rate: { readonly perSecond: number; readonly burst: number };
  readonly registration: "open" | "closed";
  readonly issuer:
    | {
        readonly issuer: string;
        readonly audience: string;
        readonly clientId: string;
        readonly scope: string;
        readonly makesAccounts: boolean;
      }
    | undefined;
  readonly logLevel: "debug" | "info" | "warn" | "error";
}

/** Of a function in a cloud account. */
export interface FunctionConfig extends Config {
  readonly bucket: string;
  readonly queues: QueueSettings;
}

/** Of a process with a folder of its own. */
export interface MachineConfig extends Config {
  readonly dataDir: string;
  readonly objectsUrl: string;
  /** `undefined`: a folder holds the objects. */
  readonly bucket: string | undefined;
  /** `undefined`: a file holds the messages. */
  readonly queues: QueueSettings | undefined;
  readonly diskReserveBytes: number;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Throws with every setting that is missing or wrong, by its name. */
function parse<T>(schema: z.ZodType<T>, environment: Environment): T {
  // An empty variable is none: that is how shells and templates leave one out.
  const given = Object.fromEntries(Object.entries(environment).filter(([, value]) => value !== ""));
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const what = parsed.error.issues.map((i) => `${i.path.join(".")}: ${i.message}`).join("; ");
  throw new Error(`the settings of this process are not right (environment variables): ${what}`);
}

const placeOf = (text: string | undefined): SecretPlace | undefined => {
  if (text === undefined) return undefined;
  const rest = text.slice(text.indexOf(":") + 1);
  return text.startsWith("file:") ? { kind: "file", path: rest } : { kind: "secret", name: rest };
};

const LOOPBACK = /^(127\.0\.0\.1|localhost|\[::1\]):/;

function commonOf(e: z.infer<z.ZodObject<typeof everywhere>>): Config {
  return {
    dynamodbEndpoint: e.AIRAVATA_DYNAMODB_ENDPOINT,
    table: e.AIRAVATA_TABLE,
    spicedb: e.AIRAVATA_SPICEDB,
    spicedbTls: e.AIRAVATA_SPICEDB_TLS === undefined ? !LOOPBACK.test(e.AIRAVATA_SPICEDB ?? "") : e.AIRAVATA_SPICEDB_TLS === "on",
    spicedbKey: placeOf(e.AIRAVATA_SPICEDB_KEY),
    deploymentKey: placeOf(e.AIRAVATA_DEPLOYMENT_KEY),
    corsOrigins: e.AIRAVATA_CORS_ORIGINS,
    rate: { perSecond: e.AIRAVATA_RATE_PER_SECOND, burst: e.AIRAVATA_RATE_BURST },
    registration: e.AIRAVATA_REGISTRATION,
    issuer:
      e.AIRAVATA_OIDC_ISSUER === undefined
        ? undefined
        : {
            issuer: e.AIRAVATA_OIDC_ISSUER,
            audience: e.AIRAVATA_OIDC_AUDIENCE,
            clientId: e.AIRAVATA_OIDC_CLIENT_ID,
            scope: e.AIRAVATA_OIDC_SCOPE,
            makesAccounts: e.AIRAVATA_OIDC_ACCOUNTS === "made",
          },
    logLevel: e.AIRAVATA_LOG,
  };
}

export function readFunctionConfig(environment: Environment): FunctionConfig {
  const e = parse(functionSchema, environment);
  return Object.freeze({
    ...commonOf(e),
    bucket: e.AIRAVATA_BUCKET,
    queues: { prefix: e.AIRAVATA_QUEUE_PREFIX, urls: e.AIRAVATA_QUEUE_URLS },
  });
}

export function readConfig(environment: Environment): MachineConfig {
  const e = parse(machineSchema, environment);
  const common = commonOf(e);
  const inFolder = (name: string): SecretPlace => ({ kind: "file", path: join(e.AIRAVATA_DATA_DIR, name) });
  return Object.freeze({
    ...common,
    spicedbKey: common.spicedbKey ?? inFolder("spicedb.key"),
    deploymentKey: common.deploymentKey ?? inFolder("deployment.key"),
    dataDir: e.AIRAVATA_DATA_DIR,
    objectsUrl: e.AIRAVATA_OBJECTS_URL,
    bucket: e.AIRAVATA_BUCKET,
    queues: e.AIRAVATA_QUEUE_PREFIX === undefined ? undefined : { prefix: e.AIRAVATA_QUEUE_PREFIX, urls: e.AIRAVATA_QUEUE_URLS },
    diskReserveBytes: e.AIRAVATA_DISK_RESERVE_MIB * MIB,
  });
}

/** For the supervisor, which needs no other setting. */
export const diskReserveBytes = (environment: Environment): number =>
  parse(machineSchema.pick({ AIRAVATA_DISK_RESERVE_MIB: true }), environment).AIRAVATA_DISK_RESERVE_MIB * MIB;

/** Where the embedded default keeps what, below its data folder. */
export const dataPaths = (config: MachineConfig) => ({
  objects: join(config.dataDir, "objects"),
  queue: join(config.dataDir, "queue.db"),
});

const SECRET_LIMIT_MS = 5_000;

/**
 * The text of a secret. `secret:NAME` asks the AWS Parameters and Secrets Lambda Extension beside the function
 * (docs.aws.amazon.com/secretsmanager/latest/userguide/retrieving-secrets_lambda.html), which keeps it in memory and
 * spares the bundle another client.
 */
async function readSecret(place: SecretPlace, environment: Environment): Promise<string> {
  if (place.kind === "file") return (await readFile(place.path, "utf8")).trim();
  const port = environment.PARAMETERS_SECRETS_EXTENSION_HTTP_PORT ?? "2773";
  const url = `http://localhost:${port}/secretsmanager/get?secretId=${encodeURIComponent(place.name)}`;
  const headers = { "x-aws-parameters-secrets-token": environment.AWS_SESSION_TOKEN ?? "" };
  const answer = await fetch(url, { headers, signal: AbortSignal.timeout(SECRET_LIMIT_MS) });
  if (!answer.ok) throw new Error(`the secret ${place.name} cannot be read: the extension for secrets answers ${answer.status}`);
  const { SecretString: text } = (await answer.json()) as { readonly SecretString?: unknown };
  if (typeof text !== "string" || text === "") throw new Error(`the secret ${place.name} holds no text`);
  return text.trim();
}

const missing = (name: string): Error => new Error(`the settings of this process are not right (environment variables): ${name}: missing`);

export interface SpiceDbSettings {
  readonly endpoint: string;
  readonly presharedKey: string;
  readonly transport: "tls" | "plaintext";
}

/** Throws when SpiceDB's address or key is not set. */
export async function spiceDbSettings(config: Config, environment: Environment = process.env): Promise<SpiceDbSettings> {
  if (config.spicedb === undefined) throw missing("AIRAVATA_SPICEDB");
  if (config.spicedbKey === undefined) throw missing("AIRAVATA_SPICEDB_KEY");
  const presharedKey = await readSecret(config.spicedbKey, environment);
  return { endpoint: config.spicedb, presharedKey, transport: config.spicedbTls ? "tls" : "plaintext" };
}

/** A key for one purpose, derived from the deployment's own. */
export async function deploymentKey(config: Config, purpose: string, environment: Environment = process.env): Promise<Uint8Array> {
  if (config.deploymentKey === undefined) throw missing("AIRAVATA_DEPLOYMENT_KEY");
  return createHash("sha256")
    .update(`${purpose}\0${await readSecret(config.deploymentKey, environment)}`)
    .digest();
}
