/**
 * Named conditions and updates: fragments of expressions with their values. `#name` stands for the attribute `name`
 * (always written so: `state`, `status`, `next`, `free` and `size` are reserved words of DynamoDB).
 */
import type { Capacity } from "#domain/capacity.ts";
import { WORKER_LEASES_MAX } from "#domain/worker.ts";
import type { SetSums } from "#ports/task-store.ts";
import { type Item, number, text, texts } from "./codec.ts";

/** Value names must differ between the fragments of one request. */
export interface Fragment {
  readonly expression: string;
  readonly values?: Item;
}

const of = (expression: string, values?: Item): Fragment => (values === undefined ? { expression } : { expression, values });

/** The `#name` map of some expressions. */
export function namesIn(...expressions: readonly (string | undefined)[]): Record<string, string> {
  const names: Record<string, string> = {};
  for (const e of expressions) for (const [alias] of (e ?? "").matchAll(/#\w+/g)) names[alias] = alias.slice(1);
  return names;
}

export function allOf(...conditions: readonly Fragment[]): Fragment {
  const values = Object.assign({}, ...conditions.map((c) => c.values ?? {})) as Item;
  return of(conditions.map((c) => c.expression).join(" AND "), Object.keys(values).length === 0 ? undefined : values);
}

export const absent = of("attribute_not_exists(#pk)");
export const present = of("attribute_exists(#pk)");

// Experiments, gates, sets, segments, leases

export const versionIs = (version: number): Fragment => of("#v = :expectV", { ":expectV": number(version) });
export const handoutsAre = (handouts: number): Fragment =>
  handouts === 0 ? of("attribute_not_exists(#handouts)") : of("#handouts = :expectHandouts", { ":expectHandouts": number(handouts) });
export const addHandout: Fragment = { expression: "ADD #handouts :one", values: { ":one": number(1) } };
/** T6: nothing is handed out unless the gate says RUNNING, in the generation that the decision was made for. */
export const gateIsOpen = (generation: number): Fragment =>
  of("#status = :running AND #gen = :gateGen", { ":running": text("RUNNING"), ":gateGen": number(generation) });
export const generationBelow = (generation: number): Fragment => of("#gen < :belowGen", { ":belowGen": number(generation) });
export const nextIs = (next: number): Fragment => of("#next = :expectNext", { ":expectNext": number(next) });
/** Adds up with {@link nextIs}, whose condition it needs. */
export const birth = (segment: number): Fragment => of("SET #next = :next", { ":next": number(segment + 1) });
export const addSums = (sums: SetSums): Fragment =>
  of("ADD #closed :closed, #done :done, #failed :failed, #skipped :skipped", {
    ":closed": number(sums.closed),
    ":done": number(sums.done),
    ":failed": number(sums.failed),
    ":skipped": number(sums.skipped),
  });
export const notSkippedWhole = of("attribute_not_exists(#skipAll)");
/** T2, T3: a lease is written only while it is open and as it was read. */
export const leaseIsOpenAt = (rev: number): Fragment =>
  of("#state = :open AND #rev = :expectRev", { ":open": text("OPEN"), ":expectRev": number(rev) });

// Workers

/** W1. */
export const isReadyIn = (session: number): Fragment =>
  of("#state = :ready AND #session = :session", { ":ready": text("READY"), ":session": number(session) });
/** W2. */
export const hasFree = (need: Capacity): Fragment =>
  of("#freeCpu >= :cpu AND #freeMemory >= :memory AND #freeGpu >= :gpu AND (attribute_not_exists(#leases) OR size(#leases) < :leasesMax)", {
    ":cpu": number(need.cpuMilli),
    ":memory": number(need.memoryMib),
    ":gpu": number(need.gpu),
    ":leasesMax": number(WORKER_LEASES_MAX),
  });
/** With the values of {@link hasFree}. */
export const takeFree = (lease: string): Fragment =>
  of("SET #freeCpu = #freeCpu - :cpu, #freeMemory = #freeMemory - :memory, #freeGpu = #freeGpu - :gpu ADD #leases :lease", {
    ":lease": texts([lease]),
  });

export function holdsLeases(names: readonly string[]): Fragment {
  const values = Object.fromEntries(names.map((name, i) => [`:holds${i}`, text(name)]));
  return of(names.map((_, i) => `contains(#leases, :holds${i})`).join(" AND "), values);
}
export const giveBack = (names: readonly string[], capacity: Capacity): Fragment =>
  of("#freeCpu = #freeCpu + :cpu, #freeMemory = #freeMemory + :memory, #freeGpu = #freeGpu + :gpu DELETE #leases :gone", {
    ":cpu": number(capacity.cpuMilli),
    ":memory": number(capacity.memoryMib),
    ":gpu": number(capacity.gpu),
    ":gone": texts(names),
  });

export const isNotDead = of("#state <> :dead AND attribute_exists(#pk)", { ":dead": text("DEAD") });
export const isDead = of("#state = :dead", { ":dead": text("DEAD") });
export const isReady = of("#state = :ready", { ":ready": text("READY") });
export const hasNoLeases = of("attribute_not_exists(#leases)");
export const sessionIs = (session: number): Fragment => of("#session = :session", { ":session": number(session) });
export const beatIs = (beat: number): Fragment => of("#beat = :expectBeat", { ":expectBeat": number(beat) });
export const beatBelow = (beat: number): Fragment => of("#beat < :beat", { ":beat": number(beat) });
/** The negation of `hasRoom`, judged when the write is applied, however late. */
export const hasNoRoom = of("attribute_exists(#pk) AND (#state <> :ready OR #freeCpu <= :none OR size(#leases) >= :leasesMax)", {
  ":ready": text("READY"),
  ":none": number(0),
  ":leasesMax": number(WORKER_LEASES_MAX),
});
export const headIs = (head: number): Fragment => (head === 0 ? absent : of("#inc = :expectHead", { ":expectHead": number(head) }));

// Tokens, names, pinned inputs, answers

/** Of a bucket: full by then, never used, or full later than any bucket can be: the clock was set back since. */
export const isFullAt = (nowMs: number, possibleMs: number): Fragment =>
  of("attribute_not_exists(#full) OR #full <= :now OR #full > :possible", { ":now": number(nowMs), ":possible": number(possibleMs) });
/** Of a bucket: not full, and what is asked for still in it. */
export const hasLeftAt = (nowMs: number, latestMs: number): Fragment =>
  of("#full > :now AND #full <= :latest", { ":now": number(nowMs), ":latest": number(latestMs) });

/** W3: there, not used, not expired. */
export const isUsableToken = (nowMs: number): Fragment =>
  of("attribute_not_exists(#used) AND #expires > :nowMs", { ":nowMs": number(nowMs) });
export const absentOrOf = (id: string): Fragment => of("attribute_not_exists(#pk) OR #id = :id", { ":id": text(id) });
export const absentOrExpired = (nowMs: number): Fragment =>
  of("attribute_not_exists(#pk) OR #expires <= :nowMs", { ":nowMs": number(nowMs) });
export const absentOrFormat = (version: number): Fragment =>
  of("attribute_not_exists(#pk) OR #format = :format", { ":format": number(version) });
export const absentOrBefore = (sequence: number): Fragment =>
  of("attribute_not_exists(#pk) OR #seq < :newSeq", { ":newSeq": number(sequence) });
/** Of a key: still taken by the one that took it with this nonce. */
export const isUnansweredOf = (nonce: string): Fragment =>
  of("#nonce = :nonce AND attribute_not_exists(#status)", { ":nonce": text(nonce) });

// Accounts and projects

export const projectIsOpen = of("attribute_exists(#pk) AND #archived = :open", { ":open": { BOOL: false } });

/** Users of before there were eras are in era 0. */
export const eraIs = (era: number): Fragment =>
  era === 0 ? of("attribute_exists(#pk) AND attribute_not_exists(#era)") : of("#era = :expectEra", { ":expectEra": number(era) });
export const userVersionIs = (version: number): Fragment =>
  version === 0 ? of("attribute_exists(#pk) AND attribute_not_exists(#v)") : versionIs(version);
export const sessionGenerationIs = (generation: number): Fragment => of("#gen = :expectGen", { ":expectGen": number(generation) });
