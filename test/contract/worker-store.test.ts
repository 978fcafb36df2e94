import { afterAll, beforeAll, describe } from "vitest";
import { openDynamoState, openMemoryState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { describeWorkerStore } from "./worker-store.contract.ts";

describeWorkerStore("memory", openMemoryState);

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  describeWorkerStore("dynoxide", () => openDynamoState({ endpoint: dynoxide.endpoint }));
});
