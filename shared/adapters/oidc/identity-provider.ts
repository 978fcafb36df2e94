/**
 * IdentityProvider by OpenID Connect: access tokens that are JWTs of one issuer (RFC 9068), whose keys are found by discovery.
 *
 * Taken is a token with a signature of one of the issuer's present keys by an algorithm of {@link ALGORITHMS}, of this issuer, for
 * this audience, begun and not over, give or take {@link SKEW_S}. The issuer isn't asked about each: who is to be kept out at once is
 * disabled here.
 */
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { SchedulerError } from "#domain/error.ts";
import type { IdentityProvider, KnownIdentity } from "#ports/identity-provider.ts";

interface OidcOptions {
  /** As the issuer writes itself: its discovery document has to say the same. */
  readonly issuer: string;
  readonly audience: string;
  readonly clock: { now(): number };
}

/** Signatures by keys that only the issuer has: none by shared secrets, and not `none`. */
const ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"];
const SKEW_S = 30;
const DISCOVERY_LIMIT_MS = 5_000;
const TOKEN_CHARACTERS_MAX = 8_192;

export function createOidcIdentityProvider({ issuer, audience, clock }: OidcOptions): IdentityProvider {
  let keys: Promise<JWTVerifyGetKey> | undefined;
  const keysOf = (): Promise<JWTVerifyGetKey> => {
    keys ??= discover(issuer).catch((error: unknown) => {
      keys = undefined; // asked again by the next request
      throw error;
    });
    return keys;
  };
  return {
    async identify(token) {
      if (token.length > TOKEN_CHARACTERS_MAX || token.split(".").length !== 3) return undefined;
      const checks = { issuer, audience, algorithms: ALGORITHMS, clockTolerance: SKEW_S, requiredClaims: ["exp", "sub"] };
      try {
        const { payload } = await jwtVerify(token, await keysOf(), { ...checks, currentDate: new Date(clock.now()) });
        return identityOf(issuer, payload);
      } catch (error) {
        if (isRefusal(error)) return undefined;
        throw unavailable(error);
      }
    },
  };
}

/** Of the token, not of the way to the keys. */
const isRefusal = (error: unknown): boolean =>
  error instanceof errors.JOSEError &&
  !(error instanceof errors.JWKSTimeout) &&
  error.code !== "ERR_JOSE_GENERIC" &&
  error.code !== "ERR_JWKS_INVALID";

const unavailable = (cause: unknown): SchedulerError =>
  cause instanceof SchedulerError
    ? cause
    : new SchedulerError("unavailable", "the issuer of tokens does not answer: try again shortly", { cause });

async function discover(issuer: string): Promise<JWTVerifyGetKey> {
  const address = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const response = await fetch(address, { signal: AbortSignal.timeout(DISCOVERY_LIMIT_MS), redirect: "error" });
  if (!response.ok) throw new Error(`${address} answered ${response.status}`);
  const found = (await response.json()) as { issuer?: unknown; jwks_uri?: unknown };
  if (found.issuer !== issuer || typeof found.jwks_uri !== "string") throw new Error(`${address} is not the document of ${issuer}`);
  return createRemoteJWKSet(new URL(found.jwks_uri), { timeoutDuration: DISCOVERY_LIMIT_MS });
}

function identityOf(issuer: string, payload: JWTPayload): KnownIdentity {
  const claim = (name: string): string | undefined => (typeof payload[name] === "string" ? (payload[name] as string) : undefined);
  const [name, fullName, email] = [claim("preferred_username"), claim("name"), claim("email")];
  return {
    issuer,
    subject: payload.sub ?? "",
    ...(name === undefined ? {} : { name }),
    ...(fullName === undefined ? {} : { fullName }),
    ...(email === undefined ? {} : { email }),
  };
}
