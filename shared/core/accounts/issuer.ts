/** Users who sign in elsewhere: their accounts are found by issuer and subject, and made at their first request where that is allowed. */
import { USER_NAME } from "#domain/account.ts";
import { SchedulerError } from "#domain/error.ts";
import { ID_RANDOM_BYTES, makeId } from "#domain/id.ts";
import type { AccountStore, UserRecord } from "#ports/account-store.ts";
import type { Clock } from "#ports/clock.ts";
import type { IdentityProvider, KnownIdentity } from "#ports/identity-provider.ts";
import type { Random } from "#ports/random.ts";
import { notSignedIn } from "./sessions.ts";

export interface IssuerDeps {
  readonly provider: IdentityProvider;
  /** Whether a user who is not known yet gets an account. */
  readonly makesAccounts: boolean;
}

interface Surroundings {
  readonly store: AccountStore;
  readonly clock: Pick<Clock, "now">;
  readonly random: Pick<Random, "bytes">;
}

const NAME_CHARACTERS_MAX = 50;
const TEXT_CHARACTERS_MAX = 200;
const NUMBERED_MAX = 9;

export async function userOfIssuer({ provider, makesAccounts }: IssuerDeps, around: Surroundings, token: string): Promise<UserRecord> {
  const known = await provider.identify(token);
  if (known === undefined) throw notSignedIn();
  const found = await around.store.findIdentity(known);
  const user = found ?? (makesAccounts ? await makeAccount(around, known) : undefined);
  if (user === undefined || user.disabled) throw notSignedIn();
  return user;
}

/** Under the name that the issuer gives, when nobody has it here: it is never a way into an account of that name. */
async function makeAccount({ store, clock, random }: Surroundings, known: KnownIdentity): Promise<UserRecord | undefined> {
  const now = clock.now();
  const { issuer, subject, fullName, email } = known;
  const short = (text: string) => text.replace(/\p{Cc}/gu, " ").slice(0, TEXT_CHARACTERS_MAX);
  for (const name of namesFor(known, random)) {
    const user: UserRecord = {
      ...{ id: makeId("user", now, random.bytes(ID_RANDOM_BYTES)), name, disabled: false, era: 0, identity: { issuer, subject } },
      profile: {
        ...(fullName === undefined ? {} : { fullName: short(fullName) }),
        ...(email === undefined ? {} : { email: short(email) }),
      },
      ...{ createdAtMs: now, version: 1 },
    };
    const outcome = await store.createUser(user);
    if (outcome === "done") return user;
    // Another request of the same user was first.
    if (outcome === "identity") return store.findIdentity(known);
  }
  throw new SchedulerError("unavailable", "no free name was found for a new account: try again");
}

function* namesFor({ name, email }: KnownIdentity, random: Pick<Random, "bytes">): Generator<string> {
  const raw = (name ?? email?.split("@")[0] ?? "").normalize("NFKD").toLowerCase();
  const plain = raw
    .replace(/[^a-z0-9._-]+/g, "")
    .replace(/^[^a-z]+/, "")
    .slice(0, NAME_CHARACTERS_MAX);
  const base = USER_NAME.test(plain) ? plain : "user";
  yield base;
  for (let n = 2; n <= NUMBERED_MAX; n++) yield `${base}-${n}`;
  yield `${base}-${Buffer.from(random.bytes(6)).toString("hex")}`;
}
