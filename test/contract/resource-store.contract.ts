/** What every ResourceStore must do. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeId } from "#domain/id.ts";
import type { Resource } from "#domain/resource.ts";
import type { ResourceStore } from "#ports/resource-store.ts";
import { NOW_MS, userId } from "../support/state.ts";
import type { Subject } from "../support/subject.ts";

const id = (n: number) => makeId("resource", NOW_MS, new Uint8Array(10).fill(n));
const folder = (n: number, name: string, root = "/data"): Resource => ({
  id: id(n),
  name,
  owner: userId(1),
  createdAtMs: NOW_MS,
  kind: "POSIX",
  root,
});
const machine = (n: number, name: string): Resource => ({ id: id(n), name, owner: userId(2), createdAtMs: NOW_MS, kind: "LOCAL" });

export function describeResourceStore(name: string, make: () => Promise<Subject<ResourceStore>>): void {
  describe(`ResourceStore: ${name}`, () => {
    let made: Subject<ResourceStore>;
    let resources: ResourceStore;
    beforeEach(async () => {
      made = await make();
      resources = made.subject;
    });
    afterEach(() => made[Symbol.asyncDispose]());

    it("reads back every kind and lists by name", async () => {
      expect(await resources.listResources()).toEqual([]);
      for (const r of [folder(1, "scratch"), machine(2, "local"), folder(3, "archive", "/päth with space")])
        expect(await resources.putResource(r)).toBe(true);
      expect(await resources.readResource("local")).toEqual(machine(2, "local"));
      expect(await resources.listResources()).toEqual([
        folder(3, "archive", "/päth with space"),
        machine(2, "local"),
        folder(1, "scratch"),
      ]);
      expect(await resources.readResource("nothing")).toBeUndefined();
    });

    it("replaces a resource by itself and not by another of its name", async () => {
      await resources.putResource(folder(1, "scratch"));
      expect(await resources.putResource(folder(2, "scratch", "/elsewhere"))).toBe(false);
      expect(await resources.readResource("scratch")).toEqual(folder(1, "scratch"));
      expect(await resources.putResource(folder(1, "scratch", "/new"))).toBe(true);
      expect(await resources.readResource("scratch")).toEqual(folder(1, "scratch", "/new"));
    });
  });
}
