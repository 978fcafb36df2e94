import { afterAll, beforeAll, describe } from "vitest";
import { openDynamoState, openMemoryState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { describeTaskStore } from "./task-store.contract.ts";

describeTaskStore("memory", openMemoryState);

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeTaskStore("dynoxide", () => openDynamoState({ endpoint: dynoxide.endpoint }));
});
