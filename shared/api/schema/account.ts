/** Users, their sign-ins and API tokens. */
import { SCOPES, USER_NAME, USER_NAME_RULE } from "#domain/account.ts";
import * as z from "zod";
import { idOf, instantMs, pageOf, user } from "./identity.ts";

const PASSWORD_CHARACTERS_MAX = 1024;
const TEXT_CHARACTERS_MAX = 200;
const REFRESH_CHARACTERS_MAX = 256;
const DAY_S = 86_400;
const TOKEN_SECONDS_DEFAULT = 90 * DAY_S;
const TOKEN_SECONDS_MAX = 366 * DAY_S;
const TOKEN_NAME_CHARACTERS_MAX = 64;

const userName = z.string().regex(USER_NAME, USER_NAME_RULE);
const password = z.string().min(1).max(PASSWORD_CHARACTERS_MAX);
const line = z
  .string()
  .max(TEXT_CHARACTERS_MAX)
  // By code units and without classes of Unicode: tools that read the OpenAPI document know neither.
  .regex(/^[ -~\u00a0-\uffff]*$/, "must be one line without control characters");
export const scope = z.enum(SCOPES).describe("Each takes in those before it: read, submit, write, admin");

export const loginAnswer = z.object({
  token: z.string(),
  expiresAtMs: instantMs,
  refreshToken: z.string().describe("Good once, for the next pair of tokens"),
  refreshExpiresAtMs: instantMs,
  user,
});
export const refreshRequest = z.strictObject({ refreshToken: z.string().min(1).max(REFRESH_CHARACTERS_MAX) });

const profile = { fullName: line.exactOptional(), email: line.exactOptional() };
export const userRequest = z.strictObject({ name: userName, password, ...profile });
/** An empty text takes away what was there. */
export const profileRequest = z.strictObject(profile);
export const passwordChange = z.strictObject({ current: password, next: password });
export const passwordReset = z.strictObject({ password });

export const account = user.extend({
  fullName: z.string().exactOptional(),
  email: z.string().exactOptional(),
  disabled: z.boolean(),
  createdAtMs: instantMs,
  issuer: z.string().exactOptional().describe("Where the user signs in, when not here"),
});
export type AccountAnswer = z.output<typeof account>;
export const accountPage = pageOf(account);
export const me = account.extend({
  administrator: z.boolean(),
  scopes: z.array(scope).readonly().describe("What the token of this request may be used for"),
});

export const signIn = z.object({
  registration: z.enum(["open", "closed"]),
  issuer: z
    .object({ issuer: z.string(), clientId: z.string(), scope: z.string(), audience: z.string() })
    .exactOptional()
    .describe("OpenID Connect issuer whose access tokens are taken here"),
});

export const tokenRequest = z.strictObject({
  name: z.string().min(1).max(TOKEN_NAME_CHARACTERS_MAX),
  scopes: z.array(scope).min(1).max(SCOPES.length),
  expiresInSeconds: z.int().min(1).max(TOKEN_SECONDS_MAX).default(TOKEN_SECONDS_DEFAULT),
});
export const apiToken = z.object({
  id: idOf("token"),
  name: z.string(),
  scopes: z.array(scope).readonly(),
  createdAtMs: instantMs,
  expiresAtMs: instantMs,
});
export type ApiTokenAnswer = z.output<typeof apiToken>;
export const apiTokenPage = pageOf(apiToken);
export const madeToken = apiToken.extend({ value: z.string().describe("Shown this once") });

export const departure = {
  experiments: z.enum(["keep", "delete"]).describe("What becomes of the user's experiments that are in no project with others"),
};

export const done = z.object({ done: z.literal(true) });
