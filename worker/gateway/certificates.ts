/**
 * Certificates of a deployment: its own CA signs gateways (server use only) and workers (client use only).
 *
 * Everything is ECDSA P-256, which TLS takes everywhere; a worker may bring an Ed25519 key as well.
 * On disk are `authority.pem` (key and certificate in one file, so that there is no half of it) and `ca.pem` (the
 * certificate alone, for --ca). The key of a gateway lives in its process only: it is made anew at every start.
 */
import { createPublicKey, X509Certificate as NodeCertificate, randomUUID, type webcrypto } from "node:crypto";
import { link, mkdir, open, readFile, rename, rm, stat } from "node:fs/promises";
import { isIP } from "node:net";
import { join } from "node:path";
import "./reflect.ts";
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  KeyUsageFlags,
  KeyUsagesExtension,
  PemConverter,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509Certificate,
  X509CertificateGenerator,
} from "@peculiar/x509";
import { SchedulerError } from "#domain/error.ts";
import { parseId, type WorkerId } from "#domain/id.ts";
import { GATEWAY_NAME } from "#protocol/client.ts";
import {
  AUTHORITY_LIFE_MS,
  CERTIFICATE_BACKDATE_MS,
  CLIENT_CERTIFICATE_LIFE_MS,
  JOIN_KEY_BYTES_MAX,
  SERVER_CERTIFICATE_LIFE_MS,
} from "./limits.ts";

export interface ServerIdentity {
  readonly certificatePem: string;
  /** Never written anywhere. */
  readonly keyPem: string;
  readonly expiresAtMs: number;
}

export interface Authority {
  /** The CA's certificate, PEM: what `--ca` of a worker holds. Public. */
  readonly caPem: string;
  /** A new key and its certificate for GATEWAY_NAME and the given host names and addresses. */
  issueServer(options: { readonly hosts: readonly string[] }): Promise<ServerIdentity>;
  /** A client certificate, PEM, with the worker's id as its name. Throws `invalid-input` for a key that is neither P-256 nor Ed25519. */
  issueClient(options: { readonly workerId: WorkerId; readonly publicKeySpki: Uint8Array }): Promise<string>;
}

/**
 * The deployment's CA in `dir`: the one that is there, or a new one. Of several processes that start at once one makes it.
 * Throws `integrity` for a damaged file and for one that other users can read.
 */
export async function loadOrCreateAuthority(dir: string): Promise<Authority> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const file = join(dir, "authority.pem");
  const pem = (await readIfThere(file)) ?? (await createAuthorityFile(dir, file));
  if (((await stat(file)).mode & 0o077) !== 0) {
    throw new SchedulerError(
      "integrity",
      `${file} holds the CA's key and other users can read it: chmod 600 it, or remove it and join all workers again`,
    );
  }
  const { key, certificate } = await parseAuthority(pem, file);
  const caPem = certificate.toString("pem");
  if ((await readIfThere(join(dir, "ca.pem"))) !== caPem) await writeWhole(dir, "ca.pem", caPem, 0o644);
  return createAuthority(key, certificate, await AuthorityKeyIdentifierExtension.create(certificate.publicKey));
}

/** The worker that a verified client certificate names; `undefined` for any other certificate. */
export const workerOfName = (commonName: unknown): WorkerId | undefined =>
  typeof commonName === "string" ? parseId("worker", commonName) : undefined;

type CryptoKey = webcrypto.CryptoKey;

const P256 = { name: "ECDSA", namedCurve: "P-256" } as const;
const SIGNATURE = { name: "ECDSA", hash: "SHA-256" } as const;

interface Leaf {
  readonly commonName: string;
  readonly names: JsonGeneralNames;
  readonly use: ExtendedKeyUsage;
  readonly lifeMs: number;
  readonly publicKey: CryptoKey | Uint8Array<ArrayBuffer>;
}

function createAuthority(key: CryptoKey, ca: X509Certificate, issuer: AuthorityKeyIdentifierExtension): Authority {
  const issue = ({ commonName, names, use, lifeMs, publicKey }: Leaf) => {
    const now = Date.now();
    return X509CertificateGenerator.create({
      subject: [{ CN: [commonName] }],
      issuer: ca.subjectName,
      notBefore: new Date(Math.max(now - CERTIFICATE_BACKDATE_MS, ca.notBefore.getTime())),
      notAfter: new Date(Math.min(now + lifeMs, ca.notAfter.getTime())),
      publicKey,
      signingKey: key,
      signingAlgorithm: SIGNATURE,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([use], true),
        new SubjectAlternativeNameExtension(names),
        issuer,
      ],
    });
  };
  return {
    caPem: ca.toString("pem"),
    async issueServer({ hosts }) {
      const keys = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
      const names = [...new Set([GATEWAY_NAME, ...hosts])].map((value) => ({
        type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
        value,
      }));
      const certificate = await issue({
        commonName: GATEWAY_NAME,
        names,
        use: ExtendedKeyUsage.serverAuth,
        lifeMs: SERVER_CERTIFICATE_LIFE_MS,
        publicKey: keys.publicKey,
      });
      return {
        certificatePem: certificate.toString("pem"),
        keyPem: await keyToPem(keys.privateKey),
        expiresAtMs: certificate.notAfter.getTime(),
      };
    },
    async issueClient({ workerId, publicKeySpki }) {
      const certificate = await issue({
        commonName: workerId,
        names: [{ type: "url", value: `urn:airavata:worker:${workerId}` }],
        use: ExtendedKeyUsage.clientAuth,
        lifeMs: CLIENT_CERTIFICATE_LIFE_MS,
        publicKey: checkedSpki(publicKeySpki),
      });
      return certificate.toString("pem");
    },
  };
}

/** The key in canonical form, so that nothing but a key of a known kind gets into a certificate. */
function checkedSpki(spki: Uint8Array): Uint8Array<ArrayBuffer> {
  try {
    if (spki.length > JOIN_KEY_BYTES_MAX) throw new Error("too long");
    const key = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
    const known = key.asymmetricKeyType === "ed25519" || key.asymmetricKeyDetails?.namedCurve === "prime256v1";
    if (!known) throw new Error(`kind ${key.asymmetricKeyType}`);
    return new Uint8Array(key.export({ format: "der", type: "spki" }));
  } catch (cause) {
    throw new SchedulerError("invalid-input", "the public key is neither P-256 nor Ed25519 in SPKI form: join with this release's agent", {
      cause,
    });
  }
}

async function createAuthorityFile(dir: string, file: string): Promise<string> {
  const keys = await crypto.subtle.generateKey(P256, true, ["sign", "verify"]);
  const now = Date.now();
  const extensions: Extension[] = [
    new BasicConstraintsExtension(true, 0, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
    await SubjectKeyIdentifierExtension.create(keys.publicKey),
  ];
  const certificate = await X509CertificateGenerator.createSelfSigned({
    // A name of its own for each deployment: a certificate of another one is then "issuer not found", not "bad signature".
    name: [{ CN: [`Airavata Scheduler CA ${randomUUID()}`] }],
    notBefore: new Date(now - CERTIFICATE_BACKDATE_MS),
    notAfter: new Date(now + AUTHORITY_LIFE_MS),
    keys,
    signingAlgorithm: SIGNATURE,
    extensions,
  });
  const temporary = await writeTemporary(
    dir,
    "authority.pem",
    `${await keyToPem(keys.privateKey)}\n${certificate.toString("pem")}\n`,
    0o600,
  );
  try {
    await link(temporary, file); // unlike rename it refuses to replace what another process made meanwhile
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  return readFile(file, "utf8");
}

async function parseAuthority(pem: string, file: string): Promise<{ key: CryptoKey; certificate: X509Certificate }> {
  try {
    const blocks = PemConverter.decodeWithHeaders(pem);
    const block = (type: string) => {
      const found = blocks.find((b) => b.type === type);
      if (found === undefined) throw new Error(`no ${type}`);
      return found.rawData;
    };
    const key = await crypto.subtle.importKey("pkcs8", block("PRIVATE KEY"), P256, true, ["sign"]);
    const certificate = new X509Certificate(block("CERTIFICATE"));
    const publicKey = new NodeCertificate(Buffer.from(certificate.rawData)).publicKey;
    const own = await crypto.subtle.exportKey("jwk", key);
    if (publicKey.export({ format: "jwk" }).x !== own.x) throw new Error("key and certificate do not belong together");
    if (certificate.notAfter.getTime() <= Date.now()) throw new Error("the CA's certificate has expired");
    return { key, certificate };
  } catch (cause) {
    throw new SchedulerError("integrity", `${file} is damaged: restore it from a backup, or remove it and join all workers again`, {
      cause,
    });
  }
}

const keyToPem = async (key: CryptoKey): Promise<string> => PemConverter.encode(await crypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");

async function readIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

async function writeTemporary(dir: string, name: string, text: string, mode: number): Promise<string> {
  const temporary = join(dir, `.${name}.${process.pid}.${randomUUID()}`);
  const handle = await open(temporary, "wx", mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return temporary;
}

async function writeWhole(dir: string, name: string, text: string, mode: number): Promise<void> {
  await rename(await writeTemporary(dir, name, text, mode), join(dir, name));
}
