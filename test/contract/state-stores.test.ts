import { afterAll, beforeAll, describe } from "vitest";
import { openDynamoState, openMemoryState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { describeAgreement } from "./state-stores-agree.contract.ts";
import { describeContention } from "./state-stores-contention.contract.ts";

describe("state stores", () => {
  describeContention("memory", openMemoryState);
});

describe.runIf(hasDynoxide)("state stores on dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());

  const open = () => openDynamoState({ endpoint: dynoxide.endpoint });
  describeContention("dynoxide", open);
  describeAgreement("dynoxide", open);
});
