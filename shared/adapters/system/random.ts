/** The machine's own chance: `bytes` comes from the operating system's generator. */
import { randomBytes } from "node:crypto";
import type { Random } from "#ports/random.ts";

export function createSystemRandom(): Random {
  return { next: Math.random, bytes: (n) => randomBytes(n) };
}
