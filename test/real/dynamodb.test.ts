/**
 * The state stores on DynamoDB Local and on MiniStack, as AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL name them: the same
 * contract suites as on memory and dynoxide.
 */
import { describe, it } from "vitest";
import { createDynamoAccountStore } from "#adapters/dynamodb/account-store.ts";
import type { DynamoTable } from "#adapters/dynamodb/client.ts";
import { createDynamoIdempotencyStore } from "#adapters/dynamodb/idempotency-store.ts";
import { createDynamoInputStore } from "#adapters/dynamodb/input-store.ts";
import { createDynamoRateLimiter } from "#adapters/dynamodb/rate-limiter.ts";
import { createDynamoResourceStore } from "#adapters/dynamodb/resource-store.ts";
import { describeAccountStore } from "../contract/account-store.contract.ts";
import { describeIdempotencyStore } from "../contract/idempotency-store.contract.ts";
import { describeInputStore } from "../contract/input-store.contract.ts";
import { describeRateLimiter } from "../contract/rate-limiter.contract.ts";
import { describeResourceStore } from "../contract/resource-store.contract.ts";
import { describeAgreement } from "../contract/state-stores-agree.contract.ts";
import { describeContention } from "../contract/state-stores-contention.contract.ts";
import { describeTaskStore } from "../contract/task-store.contract.ts";
import { describeWorkerStore } from "../contract/worker-store.contract.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { createFakeClock } from "../support/fake-clock.ts";

const ENDPOINTS = {
  AWS_ENDPOINT_URL_DYNAMODB: "DynamoDB at AWS_ENDPOINT_URL_DYNAMODB",
  AWS_ENDPOINT_URL: "AWS at AWS_ENDPOINT_URL",
} as const;

for (const [variable, name] of Object.entries(ENDPOINTS)) {
  const endpoint = process.env[variable];
  if (endpoint === undefined || endpoint === "") {
    const missing = `${variable} is not set`;
    if (process.env.REQUIRE_REAL === "1") {
      it(`state stores on ${name}`, () => {
        throw new Error(`${missing}, and REQUIRE_REAL=1`);
      });
    } else {
      console.log(`skipped: state stores on ${name}: ${missing}`);
      describe.skip(`state stores on ${name}: ${missing}`, () => it("is skipped", () => {}));
    }
    continue;
  }
  describe(`state stores on ${name}`, () => {
    const open = () => openDynamoState({ endpoint });
    const on =
      <T>(create: (table: DynamoTable) => T) =>
      async () => {
        const state = await open();
        return { ...state, subject: create(state.table) };
      };
    describeContention(name, open);
    describeAgreement(name, open);
    describeTaskStore(name, open);
    describeWorkerStore(name, open);
    describeAccountStore(name, on(createDynamoAccountStore));
    describeResourceStore(name, on(createDynamoResourceStore));
    describeInputStore(name, on(createDynamoInputStore));
    describeRateLimiter(name, async () => {
      const clock = createFakeClock();
      const state = await openDynamoState({ endpoint, clock });
      return { ...state, clock, subject: createDynamoRateLimiter(state.table) };
    });
    describeIdempotencyStore(name, async () => {
      const clock = createFakeClock();
      const state = await openDynamoState({ endpoint, clock });
      return { ...state, clock, subject: createDynamoIdempotencyStore(state.table) };
    });
  });
}
