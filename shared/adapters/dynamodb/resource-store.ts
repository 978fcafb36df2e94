/** ResourceStore on DynamoDB: all in one partition by name, there are few and they change seldom. */
import { assertNever, SchedulerError } from "#domain/error.ts";
import type { ResourceId, UserId } from "#domain/id.ts";
import type { Resource } from "#domain/resource.ts";
import type { ResourceStore } from "#ports/resource-store.ts";
import type { DynamoTable } from "./client.ts";
import { type Item, keyItem, number, numberOf, text, textOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { readPartition } from "./queries.ts";
import { RESOURCE_PARTITION, resourceKey } from "./keys.ts";

export function createDynamoResourceStore(table: DynamoTable): ResourceStore {
  return {
    putResource: async (resource) => {
      const { kind } = await table.write({
        by: "set",
        index: 0,
        kind: "put",
        item: resourceItem(resource),
        condition: when.absentOrOf(resource.id),
      });
      if (kind === "unknown") throw new SchedulerError("outcome-unknown", "the resource may not have been stored; try again");
      return kind === "done";
    },
    readResource: async (name) => {
      const item = await table.get(resourceKey(name));
      return item === undefined ? undefined : resourceFrom(item);
    },
    listResources: async () => (await readPartition(table, RESOURCE_PARTITION)).map(resourceFrom),
  };
}

const resourceItem = (r: Resource): Item => ({
  ...keyItem(resourceKey(r.name)),
  id: text(r.id),
  owner: text(r.owner),
  at: number(r.createdAtMs),
  kind: text(r.kind),
  ...(r.kind === "POSIX" ? { root: text(r.root) } : {}),
});

function resourceFrom(item: Item): Resource {
  const named = {
    id: textOf(item, "id") as ResourceId,
    name: textOf(item, "sk"),
    owner: textOf(item, "owner") as UserId,
    createdAtMs: numberOf(item, "at"),
  };
  const kind = textOf(item, "kind") as Resource["kind"];
  switch (kind) {
    case "LOCAL":
      return { ...named, kind };
    case "POSIX":
      return { ...named, kind, root: textOf(item, "root") };
    default:
      return assertNever(kind);
  }
}
