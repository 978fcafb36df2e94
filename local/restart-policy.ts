/** When a part that ended by itself is started again. Pure. */

export interface RestartPolicy {
  /** Doubles with every fast crash. */
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
  /** A part that lived this long before it ended has not crashed fast: the count starts anew. */
  readonly stableMs: number;
  /** So many fast crashes in a row are borne; one more and the part is given up. */
  readonly fastCrashesMax: number;
}

export const RESTART_POLICY: RestartPolicy = { firstDelayMs: 200, delayMsMax: 10_000, stableMs: 30_000, fastCrashesMax: 5 };

export type RestartDecision =
  | { readonly kind: "restart"; readonly crashes: number; readonly delayMs: number }
  | { readonly kind: "give-up"; readonly crashes: number };

/** `crashes`: fast crashes in a row before this one. */
export function decideRestart(crashes: number, livedMs: number, policy: RestartPolicy): RestartDecision {
  const now = livedMs >= policy.stableMs ? 1 : crashes + 1;
  if (now > policy.fastCrashesMax) return { kind: "give-up", crashes: now };
  return { kind: "restart", crashes: now, delayMs: Math.min(policy.delayMsMax, policy.firstDelayMs * 2 ** (now - 1)) };
}
