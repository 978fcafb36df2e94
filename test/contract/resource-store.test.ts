import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoResourceStore } from "#adapters/dynamodb/resource-store.ts";
import { createMemoryResourceStore } from "#adapters/memory/resource-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { plainSubject } from "../support/subject.ts";
import { describeResourceStore } from "./resource-store.contract.ts";

describeResourceStore("memory", () => plainSubject(createMemoryResourceStore()));

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeResourceStore("dynoxide", async () => {
    const state = await openDynamoState({ endpoint: dynoxide.endpoint });
    return { ...state, subject: createDynamoResourceStore(state.table) };
  });
});
