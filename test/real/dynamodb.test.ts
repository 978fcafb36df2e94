/**
 * The state stores on DynamoDB Local and on MiniStack, as AWS_ENDPOINT_URL_DYNAMODB and AWS_ENDPOINT_URL name them: the same
 * contract suites as on memory and dynoxide.
 */
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
import { describeReal, DYNAMODB_LOCAL, MINISTACK } from "../support/real-component.ts";

for (const component of [DYNAMODB_LOCAL, MINISTACK]) {
  const { name } = component;
  describeReal("state stores", component, (endpoint) => {
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
