/**
 * Requests of one account in a time. A process takes {@link REQUESTS_AT_ONCE} from the store at a time and hands them out itself:
 * one conditional update for so many requests.
 */
import type { HttpDeps } from "./deps.ts";
import { ACCOUNTS_KEPT, REQUESTS_AT_ONCE } from "./limits.ts";
import { Refusal } from "./problem-response.ts";

type Rate = Parameters<HttpDeps["rate"]["limiter"]["take"]>[2];

interface Purse {
  left: number;
  /** Until then nothing is to be had. */
  emptyUntilMs: number;
  asking: Promise<void> | undefined;
}

export function createRateGuard({ rate, clock }: Pick<HttpDeps, "rate" | "clock">): (account: string) => Promise<void> {
  const purses = new Map<string, Purse>();
  const atOnce = Math.min(REQUESTS_AT_ONCE, rate.burst);
  const longestWaitMs = ((rate.burst + atOnce) * 1_000) / rate.perSecond;

  function purseOf(account: string): Purse {
    const purse = purses.get(account) ?? { left: 0, emptyUntilMs: 0, asking: undefined };
    purses.delete(account);
    purses.set(account, purse);
    if (purses.size > ACCOUNTS_KEPT) purses.delete(purses.keys().next().value as string);
    return purse;
  }

  async function ask(purse: Purse, account: string): Promise<void> {
    try {
      const waitMs = await rate.limiter.take(account, atOnce, rate);
      if (waitMs === 0) purse.left += atOnce;
      else purse.emptyUntilMs = clock.now() + waitMs;
    } finally {
      purse.asking = undefined;
    }
  }

  return async (account) => {
    const purse = purseOf(account);
    while (purse.left === 0) {
      const waitMs = purse.emptyUntilMs - clock.now();
      // A wait longer than any is given out: the clock was set back since.
      if (waitMs > 0 && waitMs <= longestWaitMs) {
        throw new Refusal("rate-limited", `more than ${rate.perSecond} requests a second from this account: wait, then go on more slowly`, {
          "retry-after": String(Math.ceil(waitMs / 1_000)),
        });
      }
      purse.asking ??= ask(purse, account);
      await purse.asking;
    }
    purse.left--;
  };
}

/** Takes one from a bucket of the store, for what is rare: throws when there is none. */
export async function takeOrRefuse({ rate }: Pick<HttpDeps, "rate">, who: string, limit: Rate, what: string): Promise<void> {
  const waitMs = await rate.limiter.take(who, 1, limit);
  if (waitMs === 0) return;
  throw new Refusal("rate-limited", `${what}: wait, then try again`, { "retry-after": String(Math.ceil(waitMs / 1_000)) });
}
