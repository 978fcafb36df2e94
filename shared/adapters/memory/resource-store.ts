/** ResourceStore in memory. */
import type { Resource } from "#domain/resource.ts";
import type { ResourceStore } from "#ports/resource-store.ts";

export function createMemoryResourceStore(): ResourceStore {
  const resources = new Map<string, Resource>();
  return {
    putResource: async (resource) => {
      const stored = resources.get(resource.name);
      if (stored !== undefined && stored.id !== resource.id) return false;
      resources.set(resource.name, { ...resource });
      return true;
    },
    readResource: async (name) => {
      const resource = resources.get(name);
      return resource === undefined ? undefined : { ...resource };
    },
    listResources: async () => [...resources.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map((r) => ({ ...r })),
  };
}
