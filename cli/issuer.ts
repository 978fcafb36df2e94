/** Signing in at an OpenID Connect issuer by its device flow (RFC 8628), and renewing such a login there. */
import type { AnswerOf } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import * as oidc from "openid-client";
import type { IssuerLogin } from "./context.ts";
import { clean } from "./output.ts";
import type { Session } from "./session.ts";

type Offer = NonNullable<AnswerOf<"getSignIn">["issuer"]>;

export interface IssuerTokens {
  readonly token: string;
  readonly expiresAtMs: number;
  readonly refreshToken?: string;
}

/** What is assumed of a token whose issuer does not say when it ends. */
const LIFETIME_UNKNOWN_S = 300;

/** Plain http is for an issuer on this machine only. */
async function connect({ issuer, clientId }: IssuerLogin): Promise<oidc.Configuration> {
  const url = new URL(issuer);
  const isHere = url.hostname === "localhost" || url.hostname === "[::1]" || /^127(\.\d+){3}$/.test(url.hostname);
  const options = isHere ? { execute: [oidc.allowInsecureRequests] } : {};
  return oidc.discovery(url, clientId, undefined, oidc.None(), options);
}

function tokensOf(answer: oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers): IssuerTokens {
  const lifetimeS = answer.expiresIn() ?? LIFETIME_UNKNOWN_S;
  const refresh = answer.refresh_token === undefined ? {} : { refreshToken: answer.refresh_token };
  return { token: answer.access_token, expiresAtMs: Date.now() + lifetimeS * 1_000, ...refresh };
}

function failure(error: unknown, issuer: string): SchedulerError {
  if (error instanceof SchedulerError) return error;
  const code = error instanceof oidc.ResponseBodyError ? error.error : undefined;
  if (code === "access_denied") return new SchedulerError("unauthenticated", "the sign-in was refused at the issuer", { cause: error });
  if (code === "expired_token" || code === "invalid_grant")
    return new SchedulerError("unauthenticated", "the sign-in at the issuer has expired", { cause: error });
  const why = error instanceof Error ? error.message : String(error);
  return new SchedulerError("unavailable", `the issuer ${issuer} can't be used now: ${clean(why)}`, { cause: error });
}

export async function signInAt(session: Session, offer: Offer): Promise<IssuerTokens> {
  const { output, signal } = session;
  try {
    const config = await connect(offer);
    const device = await oidc.initiateDeviceAuthorization(config, { scope: offer.scope, audience: offer.audience });
    const address = device.verification_uri_complete ?? device.verification_uri;
    output.error(clean(`open ${address} and confirm the code ${device.user_code}; this waits for it`));
    return tokensOf(await oidc.pollDeviceAuthorizationGrant(config, device, undefined, { signal }));
  } catch (error) {
    throw failure(error, offer.issuer);
  }
}

export async function renewAt(login: IssuerLogin, refreshToken: string): Promise<IssuerTokens> {
  try {
    return tokensOf(await oidc.refreshTokenGrant(await connect(login), refreshToken));
  } catch (error) {
    throw failure(error, login.issuer);
  }
}
