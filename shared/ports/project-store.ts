/** ProjectStore: what projects are called. Who belongs to one is the authorization system's to say. Reads are strongly consistent. */
import type { ProjectId, UserId } from "#domain/id.ts";

export interface ProjectRecord {
  readonly id: ProjectId;
  readonly name: string;
  readonly description: string;
  /** Who made it; means nothing for permissions. */
  readonly creator: UserId;
  /** Takes no new experiments. */
  readonly archived: boolean;
  readonly createdAtMs: number;
  /** Raised by every change. */
  readonly version: number;
}

export interface ProjectStore {
  /** [absent]. `false`: there is one with this id. */
  createProject(project: ProjectRecord): Promise<boolean>;
  readProject(id: ProjectId): Promise<ProjectRecord | undefined>;
  /** In the order of the ids, without those that are absent. */
  readProjects(ids: readonly ProjectId[]): Promise<readonly ProjectRecord[]>;
  /** [version one less than that of `post`]. `false`: it was changed or deleted meanwhile. */
  updateProject(post: ProjectRecord): Promise<boolean>;
  /** [version as given]. */
  deleteProject(id: ProjectId, version: number): Promise<boolean>;
}
