import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoCostStore } from "#adapters/dynamodb/cost-store.ts";
import { createMemoryCostStore } from "#adapters/memory/cost-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { plainSubject } from "../support/subject.ts";
import { describeCostStore } from "./cost-store.contract.ts";

describeCostStore("memory", () => plainSubject(createMemoryCostStore()));

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeCostStore("dynoxide", async () => {
    const state = await openDynamoState({ endpoint: dynoxide.endpoint });
    return { ...state, subject: createDynamoCostStore(state.table) };
  });
});
