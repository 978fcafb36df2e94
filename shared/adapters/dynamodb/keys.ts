/**
 * Every key of the one table. An item's attributes: codec.ts; its conditions: conditions.ts.
 *
 * | item        | pk                   | sk           | index attributes (sparse)      | read by                                     |
 * |-------------|----------------------|--------------|--------------------------------|---------------------------------------------|
 * | experiment  | E#<e>                | META         | live X#<i>, D#<i>; owner, ownerAt | get; `live`; `owner`, newest first; a tombstone has none of them, and a ttl |
 * | set         | E#<e>                | S#<sss>      |                                | query of the partition by prefix, in order  |
 * | gate        | E#<e>#G#<k>          | GATE         |                                | get; a partition each, so assigns spread    |
 * | segment     | Q#<e>#<s>#<n>        | SEG          | open <e>                       | get; batch get of a run of numbers; `open`  |
 * | lease       | Q#<e>#<s>#<n>        | L#<epoch>    |                                | get; query of the partition, falling epoch  |
 * | head        | WK#<w>               | HEAD         |                                | get                                         |
 * | worker      | WK#<w>#<inc>         | W            | live W#<i>; room R#<i>, spot   | get; `live`; `room`, then a batch get       |
 * | join token  | T#<hash>             | T            |                                | update only (used once); ttl                |
 * | gateway     | GW                   | <g>          |                                | query of the partition (there are few); ttl |
 * | user        | U#<u>                | U            |                                | get                                         |
 * | user name   | UN#<name>            | UN           |                                | get, then the user                          |
 * | directory   | UN                   | <name>       |                                | query of the partition, by name             |
 * | identity    | ID#<digest>          | ID           |                                | get, then the user                          |
 * | session     | U#<u>                | SES#<s>      |                                | get with the user; query by prefix; ttl     |
 * | API token   | U#<u>                | TOK#<t>      |                                | get with the user; query by prefix          |
 * | project     | P#<p>                | P            |                                | get                                         |
 * | its exper.  | P#<p>                | X#<ownerAt>  |                                | query of the partition by prefix, falling   |
 * | resource    | RES                  | <name>       |                                | get; query of the partition (there are few) |
 * | input       | IN#<e>#<i>           | <digest>     |                                | get; by experiment for deletion             |
 * | answer      | AN#<digest>          | AN           |                                | get; ttl                                    |
 * | rate        | RL#<digest>          | RL           |                                | update only; ttl                            |
 * | cost        | CO#<payer>           | <writer>     |                                | query of the partition, summed; ttl         |
 * | format      | FORMAT               | FORMAT       |                                | conditional put when the table is opened    |
 *
 * Indexes are KEYS_ONLY: an update that leaves their attributes alone costs nothing there. `live` and `open` sort
 * by pk, `owner` by ownerAt, `room` by spot, a digest of the worker's id: a reader starts anywhere, so that readers spread. <i> spreads an index over {@link INDEX_SHARDS} partitions. What an index names is read again
 * from the table before use (G5: indexes are hints).
 *
 * `room` may name a worker that is full: an assignment can't know that it took the last of it. It never misses one that
 * has room: every settlement puts the worker back, and a heartbeat takes a full one out under the condition that it is full.
 */
import { createHash } from "node:crypto";
import {
  type ExperimentId,
  type GatewayId,
  parseId,
  type ProjectId,
  type SessionId,
  type TokenId,
  type UserId,
  type WorkerId,
} from "#domain/id.ts";
import type { LeaseKey } from "#domain/lease.ts";
import type { SegmentKey } from "#domain/segment.ts";
import { type WorkerKey, workerName } from "#domain/worker.ts";
import type { Payer } from "#ports/cost-store.ts";

export interface ItemKey {
  readonly pk: string;
  readonly sk: string;
}

export const INDEXES = {
  live: { hash: "live", range: "pk" },
  open: { hash: "open", range: "pk" },
  room: { hash: "room", range: "spot" },
  owner: { hash: "owner", range: "ownerAt" },
} as const;
export type IndexName = keyof typeof INDEXES;

export const FORMAT_KEY: ItemKey = { pk: "FORMAT", sk: "FORMAT" };
export const TTL_ATTRIBUTE = "ttl";
export const INDEX_SHARDS = 4;
const INPUT_SHARDS = 16;
const EPOCH_DIGITS = 9;

export const experimentKey = (id: ExperimentId): ItemKey => ({ pk: `E#${id}`, sk: "META" });
export const setKey = (id: ExperimentId, ordinal: number): ItemKey => ({
  pk: `E#${id}`,
  sk: `${SET_PREFIX}${String(ordinal).padStart(3, "0")}`,
});
export const SET_PREFIX = "S#";
export const gateKey = (id: ExperimentId, shard: number): ItemKey => ({ pk: `E#${id}#G#${shard}`, sk: "GATE" });

const segmentPartition = (k: SegmentKey): string => `Q#${k.experiment}#${k.set}#${k.segment}`;
export const segmentKey = (k: SegmentKey): ItemKey => ({ pk: segmentPartition(k), sk: "SEG" });
export const LEASE_PREFIX = "L#";
export const leaseKey = (k: LeaseKey): ItemKey => ({
  pk: segmentPartition(k),
  sk: `${LEASE_PREFIX}${String(k.epoch).padStart(EPOCH_DIGITS, "0")}`,
});
export const epochOf = (key: ItemKey): number => Number(key.sk.slice(LEASE_PREFIX.length));

/** Reads the pk of a segment or of one of its leases. */
export function segmentOf(pk: string): SegmentKey {
  const [, experiment, set, segment] = pk.split("#");
  return { experiment: experiment as ExperimentId, set: Number(set), segment: Number(segment) };
}

export const experimentOf = (pk: string): ExperimentId => pk.split("#")[1] as ExperimentId;

const OF_EXPERIMENT = /^(?:E|Q|IN|CO)#(exp_[0-9a-z]{26})(?:#|$)/;
/** The experiment that an item, or an entry of an index, is part of. */
export const experimentIn = (hash: string): ExperimentId | undefined => {
  const id = OF_EXPERIMENT.exec(hash)?.[1] ?? hash;
  return parseId("experiment", id);
};
/** What has been metered: its writes are counted by whoever writes them. */
export const isCost = (pk: string): boolean => pk.startsWith(COST_PREFIX);

export const headKey = (id: WorkerId): ItemKey => ({ pk: `WK#${id}`, sk: "HEAD" });
export const workerKey = (k: WorkerKey): ItemKey => ({ pk: `WK#${workerName(k)}`, sk: "W" });
export function workerOf(pk: string): WorkerKey {
  const [, id, incarnation] = pk.split("#");
  return { id: id as WorkerId, incarnation: Number(incarnation) };
}

export const tokenKey = (hash: string): ItemKey => ({ pk: `T#${hash}`, sk: "T" });
export const GATEWAY_PARTITION = "GW";
export const gatewayKey = (id: GatewayId): ItemKey => ({ pk: GATEWAY_PARTITION, sk: id });

export const userKey = (id: UserId): ItemKey => ({ pk: `U#${id}`, sk: "U" });
export const userNameKey = (name: string): ItemKey => ({ pk: `UN#${name}`, sk: "UN" });
export const DIRECTORY_PARTITION = "UN";
export const directoryKey = (name: string): ItemKey => ({ pk: DIRECTORY_PARTITION, sk: name });
export const identityKey = (issuer: string, subject: string): ItemKey => ({ pk: `ID#${digestOf(issuer, subject)}`, sk: "ID" });
export const SESSION_PREFIX = "SES#";
export const sessionKey = (user: UserId, id: SessionId): ItemKey => ({ pk: userKey(user).pk, sk: `${SESSION_PREFIX}${id}` });
export const API_TOKEN_PREFIX = "TOK#";
export const apiTokenKey = (user: UserId, id: TokenId): ItemKey => ({ pk: userKey(user).pk, sk: `${API_TOKEN_PREFIX}${id}` });
export const projectKey = (id: ProjectId): ItemKey => ({ pk: `P#${id}`, sk: "P" });
export const PROJECT_PLACE_PREFIX = "X#";
export const projectPlaceKey = (id: ProjectId, place: string): ItemKey => ({ pk: `P#${id}`, sk: `${PROJECT_PLACE_PREFIX}${place}` });
export const RESOURCE_PARTITION = "RES";
export const resourceKey = (name: string): ItemKey => ({ pk: RESOURCE_PARTITION, sk: name });

export function inputKey(experiment: ExperimentId, storage: string, path: string): ItemKey {
  const digest = digestOf(storage, path);
  return { pk: inputPartition(experiment, shardOf(digest, INPUT_SHARDS)), sk: digest };
}
const inputPartition = (experiment: ExperimentId, shard: number): string => `IN#${experiment}#${shard}`;
export const inputPartitions = (experiment: ExperimentId): string[] =>
  Array.from({ length: INPUT_SHARDS }, (_, shard) => inputPartition(experiment, shard));
export const answerKey = (user: string, key: string): ItemKey => ({ pk: `AN#${digestOf(user, key)}`, sk: "AN" });

const COST_PREFIX = "CO#";
export const costKey = (payer: Payer, writer: string): ItemKey => ({ pk: `${COST_PREFIX}${payer}`, sk: writer });

export const rateKey = (who: string): ItemKey => ({ pk: `RL#${digestOf(who)}`, sk: "RL" });

/** Texts from outside enter keys by their digest: no length limit, no separator to smuggle in. */
const digestOf = (...texts: readonly string[]): string => createHash("sha256").update(JSON.stringify(texts)).digest("hex");

export const liveExperimentShard = (id: ExperimentId): string => `X#${shardOf(id, INDEX_SHARDS)}`;
/** Ended, and kept for a time. */
export const keptExperimentShard = (id: ExperimentId): string => `D#${shardOf(id, INDEX_SHARDS)}`;
export const liveWorkerShard = (k: WorkerKey): string => `W#${shardOf(k.id, INDEX_SHARDS)}`;
export const roomShard = (k: WorkerKey): string => `R#${shardOf(k.id, INDEX_SHARDS)}`;
export const shardsOf = (prefix: "X" | "D" | "W" | "R"): string[] => Array.from({ length: INDEX_SHARDS }, (_, i) => `${prefix}#${i}`);

const shardOf = (text: string, shards: number): number => spread(text) % shards;

const SPOTS = 2 ** 32;
/** A place in the `room` index; `share` in [0, 1) says which, from the first to the last. */
export const spotAt = (share: number): string =>
  Math.floor(share * SPOTS)
    .toString(16)
    .padStart(8, "0");
/** Of the whole name with a suffix, so that it doesn't depend on the shard. */
export const spotOf = (k: WorkerKey): string => spotAt(spread(`${workerName(k)} spot`) / SPOTS);

/** FNV-1a with a last mix (of MurmurHash3), since FNV's high bits hardly see the last characters. Spreads, nothing else. */
function spread(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
