/**
 * Accounts: who users are, and what their tokens let them do.
 *
 * - A refusal never tells whether the name, the password or the account was the reason, nor does its time.
 * - A token is accepted only when we made it (or the configured issuer did), it has not expired, its session or API token is not
 *   revoked, and its user exists and is not disabled: all read anew for every request, strongly, and kept nowhere. So what is
 *   revoked or disabled is refused from the next request on.
 * - Passwords and tokens are kept nowhere and put in no message (C1). Of API tokens a hash is kept, of sessions nothing secret.
 *
 * Imports #domain, #ports and node:crypto (argon2, HMAC, constant-time comparison), nothing else.
 */
import type { Role, Scope } from "#domain/account.ts";
import type { ExperimentId, ProjectId, SessionId, TokenId, UserId } from "#domain/id.ts";
import type { Relation } from "#ports/authorization.ts";
import type { ProjectRecord } from "#ports/project-store.ts";
import type { Profile, TokenRecord, UserPage, UserRecord } from "#ports/account-store.ts";

export { createAccounts } from "./accounts.ts";
export { createDeparture } from "./departure.ts";
export { createProjects } from "./projects.ts";

export interface Login {
  readonly token: string;
  readonly expiresAtMs: number;
  /** Good once, for the next login without a password. */
  readonly refreshToken: string;
  readonly refreshExpiresAtMs: number;
  readonly user: UserRecord;
}

/** Who sends a request, and by what. */
export interface Caller {
  readonly user: UserRecord;
  readonly scopes: readonly Scope[];
  readonly by:
    | { readonly kind: "session"; readonly id: SessionId }
    | { readonly kind: "token"; readonly id: TokenId }
    | { readonly kind: "issuer" };
}

export interface TokenRequest {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly lifetimeMs: number;
}

export interface Accounts {
  /** Errors: `invalid-input` with complaints, `conflict` (the name is taken), `unavailable`. */
  createUser(name: string, password: string, profile?: Profile): Promise<UserRecord>;
  /** Errors: `unauthenticated`, `unavailable` (too many at once, or the store). */
  login(name: string, password: string): Promise<Login>;
  /** The next pair of tokens for a refresh token; an old one ends its session. Errors: `unauthenticated`, `unavailable`. */
  refresh(refreshToken: string): Promise<Login>;
  /** Ends the session or API token that the caller came by. */
  logout(caller: Pick<Caller, "by"> & { readonly user: Pick<UserRecord, "id"> }): Promise<void>;
  /** Errors: `unauthenticated`, `unavailable` (the store, or the issuer's keys). */
  authenticate(token: string): Promise<Caller>;

  /** Names by id, without those that are unknown. */
  namesOf(ids: readonly UserId[]): Promise<ReadonlyMap<UserId, string>>;
  /** By name or id. Errors: `not-found`. */
  find(nameOrId: string): Promise<UserRecord>;
  list(options: { readonly limit: number; readonly cursor?: string }): Promise<UserPage>;
  /** Replaces what is given; an empty text takes it away. */
  editProfile(id: UserId, profile: Profile): Promise<UserRecord>;
  /** Ends every other session of the user. Errors: `forbidden` (the present password is not that), `invalid-input`, `conflict`. */
  changePassword(id: UserId, change: { readonly current: string; readonly next: string; readonly keep?: SessionId }): Promise<void>;
  /** Without the present one: for administrators. Ends every session. */
  resetPassword(id: UserId, next: string): Promise<UserRecord>;
  /** Disabling ends every session; API tokens rest until the account is enabled again. */
  setDisabled(id: UserId, disabled: boolean): Promise<UserRecord>;

  /** `value` is shown this once. Errors: `invalid-input`, `conflict` (name taken, too many). */
  createToken(user: UserId, request: TokenRequest): Promise<{ readonly token: TokenRecord; readonly value: string }>;
  listTokens(user: UserId): Promise<readonly TokenRecord[]>;
  /** A no-op for one that is gone. */
  revokeToken(user: UserId, id: TokenId): Promise<void>;
}

export interface Member {
  readonly user: UserId;
  readonly role: Role;
}

/**
 * Projects: what experiments are in, and who reaches them by that.
 *
 * - The authorization system alone says who belongs to a project; nothing else is asked, so nothing can disagree with it.
 * - Permission comes before what it is for: a project or experiment is granted first, then made. What breaks off in between
 *   leaves a grant of nothing; nothing is ever there that nobody, or everybody, may see.
 * - A user's personal project is there without being stored and is shared with nobody.
 * Callers have checked permissions but where it says otherwise.
 */
export interface Projects {
  /** `as`: the id of a request that may be repeated; it gives the same again. */
  create(owner: UserId, project: Pick<ProjectRecord, "name" | "description">, as?: ProjectId): Promise<ProjectRecord>;
  /** Those that the user belongs to, the personal one first, then by name. */
  list(user: UserId): Promise<readonly ProjectRecord[]>;
  /** Errors: `not-found`. */
  read(id: ProjectId, asker: UserId): Promise<ProjectRecord>;
  /** Archiving while experiments in it have not ended: `conflict`. */
  edit(id: ProjectId, change: Partial<Pick<ProjectRecord, "name" | "description" | "archived">>): Promise<ProjectRecord>;
  /** Errors: `conflict` while there are experiments in it. A no-op when it is gone. */
  delete(id: ProjectId): Promise<void>;
  members(id: ProjectId): Promise<readonly Member[]>;
  /** In place of the role of before. Taking the last owner's away: `conflict`. */
  setMember(id: ProjectId, user: UserId, role: Role | undefined): Promise<void>;
  /**
   * Where a new experiment of the user goes: by id, by name among the user's own projects, or (`undefined`) the personal one.
   * Checks permission. Errors: `not-found`, `forbidden`, `conflict` (archived, or several of that name).
   */
  place(user: UserId, wanted: string | undefined): Promise<ProjectId | undefined>;
  /** What has to be written about an experiment before it is made. A function of what is stored of it: can be mended at any time. */
  grantsOf(experiment: { readonly id: ExperimentId; readonly owner: UserId; readonly project?: ProjectId | undefined }): Relation[];
}

/** One line of an export. Nothing secret is in it: no password's or token's hash. */
export type ExportedPart = { readonly kind: "account" | "session" | "token" | "project" | "experiment" | "plan" } & Readonly<
  Record<string, unknown>
>;

export interface Departure {
  /** The profile, sessions, tokens, projects, and every experiment that the user made, with its plan. */
  exported(id: UserId): AsyncIterable<ExportedPart>;
  /**
   * Ends an account: its name, profile, password and identity are gone, its tokens refused from the next request on; its id stays
   * on what others rely on. Experiments in projects that others belong to stay; `delete` takes all others along. Refuses
   * before any effect (`conflict`): administrators, and last owners of projects that others belong to. May be repeated when
   * it broke off (`conflict` too: workers still hold tasks, or with `keep` something has not ended).
   */
  leave(id: UserId, experiments: "keep" | "delete"): Promise<void>;
}
