/** CostStore in memory. */
import { addUsage, type Usage } from "#domain/cost.ts";
import type { CostEntry, CostStore } from "#ports/cost-store.ts";

export function createMemoryCostStore(): CostStore {
  const entries = new Map<string, Map<string, CostEntry>>();
  return {
    async save(entry) {
      const written = entries.get(entry.payer) ?? new Map<string, CostEntry>();
      entries.set(entry.payer, written);
      if ((written.get(entry.writer)?.sequence ?? -1) >= entry.sequence) return "superseded";
      written.set(entry.writer, { ...entry, usage: { ...entry.usage } });
      return "saved";
    },
    read: async (payer) => [...(entries.get(payer)?.values() ?? [])].reduce<Usage>((sum, { usage }) => addUsage(sum, usage), {}),
  };
}
