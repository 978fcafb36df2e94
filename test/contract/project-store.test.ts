/** What every ProjectStore must do, on memory and on DynamoDB's API; and that an experiment is put into an open project only. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDynamoProjectStore } from "#adapters/dynamodb/project-store.ts";
import { createMemoryProjectStore } from "#adapters/memory/project-store.ts";
import { createMemoryTable } from "#adapters/memory/table.ts";
import { createMemoryTaskStore } from "#adapters/memory/task-store.ts";
import { makeId, type ProjectId } from "#domain/id.ts";
import type { ProjectRecord, ProjectStore } from "#ports/project-store.ts";
import type { TaskStore } from "#ports/task-store.ts";
import { openDynamoState } from "../support/dynamo-state.ts";
import { type Emulator, hasDynoxide, startDynoxide } from "../support/emulators/dynoxide.ts";
import { anExperiment, experimentId, NOW_MS, userId } from "../support/state.ts";

const projectId = (n: number): ProjectId => makeId("project", NOW_MS, new Uint8Array(10).fill(n));
const aProject = (n: number, over: Partial<ProjectRecord> = {}): ProjectRecord => ({
  ...{ id: projectId(n), name: `project ${n}`, description: "", creator: userId(1), archived: false, createdAtMs: NOW_MS, version: 1 },
  ...over,
});

interface Opened {
  readonly projects: ProjectStore;
  readonly tasks: TaskStore;
}

function describeProjects(name: string, open: () => Promise<Opened>): void {
  describe(`ProjectStore: ${name}`, () => {
    let projects: ProjectStore;
    let tasks: TaskStore;
    beforeAll(async () => {
      ({ projects, tasks } = await open());
    });

    it("keeps a project as it was written, changes it as it was read, deletes it as it was read", async () => {
      expect(await projects.createProject(aProject(1))).toBe(true);
      expect(await projects.createProject(aProject(1, { name: "another" }))).toBe(false);
      const posts = ["a", "b"].map((text) => aProject(1, { name: text, archived: true, version: 2 }));
      const applied = await Promise.all(posts.map((post) => projects.updateProject(post)));
      expect([...applied].sort()).toEqual([false, true]);
      expect(await projects.readProject(projectId(1))).toEqual(posts[applied.indexOf(true)]);
      await projects.createProject(aProject(2));
      expect(await projects.readProjects([projectId(2), projectId(9), projectId(1)])).toEqual([aProject(2), posts[applied.indexOf(true)]]);
      expect(await projects.deleteProject(projectId(1), 1)).toBe(false);
      expect(await projects.deleteProject(projectId(1), 2)).toBe(true);
      expect(await projects.deleteProject(projectId(1), 2)).toBe(false);
      expect(await projects.updateProject(aProject(1, { version: 3 }))).toBe(false);
      expect(await projects.readProject(projectId(1))).toBeUndefined();
    });

    it("has experiments only where it is and is not archived, and lists them newest first, page by page", async () => {
      const project = projectId(3);
      const make = (n: number) =>
        tasks.createExperiment(anExperiment({ id: experimentId(40 + n), project, createdAtMs: NOW_MS + n, owner: userId(n) }), []);
      const refused = { kind: "refused", by: "project", index: 0 };
      expect(await make(1)).toEqual(refused);
      await projects.createProject(aProject(3));
      for (const n of [1, 3, 2]) expect(await make(n)).toEqual({ kind: "done" });
      await projects.updateProject(aProject(3, { archived: true, version: 2 }));
      expect(await make(4)).toEqual(refused);
      expect(await tasks.readExperiment(experimentId(44))).toBeUndefined();
      const first = await tasks.listProject(project, { limit: 2 });
      expect(first.items.map((e) => e.id)).toEqual([experimentId(43), experimentId(42)]);
      const second = await tasks.listProject(project, { limit: 2, cursor: first.cursor as string });
      expect(second.items).toEqual([await tasks.readExperiment(experimentId(41))]);
      expect(second.items[0]?.project).toBe(project);
      expect((await tasks.listProject(projectId(4), { limit: 2 })).items).toEqual([]);
      await expect(tasks.listProject(project, { limit: 2, cursor: "nonsense" })).rejects.toMatchObject({ kind: "invalid-input" });
    });
  });
}

describeProjects("memory", async () => {
  const table = createMemoryTable();
  return { projects: createMemoryProjectStore(table.projects), tasks: createMemoryTaskStore(table) };
});

describe.runIf(hasDynoxide)("dynoxide", () => {
  let dynoxide: Emulator;
  beforeAll(async () => {
    dynoxide = await startDynoxide();
  });
  afterAll(() => dynoxide[Symbol.asyncDispose]());
  describeProjects("dynoxide", async () => {
    const { table, tasks } = await openDynamoState({ endpoint: dynoxide.endpoint });
    return { projects: createDynamoProjectStore(table), tasks };
  });
});
