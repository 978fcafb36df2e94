/**
 * CostStore on DynamoDB: one item for each payer and writer, below 1 KB. Those of the deployment go by themselves after
 * DEPLOYMENT_KEPT_S: every start of a process makes one.
 */
import { addUsage, METERED_KINDS, type MeteredKind, type Usage } from "#domain/cost.ts";
import type { CostStore } from "#ports/cost-store.ts";
import type { DynamoTable } from "./client.ts";
import { type Item, keyItem, number } from "./codec.ts";
import * as when from "./conditions.ts";
import { costKey } from "./keys.ts";
import { readPartition } from "./queries.ts";

const DEPLOYMENT_KEPT_S = 90 * 86_400;

const OUTCOMES = { done: "saved", refused: "superseded", unknown: "unknown" } as const;

export function createDynamoCostStore(table: DynamoTable): CostStore {
  return {
    save: async ({ payer, writer, sequence, usage }) => {
      const kept = payer === "deployment" ? { ttl: number(Math.ceil(table.clock.now() / 1_000) + DEPLOYMENT_KEPT_S) } : {};
      const item: Item = { ...keyItem(costKey(payer, writer)), seq: number(sequence), used: { M: counts(usage) }, ...kept };
      const outcome = await table.write({ by: "set", index: 0, kind: "put", item, condition: when.absentOrBefore(sequence) });
      return OUTCOMES[outcome.kind];
    },
    read: async (payer) => {
      const items = await readPartition(table, costKey(payer, "").pk);
      return items.map(usageFrom).reduce(addUsage, {});
    },
  };
}

const counts = (usage: Usage): Item =>
  Object.fromEntries(METERED_KINDS.flatMap((kind) => (usage[kind] === undefined ? [] : [[kind, number(usage[kind])]])));

function usageFrom(item: Item): Usage {
  const usage: { [K in MeteredKind]?: number } = {};
  for (const kind of METERED_KINDS) {
    const value = item.used?.M?.[kind]?.N;
    if (value !== undefined) usage[kind] = Number(value);
  }
  return usage;
}
