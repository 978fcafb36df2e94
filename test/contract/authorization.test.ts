/** The contract of the Authorization port: the same cases on memory and on SpiceDB's API (embedded engine as a process). */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { v1 } from "@authzed/authzed-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createMemoryAuthorization } from "#adapters/memory/authorization.ts";
import { createSpiceDbAuthorization } from "#adapters/spicedb/authorization.ts";
import { connectSpiceDb } from "#adapters/spicedb/client.ts";
import { installSchema } from "#adapters/spicedb/schema.ts";
import type { Authorization, ObjectRef, Relation } from "#ports/authorization.ts";
import { openRelationshipJournal } from "../../local/relationship-journal.ts";
import { type EngineProcess, startEngineProcess } from "../support/authorization-engine.ts";

let made = 0;
const fresh = (type: ObjectRef["type"]): ObjectRef => ({ type, id: `${type}_${process.pid}_${Date.now()}_${made++}` });
const aUser = () => fresh("user");
const EVERYBODY: ObjectRef = { type: "user", id: "*" };
const to = (object: ObjectRef, relation: string, subject: ObjectRef): Relation => ({ object, relation, subject });
const FULLY_CONSISTENT = v1.Consistency.create({ requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } });
const invalid = { name: "SchedulerError", kind: "invalid-input" };

interface Subject {
  readonly name: string;
  open(): Promise<Authorization & { close?(): void }>;
  close(): Promise<void>;
}

const subjects: Subject[] = [{ name: "memory", open: async () => createMemoryAuthorization(), close: async () => {} }];
let shared: EngineProcess | undefined;
subjects.push({
  name: "SpiceDB, embedded engine",
  async open() {
    shared = await startEngineProcess();
    await installSchema({ ...shared, transport: "plaintext" });
    return createSpiceDbAuthorization({ ...shared, transport: "plaintext" });
  },
  close: async () => shared?.[Symbol.asyncDispose](),
});
const [realEndpoint, realKey] = [process.env.SPICEDB_ENDPOINT, process.env.SPICEDB_PRESHARED_KEY];
if (realEndpoint !== undefined && realKey !== undefined) {
  const real = { endpoint: realEndpoint, presharedKey: realKey, transport: "plaintext" } as const;
  subjects.push({
    name: "SpiceDB, server",
    async open() {
      await installSchema(real);
      return createSpiceDbAuthorization(real);
    },
    close: async () => {},
  });
}

describe.each(subjects)("Authorization on $name", (subject) => {
  let authorization: Authorization & { close?(): void };
  beforeAll(async () => {
    authorization = await subject.open();
  }, 30_000);
  afterAll(async () => {
    authorization.close?.();
    await subject.close();
  });

  test("an owner may view and edit the experiment, others may not", async () => {
    const [experiment, owner, other] = [fresh("experiment"), aUser(), aUser()];
    await authorization.write([to(experiment, "owner", owner)]);
    expect(await authorization.check(owner, "view", experiment)).toBe(true);
    expect(await authorization.check(owner, "edit", experiment)).toBe(true);
    expect(await authorization.check(other, "view", experiment)).toBe(false);
    expect(await authorization.check(other, "edit", experiment)).toBe(false);
  });

  test("an administrator of the deployment reaches what belongs to it, and only that", async () => {
    const [deployment, elsewhere, admin, owner] = [fresh("deployment"), fresh("deployment"), aUser(), aUser()];
    const [inside, outside, compute] = [fresh("experiment"), fresh("experiment"), fresh("compute_resource")];
    await authorization.write([
      to(deployment, "admin", admin),
      to(inside, "owner", owner),
      to(inside, "deployment", deployment),
      to(outside, "owner", owner),
      to(outside, "deployment", elsewhere),
      to(compute, "deployment", deployment),
    ]);
    expect(await authorization.check(admin, "administer", deployment)).toBe(true);
    expect(await authorization.check(owner, "administer", deployment)).toBe(false);
    expect(await authorization.check(admin, "edit", inside)).toBe(true);
    expect(await authorization.check(admin, "view", outside)).toBe(false);
    expect(await authorization.check(admin, "use", compute)).toBe(true);
    expect(await authorization.check(admin, "edit", compute)).toBe(true);
  });

  test.each(["compute_resource", "storage_resource"] as const)("users of a %s may use it and not edit it", async (type) => {
    const [resource, owner, user, other] = [fresh(type), aUser(), aUser(), aUser()];
    await authorization.write([to(resource, "owner", owner), to(resource, "user", user)]);
    expect(await authorization.check(owner, "edit", resource)).toBe(true);
    expect(await authorization.check(owner, "use", resource)).toBe(true);
    expect(await authorization.check(user, "use", resource)).toBe(true);
    expect(await authorization.check(user, "edit", resource)).toBe(false);
    expect(await authorization.check(other, "use", resource)).toBe(false);
  });

  test.each([
    ["owner", [true, true, true, true, true, true]],
    ["editor", [true, true, true, false, true, true]],
    ["viewer", [true, true, false, false, true, false]],
    ["none", [false, false, false, false, false, false]],
  ] as const)("a project's %s reaches the project and its experiments as far as the role goes", async (role, expected) => {
    const [project, experiment, elsewhere, user] = [fresh("project"), fresh("experiment"), fresh("experiment"), aUser()];
    await authorization.write([to(experiment, "project", project), to(elsewhere, "project", fresh("project"))]);
    if (role !== "none") await authorization.write([to(project, role, user)]);
    const asked = ["belong", "view", "edit", "manage"].map((permission) => authorization.check(user, permission, project));
    const ofExperiment = ["view", "edit"].map((permission) => authorization.check(user, permission, experiment));
    expect(await Promise.all([...asked, ...ofExperiment])).toEqual(expected);
    expect(await authorization.check(user, "view", elsewhere)).toBe(false);
    expect(await authorization.find(user, "belong", "project")).toEqual(role === "none" ? [] : [project.id]);
  });

  test("a role that takes the place of another is there at once, and one that is taken away is gone for the next check", async () => {
    const [project, experiment, user] = [fresh("project"), fresh("experiment"), aUser()];
    await authorization.write([to(experiment, "project", project), to(project, "editor", user)]);
    await authorization.change({ write: [to(project, "viewer", user)], remove: [to(project, "editor", user), to(project, "owner", user)] });
    expect(await authorization.checkMany(user, "edit", [experiment, project])).toEqual([false, false]);
    expect(await authorization.check(user, "view", experiment)).toBe(true);
    for (let i = 0; i < 25; i++) {
      await authorization.write([to(project, "viewer", user)]);
      expect(await authorization.check(user, "view", experiment)).toBe(true);
      await authorization.remove([to(project, "viewer", user)]);
      expect(await authorization.check(user, "view", experiment)).toBe(false);
      expect(await authorization.find(user, "view", "experiment")).toEqual([]);
    }
  });

  test("groups within groups pass a role on to their members, until they leave", async () => {
    const [project, outer, inner, user] = [fresh("project"), fresh("group"), fresh("group"), aUser()];
    const members = (group: ObjectRef) => ({ ...group, relation: "member" });
    await authorization.write([to(project, "editor", members(outer)), to(outer, "member", members(inner)), to(inner, "member", user)]);
    expect(await authorization.check(user, "edit", project)).toBe(true);
    expect(await authorization.find(user, "belong", "project")).toEqual([project.id]);
    await authorization.remove([to(inner, "member", user)]);
    expect(await authorization.check(user, "view", project)).toBe(false);
    await expect(authorization.write([to(fresh("experiment"), "owner", members(outer))])).rejects.toMatchObject(invalid);
  });

  test("an administrator reaches every project of the deployment and belongs to none by that", async () => {
    const [deployment, project, admin] = [fresh("deployment"), fresh("project"), aUser()];
    await authorization.write([to(deployment, "admin", admin), to(project, "deployment", deployment)]);
    expect(await authorization.check(admin, "manage", project)).toBe(true);
    expect(await authorization.find(admin, "belong", "project")).toEqual([]);
    expect(await authorization.find(admin, "view", "project")).toEqual([project.id]);
  });

  test("tells what was written about an object, in order, and nothing of others", async () => {
    const [project, one, two] = [fresh("project"), aUser(), aUser()];
    const group = { ...fresh("group"), relation: "member" };
    const written = [to(project, "editor", one), to(project, "editor", two), to(project, "viewer", group)];
    await authorization.write([...written, to(fresh("project"), "owner", one)]);
    expect(await authorization.relationsOf(project)).toEqual(written);
    await authorization.remove([written[0] as Relation]);
    expect(await authorization.relationsOf(project)).toEqual(written.slice(1));
    expect(await authorization.relationsOf(fresh("project"))).toEqual([]);
  });

  test("a resource opened to everybody is used by users unknown until then, and closed again", async () => {
    const [resource, user] = [fresh("compute_resource"), aUser()];
    await authorization.write([to(resource, "user", EVERYBODY)]);
    expect(await authorization.check(user, "use", resource)).toBe(true);
    expect(await authorization.check(user, "edit", resource)).toBe(false);
    await authorization.remove([to(resource, "user", EVERYBODY)]);
    expect(await authorization.check(user, "use", resource)).toBe(false);
  });

  test("nothing is allowed on an object that nobody wrote about", async () => {
    expect(await authorization.check(aUser(), "view", fresh("experiment"))).toBe(false);
  });

  test("writing what exists and removing what does not are no-ops", async () => {
    const [experiment, owner, other] = [fresh("experiment"), aUser(), aUser()];
    const relation = to(experiment, "owner", owner);
    await authorization.write([relation, relation]);
    await authorization.write([relation]);
    await authorization.remove([to(experiment, "owner", other)]);
    expect(await authorization.check(owner, "view", experiment)).toBe(true);
    await authorization.remove([relation, relation]);
    expect(await authorization.check(owner, "view", experiment)).toBe(false);
    await authorization.remove([relation]);
    await authorization.write([]);
    await authorization.remove([]);
  });

  test("a write is refused as a whole when one of its relations is wrong", async () => {
    const [experiment, owner] = [fresh("experiment"), aUser()];
    const wrong = [to(experiment, "friend_of", owner), to(experiment, "owner", EVERYBODY), to(experiment, "owner", fresh("deployment"))];
    for (const bad of wrong) {
      await expect(authorization.write([to(experiment, "owner", owner), bad])).rejects.toMatchObject(invalid);
    }
    await expect(
      authorization.write([to(experiment, "owner", owner), to({ type: "experiment", id: "a b" }, "owner", owner)]),
    ).rejects.toMatchObject(invalid);
    await expect(authorization.write([to({ type: "experiment", id: "*" }, "owner", owner)])).rejects.toMatchObject(invalid);
    expect(await authorization.check(owner, "view", experiment)).toBe(false);
  });

  test("a question about a permission that does not exist is a mistake, not a no", async () => {
    await expect(authorization.check(aUser(), "fly", fresh("experiment"))).rejects.toMatchObject(invalid);
    await expect(authorization.checkMany(aUser(), "fly", [fresh("experiment")])).rejects.toMatchObject(invalid);
    await expect(authorization.check(EVERYBODY, "view", fresh("experiment"))).rejects.toMatchObject(invalid);
  });

  test("many objects are answered in the order given, repetitions included", async () => {
    const owner = aUser();
    const objects = Array.from({ length: 1_203 }, () => fresh("experiment"));
    const own = objects.filter((_, i) => i % 3 === 0);
    await authorization.write(own.map((object) => to(object, "owner", owner)));
    const asked = [...objects, ...objects.slice(0, 2)];
    const answers = await authorization.checkMany(owner, "view", asked);
    expect(answers).toEqual(asked.map((object) => own.includes(object)));
    expect(await authorization.checkMany(owner, "view", [])).toEqual([]);
  });

  test("a thousand relations are one write, more are refused before any effect", async () => {
    const owner = aUser();
    const relations = Array.from({ length: 1_001 }, () => to(fresh("experiment"), "owner", owner));
    await expect(authorization.write(relations)).rejects.toMatchObject({ kind: "too-large" });
    const first = relations[0] as Relation;
    expect(await authorization.check(owner, "view", first.object)).toBe(false);
    await authorization.write(relations.slice(0, 1_000));
    expect(await authorization.check(owner, "view", first.object)).toBe(true);
  });

  test("writes made at once are all there afterwards", async () => {
    const pairs = Array.from({ length: 50 }, () => ({ owner: aUser(), experiment: fresh("experiment") }));
    await Promise.all(pairs.map(({ owner, experiment }) => authorization.write([to(experiment, "owner", owner)])));
    const answers = await Promise.all(pairs.map(({ owner, experiment }) => authorization.check(owner, "view", experiment)));
    expect(answers.every(Boolean)).toBe(true);
  });
});

describe("the embedded engine", () => {
  const [owner, other] = [aUser(), aUser()];
  const experiment = fresh("experiment");

  test("keeps every answered change through kill -9, and is found again by the same client", async () => {
    await using engine = await startEngineProcess();
    const authorization = createSpiceDbAuthorization({ ...engine, transport: "plaintext", deadlineMs: 2_000 });
    await authorization.write([to(experiment, "owner", owner), to(experiment, "owner", other)]);
    await authorization.remove([to(experiment, "owner", other)]);
    await engine.kill("SIGKILL");
    await expect(authorization.check(owner, "view", experiment)).rejects.toMatchObject({ kind: "unavailable" });
    await expect(authorization.write([to(experiment, "owner", other)])).rejects.toMatchObject({ kind: "unavailable" });
    await engine.restart();
    await expect.poll(() => authorization.check(owner, "view", experiment).catch(() => "unavailable"), { timeout: 5_000 }).toBe(true);
    expect(await authorization.check(other, "view", experiment)).toBe(false);
    authorization.close();
  }, 30_000);

  test("keeps changes answered while it is killed in the middle of many", async () => {
    await using engine = await startEngineProcess();
    const authorization = createSpiceDbAuthorization({ ...engine, transport: "plaintext" });
    const answered: ObjectRef[] = [];
    const writes = Array.from({ length: 200 }, async () => {
      const object = fresh("experiment");
      await authorization.write([to(object, "owner", owner)]);
      answered.push(object);
      if (answered.length === 20) void engine.kill("SIGKILL");
    });
    await Promise.allSettled(writes);
    await engine.kill("SIGKILL");
    expect(answered.length).toBeGreaterThanOrEqual(20);
    await engine.restart();
    await expect
      .poll(() => authorization.check(owner, "view", answered[0] as ObjectRef).catch(() => "unavailable"), { timeout: 5_000 })
      .toBe(true);
    expect((await authorization.checkMany(owner, "view", answered)).every(Boolean)).toBe(true);
    authorization.close();
  }, 30_000);

  test("serves SpiceDB's own API: filters delete and list, and what they deleted stays deleted", async () => {
    await using engine = await startEngineProcess();
    const client = connectSpiceDb({ ...engine, transport: "plaintext" });
    const authorization = createSpiceDbAuthorization({ ...engine, transport: "plaintext" });
    const kept = fresh("experiment");
    await authorization.write([to(experiment, "owner", owner), to(experiment, "owner", other), to(kept, "owner", owner)]);
    const filter = { resourceType: "experiment", optionalResourceId: "", optionalResourceIdPrefix: "", optionalRelation: "owner" };
    const list = () =>
      client.promises.readRelationships(v1.ReadRelationshipsRequest.create({ consistency: FULLY_CONSISTENT, relationshipFilter: filter }));
    expect(await list()).toHaveLength(3);
    await client.promises.deleteRelationships(
      v1.DeleteRelationshipsRequest.create({ relationshipFilter: { ...filter, optionalResourceId: experiment.id } }),
    );
    await engine.kill("SIGKILL");
    await engine.restart();
    await expect.poll(() => list().catch(() => []), { timeout: 5_000 }).toHaveLength(1);
    expect((await list())[0]?.relationship?.resource?.objectId).toBe(kept.id);
    authorization.close();
    client.close();
  }, 30_000);

  test("refuses a journal of another version and one that another engine has open", async () => {
    await using engine = await startEngineProcess();
    const path = join(engine.folder, "relationships.sqlite");
    expect(() => openRelationshipJournal(path)).toThrow(/in use by another authorization engine/);
    await engine.kill("SIGTERM");
    const db = new DatabaseSync(path);
    db.exec("PRAGMA user_version = 7");
    db.close();
    await expect(engine.restart()).rejects.toThrow(/has format 7, this program reads 1/);
  }, 30_000);

  test("refuses another key and says what to do", async () => {
    await using engine = await startEngineProcess();
    const authorization = createSpiceDbAuthorization({ ...engine, presharedKey: "another", transport: "plaintext" });
    await expect(authorization.check(owner, "view", experiment)).rejects.toMatchObject({
      kind: "unavailable",
      message: expect.stringContaining("preshared key"),
    });
    authorization.close();
  }, 30_000);

  test("ends by itself when its supervisor is gone", async () => {
    await using engine = await startEngineProcess();
    expect(await engine.orphan()).toBe(0);
    expect(readdirSync(engine.folder)).toContain("relationships.sqlite");
  }, 30_000);
});
