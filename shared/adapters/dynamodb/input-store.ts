/** InputStore on DynamoDB: one item for each (experiment, storage, path), never overwritten. */
import { SchedulerError } from "#domain/error.ts";
import type { InputStore, PinnedInput } from "#ports/input-store.ts";
import type { DynamoTable } from "./client.ts";
import { type Item, keyItem, keyOf, number, numberOf, text, textOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { inputKey, inputPartitions } from "./keys.ts";
import { readPartition } from "./queries.ts";

export function createDynamoInputStore(table: DynamoTable): InputStore {
  const read: InputStore["read"] = async (experiment, storage, path) => {
    const item = await table.get(inputKey(experiment, storage, path));
    return item === undefined ? undefined : inputFrom(item);
  };
  return {
    read,
    pin: async (experiment, storage, path, input) => {
      const item: Item = {
        ...keyItem(inputKey(experiment, storage, path)),
        storage: text(storage),
        path: text(path),
        sha: text(input.sha256),
        bytes: number(input.bytes),
      };
      const outcome = await table.write({ by: "set", index: 0, kind: "put", item, condition: when.absent });
      if (outcome.kind === "done") return { ...input };
      if (outcome.kind === "refused" && outcome.item !== undefined) return inputFrom(outcome.item);
      const pinned = await read(experiment, storage, path); // G2: the item decides, whoever wrote it.
      if (pinned === undefined) throw new SchedulerError("outcome-unknown", "the input may not have been pinned; try again");
      return pinned;
    },
    forget: async (experiment) => {
      for (const pk of inputPartitions(experiment)) {
        const keys = (await readPartition(table, pk)).map(keyOf);
        const outcomes = await Promise.all(keys.map((key, index) => table.write({ by: "set", index, kind: "delete", key })));
        if (outcomes.some((o) => o.kind !== "done"))
          throw new SchedulerError("unavailable", "not all pinned inputs were forgotten; try again");
      }
    },
  };
}

const inputFrom = (item: Item): PinnedInput => ({ sha256: textOf(item, "sha"), bytes: numberOf(item, "bytes") });
