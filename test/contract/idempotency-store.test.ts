import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoIdempotencyStore } from "#adapters/dynamodb/idempotency-store.ts";
import { createMemoryIdempotencyStore } from "#adapters/memory/idempotency-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { createFakeClock } from "../support/fake-clock.ts";
import { plainSubject } from "../support/subject.ts";
import { describeIdempotencyStore } from "./idempotency-store.contract.ts";

describeIdempotencyStore("memory", async () => {
  const clock = createFakeClock();
  return { ...(await plainSubject(createMemoryIdempotencyStore(clock))), clock };
});

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeIdempotencyStore("dynoxide", async () => {
    const clock = createFakeClock();
    const state = await openDynamoState({ endpoint: dynoxide.endpoint, clock });
    return { ...state, clock, subject: createDynamoIdempotencyStore(state.table) };
  });
});
