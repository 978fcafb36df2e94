/** InputStore in memory. */
import type { InputStore, PinnedInput } from "#ports/input-store.ts";

export function createMemoryInputStore(): InputStore {
  const pinned = new Map<string, PinnedInput>();
  const keyOf = (...parts: readonly string[]) => JSON.stringify(parts);
  return {
    read: async (experiment, storage, path) => {
      const found = pinned.get(keyOf(experiment, storage, path));
      return found === undefined ? undefined : { ...found };
    },
    pin: async (experiment, storage, path, input) => {
      const key = keyOf(experiment, storage, path);
      const first = pinned.get(key) ?? { ...input };
      pinned.set(key, first);
      return { ...first };
    },
    forget: async (experiment) => {
      for (const key of pinned.keys()) if ((JSON.parse(key) as string[])[0] === experiment) pinned.delete(key);
    },
  };
}
