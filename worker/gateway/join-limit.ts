/** Rate limit of Join, in memory: a bucket for the deployment, and one of refusals for each address against guessing of tokens. */
import { JOIN_ADDRESSES_MAX, JOIN_REFUSALS_BURST, JOIN_REFUSALS_PER_MINUTE, JOINS_BURST, JOINS_PER_SECOND } from "./limits.ts";

export interface JoinLimit {
  /** Whether a join from the address may be tried now; takes one of the deployment's. */
  admit(address: string): boolean;
  /** Counts a refused join against its address. */
  refused(address: string): void;
}

interface Bucket {
  readonly left: number;
  readonly atMs: number;
}

interface Rate {
  readonly burst: number;
  readonly perMs: number;
}

const JOINS: Rate = { burst: JOINS_BURST, perMs: JOINS_PER_SECOND / 1000 };
const REFUSALS: Rate = { burst: JOIN_REFUSALS_BURST, perMs: JOIN_REFUSALS_PER_MINUTE / 60_000 };

/** What a bucket holds at `nowMs`; a clock that ran backwards adds nothing. */
const refill = (bucket: Bucket, rate: Rate, nowMs: number): number =>
  Math.min(rate.burst, bucket.left + Math.max(0, nowMs - bucket.atMs) * rate.perMs);

export function createJoinLimit(now: () => number): JoinLimit {
  let joins: Bucket = { left: JOINS.burst, atMs: now() };
  const addresses = new Map<string, Bucket>();
  const left = (address: string, nowMs: number) => refill(addresses.get(address) ?? { left: REFUSALS.burst, atMs: nowMs }, REFUSALS, nowMs);

  return {
    admit(address) {
      const nowMs = now();
      const level = refill(joins, JOINS, nowMs);
      if (level < 1 || left(address, nowMs) < 1) return false;
      joins = { left: level - 1, atMs: nowMs };
      return true;
    },
    refused(address) {
      const nowMs = now();
      const level = left(address, nowMs) - 1;
      addresses.delete(address); // to the end of the map: the first entry is the one not refused for longest
      addresses.set(address, { left: Math.max(0, level), atMs: nowMs });
      const oldest = addresses.keys().next().value;
      if (addresses.size > JOIN_ADDRESSES_MAX && oldest !== undefined) addresses.delete(oldest);
    },
  };
}
