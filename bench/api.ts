/**
 * API: status and pages of tasks of a sweep of a million tasks, half of it done, through the real HTTP application on the
 * embedded engine. Account, permission, rate and idempotency checks are in memory: their stores are not what is measured.
 */
import { assert } from "#domain/error.ts";
import { createHttpApp } from "#functions/http/index.ts";
import type { HttpDeps } from "#functions/http/deps.ts";
import { createMemoryRateLimiter } from "#adapters/memory/rate-limiter.ts";
import { halfDone } from "./dispatch.ts";
import { type Engine, openEngine, openRooms } from "./engine.ts";
import { report } from "./report.ts";

const BENCH = "api";

type Rooms = ReturnType<typeof openRooms>;
const WARM_UPS = 20;

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;

/** All that reading one experiment asks for; its owner asks. */
function readingDeps({ clock, logger, owner }: Engine, { orchestrator, scheduler }: Rooms): HttpDeps {
  const user = { id: owner, name: "owner" };
  const deps: Partial<HttpDeps> = {
    ...{ orchestrator, scheduler, clock, logger, corsOrigins: [], version: "bench", deploymentId: "bench" },
    charging: (_, work) => work(),
    gateways: { urlFor: async () => undefined },
    rate: { limiter: createMemoryRateLimiter(clock), perSecond: 1_000_000, burst: 1_000_000 },
  };
  const parts = {
    accounts: { authenticate: async () => ({ user, scopes: ["read"], by: { kind: "session" } }) },
    authorization: { check: async () => true },
  };
  return { ...deps, ...parts } as unknown as HttpDeps;
}

export async function benchApi({ requests, tasks }: { readonly requests: number; readonly tasks: number }): Promise<void> {
  await using engine = await openEngine();
  const rooms = openRooms(engine);
  const { experiment, done } = await halfDone(engine, rooms, tasks);
  const app = createHttpApp(readingDeps(engine, rooms));
  const headers = { authorization: "Bearer token" };
  const get = async (path: string): Promise<unknown> => {
    const response = await app.fetch(new Request(`http://localhost/v1/experiments/${experiment}${path}`, { headers }));
    assert(response.status === 200, `${path} answered ${response.status}`);
    return response.json();
  };
  const middle = Math.floor(tasks / 2);
  const pages: readonly (readonly [name: string, path: string])[] = [
    ["status", ""],
    ["tasks", "/tasks?limit=100"],
    ["tasks-middle", `/tasks?limit=100&cursor=0.${middle}`],
    ["tasks-running", "/tasks?limit=100&state=RUNNING"],
    ["tasks-queued", "/tasks?limit=100&state=QUEUED"],
    ["tasks-failed", "/tasks?limit=100&state=FAILED"],
    ["tasks-parameter", `/tasks?limit=100&parameter=I%3D${tasks - 7}`],
    ["explain", "/explain"],
  ];
  for (const [name, path] of pages) {
    for (let i = 0; i < WARM_UPS; i++) await get(path);
    engine.takeCounts();
    const times: number[] = [];
    for (let i = 0; i < requests; i++) {
      const startMs = performance.now();
      await get(path);
      times.push(performance.now() - startMs);
    }
    times.sort((a, b) => a - b);
    const facts = { request: name, tasks, done, requests, readUnits: engine.takeCounts().readUnits / requests };
    report({ bench: BENCH, name: "p50", value: at(times, 0.5), unit: "ms", ...facts });
    report({ bench: BENCH, name: "p95", value: at(times, 0.95), unit: "ms", ...facts });
  }
}
