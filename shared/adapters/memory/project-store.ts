/** ProjectStore in memory. */
import type { ProjectRecord, ProjectStore } from "#ports/project-store.ts";

/** `projects`: shared with the memory table, whose experiments are put into open projects only. */
export function createMemoryProjectStore(projects: Map<string, ProjectRecord> = new Map()): ProjectStore {
  const copy = (project: ProjectRecord | undefined) => (project === undefined ? undefined : { ...project });
  return {
    createProject: async (project) => {
      if (projects.has(project.id)) return false;
      projects.set(project.id, { ...project });
      return true;
    },
    readProject: async (id) => copy(projects.get(id)),
    readProjects: async (ids) => [...new Set(ids)].map((id) => copy(projects.get(id))).filter((p) => p !== undefined),
    updateProject: async (post) => {
      if (projects.get(post.id)?.version !== post.version - 1) return false;
      projects.set(post.id, { ...post });
      return true;
    },
    deleteProject: async (id, version) => projects.get(id)?.version === version && projects.delete(id),
  };
}
