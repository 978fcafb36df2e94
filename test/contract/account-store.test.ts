import { afterAll, beforeAll, describe } from "vitest";
import { createDynamoAccountStore } from "#adapters/dynamodb/account-store.ts";
import { createMemoryAccountStore } from "#adapters/memory/account-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { plainSubject } from "../support/subject.ts";
import { describeAccountStore } from "./account-store.contract.ts";

describeAccountStore("memory", () => plainSubject(createMemoryAccountStore()));

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeAccountStore("dynoxide", async () => {
    const state = await openDynamoState({ endpoint: dynoxide.endpoint });
    return { ...state, subject: createDynamoAccountStore(state.table) };
  });
});
