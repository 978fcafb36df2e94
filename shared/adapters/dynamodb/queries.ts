/** Reads of many items: partitions of the table, and the sparse indexes, whose keys lag (G5) and are read again from the table. */
import type { DynamoTable, IndexPage } from "./client.ts";
import { type Item, keyOf, text } from "./codec.ts";
import { namesIn } from "./conditions.ts";
import { INDEXES, type IndexName, type ItemKey } from "./keys.ts";
import { INDEX_PAGES_MAX } from "./limits.ts";

/** Everything under a partition, by ascending sort key, strongly consistent. */
export async function readPartition(table: DynamoTable, pk: string, prefix = ""): Promise<Item[]> {
  const found: Item[] = [];
  let start: Item | undefined;
  do {
    const { items, last } = await queryPartition(table, { pk, prefix, ...(start === undefined ? {} : { start }) });
    found.push(...items);
    start = last;
  } while (start !== undefined);
  return found;
}

export interface PartitionQuery {
  readonly pk: string;
  readonly prefix: string;
  readonly limit?: number;
  readonly falling?: boolean;
  readonly start?: Item;
}

export function queryPartition(table: DynamoTable, { pk, prefix, limit, falling, start }: PartitionQuery): Promise<IndexPage> {
  const under = prefix === "" ? "" : " AND begins_with(#sk, :prefix)";
  return table.query({
    KeyConditionExpression: `#pk = :pk${under}`,
    ExpressionAttributeNames: namesIn(`#pk${under}`),
    ExpressionAttributeValues: { ":pk": text(pk), ...(prefix === "" ? {} : { ":prefix": text(prefix) }) },
    ConsistentRead: true,
    ScanIndexForward: falling !== true,
    ...(limit === undefined ? {} : { Limit: limit }),
    ...(start === undefined ? {} : { ExclusiveStartKey: start }),
  });
}

export interface IndexQuery {
  readonly index: IndexName;
  /** Value of the index's hash attribute. */
  readonly shard: string;
  readonly limit: number;
  readonly start?: Item;
  readonly newestFirst?: boolean;
}

export function queryIndex(table: DynamoTable, query: IndexQuery): Promise<IndexPage> {
  return table.query({
    IndexName: query.index,
    KeyConditionExpression: "#hash = :shard",
    ExpressionAttributeNames: { "#hash": INDEXES[query.index].hash },
    ExpressionAttributeValues: { ":shard": text(query.shard) },
    Limit: query.limit,
    ScanIndexForward: query.newestFirst !== true,
    ...(query.start === undefined ? {} : { ExclusiveStartKey: query.start }),
  });
}

/** Up to `limit` keys of one shard. */
export async function keysOfShard(table: DynamoTable, query: IndexQuery): Promise<ItemKey[]> {
  const keys: ItemKey[] = [];
  let start = query.start;
  for (let page = 0; page < INDEX_PAGES_MAX && keys.length < query.limit; page++) {
    const { items, last } = await queryIndex(table, {
      ...query,
      limit: query.limit - keys.length,
      ...(start === undefined ? {} : { start }),
    });
    keys.push(...items.map(keyOf));
    if (last === undefined) break;
    start = last;
  }
  return keys;
}

/**
 * Up to `limit` values that `accept` takes, from all shards of an index, as the table has them now. Goes on where an
 * index names what is no longer so, INDEX_PAGES_MAX pages of each shard at most.
 */
export async function readThrough<T>(
  table: DynamoTable,
  index: IndexName,
  options: {
    readonly shards: readonly string[];
    readonly limit: number;
    readonly read: (item: Item) => T;
    readonly accept: (value: T) => boolean;
  },
): Promise<T[]> {
  const { limit, read, accept } = options;
  const fromShard = async (shard: string): Promise<T[]> => {
    const found: T[] = [];
    let start: Item | undefined;
    for (let page = 0; page < INDEX_PAGES_MAX && found.length < limit; page++) {
      const { items, last } = await queryIndex(table, { index, shard, limit, ...(start === undefined ? {} : { start }) });
      found.push(...(await table.getAll(items.map(keyOf))).map(read).filter(accept));
      if (last === undefined) break;
      start = last;
    }
    return found;
  };
  const all = await Promise.all(options.shards.map(fromShard));
  return all.flat().slice(0, limit);
}
