/**
 * Who this worker is: a key made here, and the certificate that the gateway gave for it against a one-time token (W3).
 *
 * The state directory holds `worker.key` (0600) and `worker.json` (id, pool, certificate). Each is written whole or not
 * at all, the key before the token is spent. So a stop at any moment leaves nothing, a key, or both; a key alone is
 * joined again, and a certificate that does not fit (other key, other CA, expired) is replaced by joining again.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, X509Certificate } from "node:crypto";
import { chmod, mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { parseId, type WorkerId } from "#domain/id.ts";
import { createGatewayClient } from "#protocol/client.ts";
import type { JoinReply } from "#protocol/gen/worker.ts";
import type { Log } from "#protocol/log.ts";
import { OutcomeError } from "#protocol/outcome.ts";
import { PROTOCOL_VERSION, RELEASE_VERSION } from "#protocol/version.ts";
import { readToken } from "./options.ts";

export interface Identity {
  readonly workerId: WorkerId;
  readonly pool: string;
  /** PEM texts. */
  readonly certificate: string;
  readonly key: string;
}

export interface JoinOptions {
  /** host:port */
  readonly address: string;
  /** PEM of the deployment's CA: the gateway must show a certificate of it before it sees the token. */
  readonly ca: string;
  readonly tokenFile: string | undefined;
  readonly stateDir: string;
  readonly logger: Log;
}

/** The identity kept in the state directory, or a new one. Rejects with {@link OutcomeError}. */
export async function loadOrJoin(options: JoinOptions): Promise<Identity> {
  const { stateDir, logger } = options;
  await prepareFolder(stateDir);
  const key = await loadOrMakeKey(stateDir, logger);
  const kept = await readIfThere(join(stateDir, IDENTITY_FILE));
  if (kept !== undefined) {
    const identity = parseIdentity(kept, key, options.ca);
    if (typeof identity !== "string") return identity;
    logger.warn("the kept certificate is of no use: joining again", { reason: identity });
  }
  if (options.tokenFile === undefined) {
    throw fatal(`no usable identity in ${stateDir}: get a one-time token and name its file by --token-file`);
  }
  return joinDeployment(options, options.tokenFile, key);
}

/**
 * The identity with a new certificate for the same key, when the old one ends within `beforeMs`. One that cannot be renewed now
 * is told of and stays: there is time for the next try.
 */
export async function renewIfDue(identity: Identity, options: Omit<JoinOptions, "tokenFile">, beforeMs: number): Promise<Identity> {
  const { validTo } = new X509Certificate(identity.certificate);
  if (Date.parse(validTo) - Date.now() > beforeMs) return identity;
  const { address, ca, stateDir, logger } = options;
  const client = createGatewayClient({ address, ca, identity });
  try {
    const { certificatePem } = await client.renew();
    return await keepIdentity({ workerId: identity.workerId, pool: identity.pool, certificatePem }, identity.key, { ca, stateDir });
  } catch (error) {
    logger.warn("the certificate was not renewed", { validTo, reason: error instanceof Error ? error.message : String(error) });
    return identity;
  } finally {
    client.close();
  }
}

const KEY_FILE = "worker.key";
const IDENTITY_FILE = "worker.json";
const TEMPORARY = ".writing-";

const fatal = (reason: string, cause?: unknown) => new OutcomeError({ kind: "fatal", reason }, { cause });

async function joinDeployment(options: JoinOptions, tokenFile: string, key: string): Promise<Identity> {
  const token = await readToken(tokenFile);
  const client = createGatewayClient({ address: options.address, ca: options.ca });
  try {
    const publicKeySpki = createPublicKey(key).export({ format: "der", type: "spki" });
    const reply = await client.join({ token, publicKeySpki, protocolVersion: PROTOCOL_VERSION, agentVersion: RELEASE_VERSION });
    const identity = await keepIdentity(reply, key, options);
    options.logger.info("joined the deployment", { workerId: identity.workerId, pool: identity.pool });
    return identity;
  } finally {
    client.close();
  }
}

async function keepIdentity(
  reply: JoinReply,
  key: string,
  { ca, stateDir }: { readonly ca: string; readonly stateDir: string },
): Promise<Identity> {
  const kept = JSON.stringify({ workerId: reply.workerId, pool: reply.pool, certificate: reply.certificatePem }, null, 2);
  const identity = parseIdentity(kept, key, ca);
  if (typeof identity === "string") throw fatal(`the gateway gave a certificate of no use (${identity}): report this as a bug`);
  await writeWhole(stateDir, IDENTITY_FILE, `${kept}\n`);
  return identity;
}

/** The identity, or why it can't be used. */
function parseIdentity(text: string, key: string, ca: string): Identity | string {
  try {
    const { workerId, pool, certificate } = JSON.parse(text) as Partial<Record<"workerId" | "pool" | "certificate", unknown>>;
    const id = typeof workerId === "string" ? parseId("worker", workerId) : undefined;
    if (id === undefined || typeof pool !== "string" || typeof certificate !== "string") return "damaged file";
    const parsed = new X509Certificate(certificate);
    if (!parsed.checkPrivateKey(createPrivateKey(key))) return "made for another key";
    if (parsed.subject !== `CN=${id}`) return "made for another worker";
    if (!authorities(ca).some((authority) => parsed.verify(authority.publicKey))) return "signed by another deployment";
    if (Date.parse(parsed.validTo) <= Date.now()) return `expired on ${parsed.validTo}`;
    return { workerId: id, pool, certificate, key };
  } catch {
    return "damaged file";
  }
}

const authorities = (ca: string): readonly X509Certificate[] =>
  (ca.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).map((pem) => new X509Certificate(pem));

async function loadOrMakeKey(stateDir: string, logger: Log): Promise<string> {
  const file = join(stateDir, KEY_FILE);
  const kept = await readIfThere(file);
  if (kept !== undefined && readable(kept)) {
    const mode = (await stat(file)).mode & 0o777;
    if ((mode & 0o077) !== 0) {
      logger.warn("other users could read the worker's key: access is closed now; join again if they are not trusted", { file });
      await chmod(file, 0o600);
    }
    return kept;
  }
  if (kept !== undefined) logger.warn("the worker's key is damaged: making a new one", { file });
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const pem = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  await writeWhole(stateDir, KEY_FILE, pem);
  return pem;
}

function readable(key: string): boolean {
  try {
    createPrivateKey(key);
    return true;
  } catch {
    return false;
  }
}

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw fatal(`${file} can't be read (${(error as NodeJS.ErrnoException).code}): check --state-dir and who owns it`, error);
  }
}

/** All of the text under the name, or nothing of it; readable by this user only. */
async function writeWhole(dir: string, name: string, text: string): Promise<void> {
  const temporary = join(dir, `${TEMPORARY}${randomUUID()}`);
  try {
    const file = await open(temporary, "wx", 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, join(dir, name));
    const folder = await open(dir, "r");
    await folder.sync().finally(() => folder.close()); // the token is spent: the name must survive a crash too
  } catch (error) {
    throw fatal(
      `${join(dir, name)} can't be written (${(error as NodeJS.ErrnoException).code}): check --state-dir and its free space`,
      error,
    );
  }
}

/** The folder, without what a stop in the middle of {@link writeWhole} left. */
async function prepareFolder(dir: string): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    for (const name of await readdir(dir)) {
      if (name.startsWith(TEMPORARY)) await rm(join(dir, name), { force: true });
    }
  } catch (error) {
    throw fatal(`${dir} can't be used (${(error as NodeJS.ErrnoException).code}): name a folder of this user by --state-dir`, error);
  }
}
