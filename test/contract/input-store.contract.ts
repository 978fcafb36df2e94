/** What every InputStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { InputStore } from "#ports/input-store.ts";
import { experimentId } from "../support/state.ts";
import type { Subject } from "../support/subject.ts";

const content = (n: number) => ({ sha256: String(n).repeat(64), bytes: n });

export function describeInputStore(name: string, make: () => Promise<Subject<InputStore>>): void {
  describe(`InputStore: ${name}`, () => {
    let made: Subject<InputStore>;
    let inputs: InputStore;
    beforeEach(async () => {
      made = await make();
      inputs = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());
    const e = experimentId(1);

    it("keeps the first content for ever", async () => {
      expect(await inputs.read(e, "scratch", "a.csv")).toBeUndefined();
      expect(await inputs.pin(e, "scratch", "a.csv", content(1))).toEqual(content(1));
      expect(await inputs.pin(e, "scratch", "a.csv", content(2))).toEqual(content(1));
      expect(await inputs.read(e, "scratch", "a.csv")).toEqual(content(1));
    });

    it("tells experiments, storages and paths apart, whatever is in their names", async () => {
      const places = [
        [e, "scratch", "a"],
        [experimentId(2), "scratch", "a"],
        [e, "scratch/a", ""],
        [e, "scratch", "/a"],
        [e, "scratch#a", "b"],
        [e, "scratch", "a#b"],
        [e, "scratch", "x".repeat(4096)],
      ] as const;
      for (const [i, [experiment, storage, path]] of places.entries()) await inputs.pin(experiment, storage, path, content(i));
      for (const [i, [experiment, storage, path]] of places.entries())
        expect(await inputs.read(experiment, storage, path)).toEqual(content(i));
    });

    it("forgets an experiment's, and those of no other", async () => {
      for (let i = 0; i < 40; i++) await inputs.pin(e, "scratch", `a${i}`, content(1));
      await inputs.pin(experimentId(2), "scratch", "a0", content(2));
      await inputs.forget(e);
      await inputs.forget(e);
      for (let i = 0; i < 40; i++) expect(await inputs.read(e, "scratch", `a${i}`)).toBeUndefined();
      expect(await inputs.read(experimentId(2), "scratch", "a0")).toEqual(content(2));
    });

    it("gives eight that pin at once the same content", async () => {
      const pinned = await Promise.all(Array.from({ length: 8 }, (_, i) => inputs.pin(e, "scratch", "a", content(i))));
      expect(new Set(pinned.map((p) => p.bytes)).size).toBe(1);
    });
  });
}
