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
  /** Bound of the index's range attribute. */
  readonly range?: { readonly is: ">=" | "<"; readonly value: string };
}

export function queryIndex(table: DynamoTable, { index, shard, limit, start, newestFirst, range }: IndexQuery): Promise<IndexPage> {
  const names = { "#hash": INDEXES[index].hash, ...(range === undefined ? {} : { "#range": INDEXES[index].range }) };
  return table.query({
    IndexName: index,
    KeyConditionExpression: range === undefined ? "#hash = :shard" : `#hash = :shard AND #range ${range.is} :range`,
    ExpressionAttributeNames: names,
    ExpressionAttributeValues: { ":shard": text(shard), ...(range === undefined ? {} : { ":range": text(range.value) }) },
    Limit: limit,
    ScanIndexForward: newestFirst !== true,
    ...(start === undefined ? {} : { ExclusiveStartKey: start }),
  });
}

/** Pages of a shard, INDEX_PAGES_MAX at most. */
async function* pagesOf(table: DynamoTable, query: IndexQuery): AsyncGenerator<readonly ItemKey[]> {
  let start: Item | undefined;
  for (let page = 0; page < INDEX_PAGES_MAX; page++) {
    const { items, last } = await queryIndex(table, { ...query, ...(start === undefined ? {} : { start }) });
    yield items.map(keyOf);
    if (last === undefined) return;
    start = last;
  }
}

/** Up to `limit` keys of one shard. */
export async function keysOfShard(table: DynamoTable, query: IndexQuery): Promise<ItemKey[]> {
  const keys: ItemKey[] = [];
  for await (const page of pagesOf(table, query)) {
    keys.push(...page);
    if (keys.length >= query.limit) break;
  }
  return keys.slice(0, query.limit);
}

export interface IndexRead<T> {
  readonly index: IndexName;
  readonly shards: readonly string[];
  readonly limit: number;
  /** Where in the range to start; what lies before it comes last. Default: at the beginning. */
  readonly from?: string;
  readonly read: (item: Item) => T;
  readonly accept: (value: T) => boolean;
}

/**
 * Up to `limit` values that `accept` takes, from all shards of an index in turn, as the table has them now. Goes on where
 * the index names what is no longer so.
 */
export async function readThrough<T>(table: DynamoTable, wanted: IndexRead<T>): Promise<T[]> {
  const { index, limit, from, read, accept } = wanted;
  const ranges: Pick<IndexQuery, "range">[] =
    from === undefined ? [{}] : ([">=", "<"] as const).map((is) => ({ range: { is, value: from } }));
  const fromShard = async (shard: string, range: Pick<IndexQuery, "range">): Promise<T[]> => {
    const found: T[] = [];
    for await (const keys of pagesOf(table, { index, shard, limit, ...range })) {
      found.push(...(await table.getAll(keys)).map(read).filter(accept));
      if (found.length >= limit) break;
    }
    return found;
  };
  const found: T[] = [];
  for (const range of ranges) {
    if (found.length < limit) found.push(...inTurn(await Promise.all(wanted.shards.map((shard) => fromShard(shard, range))), limit));
  }
  return found.slice(0, limit);
}

/** The first of each list, then the second of each, and so on. */
function inTurn<T>(lists: readonly (readonly T[])[], limit: number): T[] {
  const longest = Math.max(...lists.map((list) => list.length));
  const places = Array.from({ length: longest }, (_, place) => lists.flatMap((list) => list.slice(place, place + 1)));
  return places.flat().slice(0, limit);
}
