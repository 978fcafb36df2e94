/** What every IdempotencyStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IdempotencyStore, KeyClaim } from "#ports/idempotency-store.ts";
import type { FakeClock } from "../support/fake-clock.ts";
import type { Subject } from "../support/subject.ts";

const ANSWER = { status: 201, body: '{"id":"é"}' };

const TAKEN = { kind: "taken" };

let claims = 0;
const aClaim = (parts: Partial<KeyClaim> = {}): KeyClaim => ({
  user: "ada",
  key: "k",
  fingerprint: "f",
  nonce: String(++claims),
  ...parts,
});

export function describeIdempotencyStore(
  name: string,
  make: () => Promise<Subject<IdempotencyStore> & { readonly clock: FakeClock }>,
): void {
  describe(`IdempotencyStore: ${name}`, () => {
    let made: Awaited<ReturnType<typeof make>>;
    let store: IdempotencyStore;
    let lockMs: number;
    let keepMs: number;
    beforeEach(async () => {
      made = await make();
      store = made.subject;
      lockMs = made.clock.now() + 60_000;
      keepMs = made.clock.now() + 600_000;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("gives a repeated request the first answer", async () => {
      const first = aClaim();
      expect(await store.begin(first, lockMs)).toMatchObject(TAKEN);
      expect(await store.begin(aClaim(), lockMs)).toEqual({ kind: "held", fingerprint: "f" });
      await store.finish(first, ANSWER, keepMs);
      expect(await store.begin(aClaim({ fingerprint: "g" }), lockMs)).toEqual({ kind: "held", fingerprint: "f", answer: ANSWER });
      await store.finish(first, { status: 500, body: "late" }, keepMs);
      expect(await store.begin(aClaim(), lockMs)).toEqual({ kind: "held", fingerprint: "f", answer: ANSWER });
    });

    it("tells users and keys apart", async () => {
      for (const [user, key] of [
        ["ada", "k"],
        ["ada", "l"],
        ["bob", "k"],
        ["ada#k", ""],
        ["ada", "x".repeat(5000)],
      ] as const)
        expect(await store.begin(aClaim({ user, key }), lockMs)).toMatchObject(TAKEN);
    });

    it("lets one of eight begin", async () => {
      const begun = await Promise.all(Array.from({ length: 8 }, () => store.begin(aClaim(), lockMs)));
      expect(begun.filter((b) => b.kind === "taken")).toHaveLength(1);
    });

    it("gives a released key again, not an answered one", async () => {
      const first = aClaim();
      await store.begin(first, lockMs);
      await store.release(first);
      const second = aClaim({ fingerprint: "g" });
      expect(await store.begin(second, lockMs)).toMatchObject(TAKEN);
      await store.finish(second, ANSWER, keepMs);
      await store.release(second);
      expect(await store.begin(aClaim(), lockMs)).toEqual({ kind: "held", fingerprint: "g", answer: ANSWER });
    });

    it("lets a key be taken from one who has not finished in time, and then takes nothing more from that one", async () => {
      const dead = aClaim();
      await store.begin(dead, lockMs);
      await made.clock.advance(59_999);
      expect(await store.begin(aClaim(), keepMs)).toEqual({ kind: "held", fingerprint: "f" });
      await made.clock.advance(1);
      const heir = aClaim({ fingerprint: "g" });
      expect(await store.begin(heir, keepMs)).toMatchObject(TAKEN);
      await store.release(dead);
      await store.finish(dead, { status: 201, body: "late" }, keepMs);
      expect(await store.begin(aClaim(), keepMs)).toEqual({ kind: "held", fingerprint: "g" });
      await store.finish(heir, ANSWER, keepMs);
      expect(await store.begin(aClaim(), keepMs)).toEqual({ kind: "held", fingerprint: "g", answer: ANSWER });
    });

    it("keeps the answer of one who finished late while nobody else had come", async () => {
      const slow = aClaim();
      await store.begin(slow, lockMs);
      await made.clock.advance(60_001);
      await store.finish(slow, ANSWER, keepMs);
      expect(await store.begin(aClaim(), keepMs)).toEqual({ kind: "held", fingerprint: "f", answer: ANSWER });
    });

    it("keeps an answer longer than the lock, and forgets it from the moment it expires on", async () => {
      const first = aClaim();
      await store.begin(first, lockMs);
      await store.finish(first, ANSWER, keepMs);
      await made.clock.advance(599_999);
      expect(await store.begin(aClaim(), keepMs + 60_000)).toEqual({ kind: "held", fingerprint: "f", answer: ANSWER });
      await made.clock.advance(1);
      expect(await store.begin(aClaim({ fingerprint: "g" }), keepMs + 60_000)).toMatchObject(TAKEN);
      expect(await store.begin(aClaim(), keepMs + 60_000)).toEqual({ kind: "held", fingerprint: "g" });
    });

    it("gives everyone who takes a key without an answer the seed of the first, and after an answer a new one", async () => {
      const dead = aClaim({ nonce: "dead" });
      expect(await store.begin(dead, lockMs)).toEqual({ kind: "taken", seed: "dead" });
      expect(await store.begin(dead, lockMs)).toEqual({ kind: "taken", seed: "dead" });
      await made.clock.advance(60_000);
      const failing = aClaim({ nonce: "failing" });
      expect(await store.begin(failing, keepMs)).toEqual({ kind: "taken", seed: "dead" });
      await store.release(failing);
      const heir = aClaim({ nonce: "heir" });
      expect(await store.begin(heir, keepMs)).toEqual({ kind: "taken", seed: "dead" });
      await store.finish(heir, ANSWER, keepMs);
      await made.clock.advance(600_000);
      expect(await store.begin(aClaim({ nonce: "next" }), keepMs + 600_000)).toEqual({ kind: "taken", seed: "next" });
    });

    it("says nothing when there is nothing to finish or to release", async () => {
      await store.finish(aClaim(), ANSWER, keepMs);
      await store.release(aClaim());
      expect(await store.begin(aClaim(), lockMs)).toMatchObject(TAKEN);
    });
  });
}
