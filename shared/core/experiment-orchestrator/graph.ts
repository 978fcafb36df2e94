/** Which task set waits for which: parents by name, an order with parents first, cycles with their path. */
import { type Complaints, shown } from "#domain/complaints.ts";
import type { ExperimentSpec } from "#domain/spec.ts";
import { suggestName } from "#domain/suggestion.ts";

/** Names that exist, each once; what was wrong has been complained about. */
export interface Parents {
  readonly foreach: readonly string[];
  readonly after: readonly string[];
}

/** Parents of every set, unknown and doubled names complained about and left out. */
export function resolveParents(spec: ExperimentSpec, complaints: Complaints): ReadonlyMap<string, Parents> {
  const names = Object.keys(spec.tasks);
  const resolved = new Map<string, Parents>();
  for (const [name, set] of Object.entries(spec.tasks)) {
    const seen = new Set<string>();
    const keep = (kind: "foreach" | "after"): string[] =>
      set[kind].filter((parent, i) => {
        const path = ["tasks", name, kind, i];
        if (!Object.hasOwn(spec.tasks, parent))
          complaints.add(path, `there is no task set ${shown(parent)}; ${suggestName(parent, names)}`);
        else if (seen.has(parent))
          complaints.add(path, `${parent} is named twice; foreach waits for its task, after for all of them: choose one`);
        else {
          seen.add(parent);
          return true;
        }
        return false;
      });
    resolved.set(name, { foreach: keep("foreach"), after: keep("after") });
  }
  return resolved;
}

/**
 * Names with parents before children; among those that could come next the one that stands first in the file.
 * Sets in or behind a cycle are left out, and the cycle is complained about with its path.
 */
export function orderSets(parents: ReadonlyMap<string, Parents>, complaints: Complaints): readonly string[] {
  const waiting = new Map([...parents].map(([name, of]) => [name, new Set([...of.foreach, ...of.after])]));
  const order: string[] = [];
  for (;;) {
    const next = [...waiting].find(([, left]) => left.size === 0)?.[0];
    if (next === undefined) break;
    waiting.delete(next);
    order.push(next);
    for (const left of waiting.values()) left.delete(next);
  }
  if (waiting.size > 0) {
    const cycle = findCycle(waiting);
    complaints.add(["tasks", cycle[0] ?? ""], `waits for itself: ${cycle.join(" -> ")}; an arrow points to what is waited for`, "key");
  }
  return order;
}

/** A walk along unfinished parents must come back to a set it has passed; from there on it is the cycle. */
function findCycle(waiting: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  const walk: string[] = [];
  let at = [...waiting.keys()][0] ?? "";
  while (!walk.includes(at)) {
    walk.push(at);
    at = [...(waiting.get(at) ?? [])][0] ?? "";
  }
  return [...walk.slice(walk.indexOf(at)), at];
}
