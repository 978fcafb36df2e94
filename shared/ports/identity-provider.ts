/** IdentityProvider: who the bearer of somebody else's token is (OpenID Connect). */
import type { Identity } from "./account-store.ts";

export interface KnownIdentity extends Identity {
  /** As the issuer knows the user; any of them may be missing, none is to be trusted as unique. */
  readonly name?: string;
  readonly fullName?: string;
  readonly email?: string;
}

export interface IdentityProvider {
  /**
   * The bearer of an access token that the issuer signed for us and that is valid now; `undefined` for every other text.
   * Throws `unavailable` when the issuer's keys can't be had.
   */
  identify(token: string): Promise<KnownIdentity | undefined>;
}
