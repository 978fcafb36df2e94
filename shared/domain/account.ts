/** What a caller's token lets it do. Whose account it is decides the rest: a scope never gives more than its user may. */

/** Each takes in those before it. */
export const SCOPES = ["read", "submit", "write", "admin"] as const;
export type Scope = (typeof SCOPES)[number];

/** Whether a token with these scopes may do what needs `needed`. */
export const isWithin = (scopes: readonly Scope[], needed: Scope): boolean =>
  scopes.some((scope) => SCOPES.indexOf(scope) >= SCOPES.indexOf(needed));

/** What somebody may be in a project: owners say who belongs to it, editors change its experiments, viewers look. */
export const ROLES = ["owner", "editor", "viewer"] as const;
export type Role = (typeof ROLES)[number];

/** Lower case, at most 63 characters; unique in an installation. */
export const USER_NAME = /^[a-z][a-z0-9._-]{0,62}$/;
export const USER_NAME_RULE = "must start with a letter and have 1 to 63 lower case letters, digits, dots, underscores or hyphens";
