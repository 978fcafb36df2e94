/**
 * URLs that carry their own authority: an HMAC-SHA256 under the deployment's key over everything in them.
 *
 * A URL is checked by making it again from what was read out of it and comparing the two as a whole in constant time.
 * So there is exactly one spelling of each URL; another order, encoding, number format or letter case is refused.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";

const SECRET_BYTES_MIN = 32;
const PURPOSE = "airavata signed object url 1\n";
const TARGET =
  /^\/objects\/([A-Za-z0-9._/-]{1,512})\?expires=(\d{1,16})&method=(GET|PUT)(?:&bytes=(\d{1,16})&sha256=([0-9a-f]{64}))?&signature=[0-9a-f]{64}$/;

export interface ExpectedBody {
  readonly bytes: number;
  readonly sha256: string;
}

export type Grant =
  | { readonly method: "GET"; readonly key: string; readonly expiresAtMs: number }
  | { readonly method: "PUT"; readonly key: string; readonly expiresAtMs: number; readonly expect: ExpectedBody };

/** Path and query of the URL that grants this, from `/objects/` on. */
export function signGrant(secret: Uint8Array, grant: Grant): string {
  if (secret.length < SECRET_BYTES_MIN)
    throw new SchedulerError("invalid-input", `the key for signed URLs must have at least ${SECRET_BYTES_MIN} bytes`);
  const body = grant.method === "PUT" ? `&bytes=${grant.expect.bytes}&sha256=${grant.expect.sha256}` : "";
  const target = `/objects/${grant.key}?expires=${grant.expiresAtMs}&method=${grant.method}${body}`;
  return `${target}&signature=${createHmac("sha256", secret).update(PURPOSE).update(target).digest("hex")}`;
}

/** What path and query of a request grant now; undefined: nothing, whatever the reason. */
export function openGrant(secret: Uint8Array, target: string, nowMs: number): Grant | undefined {
  const [, key, expires, method, bytes, sha256] = TARGET.exec(target) ?? [];
  if (key === undefined) return undefined;
  const common = { key, expiresAtMs: Number(expires) };
  const grant: Grant =
    method === "PUT" ? { ...common, method, expect: { bytes: Number(bytes), sha256: sha256 ?? "" } } : { ...common, method: "GET" };
  const given = Buffer.from(target);
  const right = Buffer.from(signGrant(secret, grant));
  if (given.length !== right.length || !timingSafeEqual(given, right)) return undefined;
  return nowMs < grant.expiresAtMs ? grant : undefined;
}
