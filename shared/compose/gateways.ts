/** Which gateways answer, and where. They say so themselves every few seconds; one that is silent for longer is not named. */
import type { ExperimentId, GatewayId } from "#domain/id.ts";
import type { GatewayRecord, WorkerStore } from "#ports/worker-store.ts";

const SILENT_MS = 30_000;
const ASKED_EVERY_MS = 2_000;

/** Spreads experiments over gateways, each always at the same one while the same ones are up (rendezvous hashing). */
function scoreOf(experiment: string, gateway: string): number {
  let hash = 0x811c9dc5; // FNV-1a
  for (const c of `${experiment} ${gateway}`) hash = Math.imul(hash ^ (c.codePointAt(0) ?? 0), 0x01000193);
  return hash >>> 0;
}

export function createGateways(deps: { readonly workers: Pick<WorkerStore, "gateways">; readonly clock: { now(): number } }) {
  let asked: Promise<readonly GatewayRecord[]> | undefined;
  let askedMs = 0;
  const known = (): Promise<readonly GatewayRecord[]> => {
    const now = deps.clock.now();
    if (asked === undefined || Math.abs(now - askedMs) > ASKED_EVERY_MS) {
      askedMs = now;
      // A link that can't be told is left out: what was asked for does not fail by it.
      asked = deps.workers.gateways().catch(() => []);
    }
    return asked;
  };
  const up = async () => (await known()).filter((g) => g.url !== undefined && deps.clock.now() - g.beatAtMs < SILENT_MS);
  return {
    async urlFor(experiment: ExperimentId | "", gateway?: GatewayId): Promise<string | undefined> {
      const all = await up();
      const best = all.find((g) => g.id === gateway) ?? all.toSorted((a, b) => scoreOf(experiment, b.id) - scoreOf(experiment, a.id))[0];
      return best?.url;
    },
  };
}
