/** Signing in, one's own account and API tokens, users; and whether the API is there. */
import type { AccountAnswer, ApiTokenAnswer } from "#api/schema/account.ts";
import type { Login } from "#core/accounts/index.ts";
import { SchedulerError } from "#domain/error.ts";
import type { UserId } from "#domain/id.ts";
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";
import { pageOf } from "./pages.ts";
import { takeOrRefuse } from "./rate-limit.ts";
import { REGISTRATIONS, SIGN_INS } from "./limits.ts";

type Account = Login["user"];
type Token = Awaited<ReturnType<HttpDeps["accounts"]["listTokens"]>>[number];

/** A user record holds more (the password's hash): only these leave. */
const shown = (user: { readonly id: UserId; readonly name: string }) => ({ id: user.id, name: user.name });

const accountOf = (user: Account): AccountAnswer => ({
  ...shown(user),
  ...(user.profile.fullName === undefined ? {} : { fullName: user.profile.fullName }),
  ...(user.profile.email === undefined ? {} : { email: user.profile.email }),
  disabled: user.disabled,
  createdAtMs: user.createdAtMs,
  ...(user.identity === undefined ? {} : { issuer: user.identity.issuer }),
});

const loginOf = ({ token, expiresAtMs, refreshToken, refreshExpiresAtMs, user }: Login) => ({
  ...{ token, expiresAtMs, refreshToken, refreshExpiresAtMs },
  user: shown(user),
});

const tokenOf = ({ id, name, scopes, createdAtMs, expiresAtMs }: Token): ApiTokenAnswer => ({ id, name, scopes, createdAtMs, expiresAtMs });

const DONE = { done: true } as const;

type SigningIn = "login" | "refreshLogin" | "logout" | "getSignIn" | "register" | "getHealth";

export function createSignInHandlers(deps: HttpDeps): Handlers<SigningIn> {
  const { accounts } = deps;
  return {
    login: async ({ body }) => {
      // For each name, whether it exists or not, and before the work: guessing goes on at this rate only.
      await takeOrRefuse(deps, `sign-in ${body.name}`, SIGN_INS, "too many sign-ins with this name");
      return loginOf(await accounts.login(body.name, body.password));
    },
    refreshLogin: async ({ body }) => loginOf(await accounts.refresh(body.refreshToken)),
    logout: async ({ user }) => {
      await accounts.logout({ user, by: user.by });
      return DONE;
    },
    getSignIn: async () => deps.signIn,
    register: async ({ body: { name, password, ...profile } }) => {
      if (deps.signIn.registration === "closed")
        throw new SchedulerError("forbidden", "accounts are made by administrators here: ask one for yours");
      await takeOrRefuse(deps, "registration", REGISTRATIONS, "too many new accounts at this moment");
      return accountOf(await accounts.createUser(name, password, profile));
    },
    getHealth: async () => {
      const parts = Object.fromEntries(
        Object.entries(await deps.health()).map(([part, ok]) => [part, ok ? ("ok" as const) : ("down" as const)]),
      );
      const [deadLetters, gateway] = await Promise.all([deps.deadLetterCount(), deps.gateways.urlFor("")]);
      const known = deadLetters === undefined ? {} : { deadLetters };
      const links = gateway === undefined ? {} : { links: { gateway } };
      return { status: Object.values(parts).includes("down") ? "degraded" : "ok", version: deps.version, parts, ...known, ...links };
    },
  };
}

type Own = "getMe" | "editMe" | "changePassword" | "listTokens" | "createToken" | "revokeToken";

export function createOwnAccountHandlers(deps: HttpDeps): Handlers<Own> {
  const { accounts, authorization, deploymentId } = deps;
  return {
    getMe: async ({ user }) => {
      const deployment = { type: "deployment", id: deploymentId } as const;
      const administrator = await authorization.check({ type: "user", id: user.id }, "administer", deployment);
      return { ...accountOf(await accounts.find(user.id)), administrator, scopes: user.scopes };
    },
    editMe: async ({ user, body }) => accountOf(await accounts.editProfile(user.id, body)),
    changePassword: async ({ user, body }) => {
      await takeOrRefuse(deps, `sign-in ${user.name}`, SIGN_INS, "too many attempts");
      await accounts.changePassword(user.id, { ...body, ...(user.by.kind === "session" ? { keep: user.by.id } : {}) });
      return DONE;
    },
    listTokens: async ({ user, query }) => {
      const page = pageOf(await accounts.listTokens(user.id), (token) => token.id, query);
      return { ...page, items: page.items.map(tokenOf) };
    },
    createToken: async ({ user, body: { name, scopes, expiresInSeconds } }) => {
      const { token, value } = await accounts.createToken(user.id, { name, scopes, lifetimeMs: expiresInSeconds * 1_000 });
      return { ...tokenOf(token), value };
    },
    revokeToken: async ({ user, params }) => {
      await accounts.revokeToken(user.id, params.id);
      return DONE;
    },
  };
}

type Users = "listUsers" | "createUser" | "disableUser" | "enableUser" | "resetPassword";

export function createUserHandlers({ accounts }: HttpDeps): Handlers<Users> {
  return {
    listUsers: async ({ query }) => {
      const page = await accounts.list(query);
      return { items: page.items.map(accountOf), ...(page.cursor === undefined ? {} : { cursor: page.cursor }) };
    },
    createUser: async ({ body: { name, password, ...profile } }) => accountOf(await accounts.createUser(name, password, profile)),
    disableUser: async ({ params, user }) => {
      const { id } = await accounts.find(params.id);
      if (id === user.id) throw new SchedulerError("conflict", "you can't disable yourself: another administrator can");
      return accountOf(await accounts.setDisabled(id, true));
    },
    enableUser: async ({ params }) => accountOf(await accounts.setDisabled((await accounts.find(params.id)).id, false)),
    resetPassword: async ({ params, body, user }) => {
      const { id } = await accounts.find(params.id);
      // A token that was stolen must not become a password.
      if (id === user.id)
        throw new SchedulerError("conflict", "your own password is changed by who knows the present one: POST /v1/me/password");
      return accountOf(await accounts.resetPassword(id, body.password));
    },
  };
}
