import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoRateLimiter } from "#adapters/dynamodb/rate-limiter.ts";
import { createMemoryRateLimiter } from "#adapters/memory/rate-limiter.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { plainSubject } from "../support/subject.ts";
import { describeRateLimiter } from "./rate-limiter.contract.ts";

describeRateLimiter("memory", async () => {
  const clock = createFakeClock();
  return { ...(await plainSubject(createMemoryRateLimiter(clock))), clock };
});

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeRateLimiter("dynoxide", async () => {
    const clock = createFakeClock();
    const state = await openDynamoState({ endpoint: dynoxide.endpoint, clock });
    return { ...state, clock, subject: createDynamoRateLimiter(state.table) };
  });
});
