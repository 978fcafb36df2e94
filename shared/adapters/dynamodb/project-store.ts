/** ProjectStore on DynamoDB. */
import { SchedulerError } from "#domain/error.ts";
import type { ProjectId, UserId } from "#domain/id.ts";
import type { ProjectRecord, ProjectStore } from "#ports/project-store.ts";
import type { DynamoTable, ItemOutcome } from "./client.ts";
import { type Item, keyItem, number, numberOf, text, textOf } from "./codec.ts";
import * as when from "./conditions.ts";
import { projectKey } from "./keys.ts";

const certain = ({ kind }: Pick<ItemOutcome, "kind">): boolean => {
  if (kind === "unknown") throw new SchedulerError("outcome-unknown", "the project may not have been changed; look, then try again");
  return kind === "done";
};

export function createDynamoProjectStore(table: DynamoTable): ProjectStore {
  const put = async (project: ProjectRecord, condition: when.Fragment): Promise<boolean> =>
    certain(await table.write({ by: "set", index: 0, kind: "put", item: projectItem(project), condition }));
  return {
    createProject: (project) => put(project, when.absent),
    readProject: async (id) => {
      const item = await table.get(projectKey(id));
      return item === undefined ? undefined : projectFrom(item);
    },
    readProjects: async (ids) => (await table.getAll(ids.map(projectKey))).map(projectFrom),
    updateProject: (post) => put(post, when.versionIs(post.version - 1)),
    deleteProject: async (id, version) =>
      certain(await table.write({ by: "set", index: 0, kind: "delete", key: projectKey(id), condition: when.versionIs(version) })),
  };
}

const projectItem = (p: ProjectRecord): Item => ({
  ...keyItem(projectKey(p.id)),
  name: text(p.name),
  description: text(p.description),
  creator: text(p.creator),
  archived: { BOOL: p.archived },
  at: number(p.createdAtMs),
  v: number(p.version),
});

const projectFrom = (item: Item): ProjectRecord => ({
  id: textOf(item, "pk").slice("P#".length) as ProjectId,
  name: textOf(item, "name"),
  description: textOf(item, "description"),
  creator: textOf(item, "creator") as UserId,
  archived: item.archived?.BOOL === true,
  createdAtMs: numberOf(item, "at"),
  version: numberOf(item, "v"),
});
