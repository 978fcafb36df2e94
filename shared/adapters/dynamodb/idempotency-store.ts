/** IdempotencyStore on DynamoDB. A nonce tells our own entry from another's where the outcome of taking it is unknown. */
import { SchedulerError } from "#domain/error.ts";
import type { IdempotencyStore, StoredAnswer } from "#ports/idempotency-store.ts";
import type { DynamoTable } from "./client.ts";
import { type Item, number, numberOf, text, textOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { answerKey } from "./keys.ts";
import { ANSWER_BYTES_MAX } from "./limits.ts";

/** A seed outlives the lock of the one who died with it. */
const SEED_KEPT_MS = 24 * 60 * 60 * 1000;

export function createDynamoIdempotencyStore(table: DynamoTable): IdempotencyStore {
  const certain = (kind: string): void => {
    if (kind === "unknown") throw new SchedulerError("outcome-unknown", "the answer of this key may not have been stored");
  };
  return {
    begin: async ({ user, key, fingerprint, nonce }, lockedUntilMs) => {
      const update = {
        expression:
          "SET #fingerprint = :fingerprint, #nonce = :nonce, #seed = if_not_exists(#seed, :nonce), #expires = :expires, #ttl = :ttl " +
          "REMOVE #status, #body",
        values: {
          ":fingerprint": text(fingerprint),
          ":nonce": text(nonce),
          ":expires": number(lockedUntilMs),
          ":ttl": ttlOf(lockedUntilMs + SEED_KEPT_MS),
        },
      };
      const condition = when.absentOrExpired(table.clock.now());
      const outcome = await table.write({ by: "set", index: 0, kind: "update", key: answerKey(user, key), update, condition });
      const stored = outcome.kind === "unknown" ? await table.get(answerKey(user, key)) : outcome.item; // G2
      if (stored === undefined) throw new SchedulerError("outcome-unknown", "the key may not have been taken; try again");
      return textOf(stored, "nonce") === nonce && stored.status === undefined
        ? { kind: "taken", seed: textOf(stored, "seed") }
        : { kind: "held", ...answerFrom(stored) };
    },
    finish: async ({ user, key, nonce }, { status, body }, keptUntilMs) => {
      if (Buffer.byteLength(body) > ANSWER_BYTES_MAX)
        throw new SchedulerError("too-large", "an answer is too large to be kept under its key");
      const update = {
        expression: "SET #status = :status, #body = :body, #expires = :expires, #ttl = :ttl REMOVE #seed",
        values: { ":status": number(status), ":body": text(body), ":expires": number(keptUntilMs), ":ttl": ttlOf(keptUntilMs) },
      };
      const condition = when.isUnansweredOf(nonce);
      certain((await table.write({ by: "set", index: 0, kind: "update", key: answerKey(user, key), update, condition })).kind);
    },
    release: async ({ user, key, nonce }) => {
      const update = { expression: "SET #expires = :past", values: { ":past": number(0) } };
      const condition = when.isUnansweredOf(nonce);
      certain((await table.write({ by: "set", index: 0, kind: "update", key: answerKey(user, key), update, condition })).kind);
    },
  };
}

/** For DynamoDB's own removal, which comes late: whole seconds. */
const ttlOf = (ms: number) => number(Math.ceil(ms / 1000));

const answerFrom = (item: Item): StoredAnswer => ({
  fingerprint: textOf(item, "fingerprint"),
  ...(item.status === undefined ? {} : { answer: { status: numberOf(item, "status"), body: textOf(item, "body") } }),
});
