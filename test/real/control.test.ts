/** The full proof of control: twenty rounds (see test/e2e/control.test.ts). */
import { afterAll, beforeAll, test } from "vitest";
import { runControlRounds } from "../support/control-rounds.ts";
import { type RunningSystem, startSystem } from "../support/running-system.ts";

const ROUNDS = 20;
const SEED = Number(process.env.AIRAVATA_CONTROL_SEED ?? Date.now() % 1_000_000);
const START_MS = 180_000;
const ROUND_MS = 900_000;
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem();
}, START_MS);
afterAll(() => system?.[Symbol.asyncDispose](), START_MS);

test(`twenty rounds of control at random moments, seed ${SEED}`, { timeout: ROUNDS * ROUND_MS }, async () => {
  await runControlRounds(system, ROUNDS, SEED);
});
