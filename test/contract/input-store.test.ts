import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoInputStore } from "#adapters/dynamodb/input-store.ts";
import { createMemoryInputStore } from "#adapters/memory/input-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { plainSubject } from "../support/subject.ts";
import { describeInputStore } from "./input-store.contract.ts";

describeInputStore("memory", () => plainSubject(createMemoryInputStore()));

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeInputStore("dynoxide", async () => {
    const state = await openDynamoState({ endpoint: dynoxide.endpoint });
    return { ...state, subject: createDynamoInputStore(state.table) };
  });
});
