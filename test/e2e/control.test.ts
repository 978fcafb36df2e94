/** Control at random moments of a DAG of 1,000 tasks; AIRAVATA_CONTROL_ROUNDS and AIRAVATA_CONTROL_SEED choose how many rounds and which. */
import { afterAll, beforeAll, test } from "vitest";
import { runControlRounds } from "../support/control-rounds.ts";
import { type RunningSystem, startSystem } from "../support/running-system.ts";

const ROUNDS = Number(process.env.AIRAVATA_CONTROL_ROUNDS ?? 1);
const SEED = Number(process.env.AIRAVATA_CONTROL_SEED ?? Date.now() % 1_000_000);
const START_MS = 180_000;
const ROUND_MS = 900_000;
let system: RunningSystem;

beforeAll(async () => {
  system = await startSystem();
}, START_MS);
afterAll(() => system?.[Symbol.asyncDispose](), START_MS);

test(`every control operation at random moments leaves the right end: ${ROUNDS} rounds, seed ${SEED}`, {
  timeout: ROUNDS * ROUND_MS,
}, async () => {
  await runControlRounds(system, ROUNDS, SEED);
});
