/** What every IdempotencyStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IdempotencyStore } from "#ports/idempotency-store.ts";
import type { FakeClock } from "../support/fake-clock.ts";
import type { Subject } from "../support/subject.ts";

const ANSWER = { status: 201, body: '{"id":"é"}' };

export function describeIdempotencyStore(
  name: string,
  make: () => Promise<Subject<IdempotencyStore> & { readonly clock: FakeClock }>,
): void {
  describe(`IdempotencyStore: ${name}`, () => {
    let made: Awaited<ReturnType<typeof make>>;
    let store: IdempotencyStore;
    let endMs: number;
    beforeEach(async () => {
      made = await make();
      store = made.subject;
      endMs = made.clock.now() + 60_000;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("gives a repeated request the first answer", async () => {
      expect(await store.begin("ada", "k", "f1", endMs)).toBeUndefined();
      expect(await store.begin("ada", "k", "f1", endMs)).toEqual({ fingerprint: "f1" });
      await store.finish("ada", "k", ANSWER);
      expect(await store.begin("ada", "k", "f2", endMs)).toEqual({ fingerprint: "f1", answer: ANSWER });
      await store.finish("ada", "k", { status: 500, body: "late" });
      expect(await store.begin("ada", "k", "f1", endMs)).toEqual({ fingerprint: "f1", answer: ANSWER });
    });

    it("tells users and keys apart", async () => {
      for (const [user, key] of [
        ["ada", "k"],
        ["ada", "l"],
        ["bob", "k"],
        ["ada#k", ""],
        ["ada", "x".repeat(5000)],
      ] as const)
        expect(await store.begin(user, key, "f", endMs)).toBeUndefined();
    });

    it("lets one of eight begin", async () => {
      const begun = await Promise.all(Array.from({ length: 8 }, () => store.begin("ada", "k", "f", endMs)));
      expect(begun.filter((b) => b === undefined)).toHaveLength(1);
    });

    it("forgets an abandoned key, not an answered one", async () => {
      await store.begin("ada", "k", "f", endMs);
      await store.abandon("ada", "k");
      expect(await store.begin("ada", "k", "g", endMs)).toBeUndefined();
      await store.finish("ada", "k", ANSWER);
      await store.abandon("ada", "k");
      expect(await store.begin("ada", "k", "g", endMs)).toEqual({ fingerprint: "g", answer: ANSWER });
    });

    it("forgets a key from the moment it expires on", async () => {
      await store.begin("ada", "k", "f", endMs);
      await store.finish("ada", "k", ANSWER);
      await made.clock.advance(59_999);
      expect(await store.begin("ada", "k", "g", endMs + 60_000)).toEqual({ fingerprint: "f", answer: ANSWER });
      await made.clock.advance(1);
      expect(await store.begin("ada", "k", "g", endMs + 60_000)).toBeUndefined();
      expect(await store.begin("ada", "k", "g", endMs + 60_000)).toEqual({ fingerprint: "g" });
    });

    it("says nothing when there is nothing to finish or to abandon", async () => {
      await store.finish("ada", "k", ANSWER);
      await store.abandon("ada", "k");
      expect(await store.begin("ada", "k", "f", endMs)).toBeUndefined();
    });
  });
}
