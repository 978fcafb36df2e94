/** Submitting a sweep costs the same whatever its size: from the bytes of the file to RUNNING, by the real orchestrator. */
import { type Engine, openEngine, openRooms, submitSweep } from "./engine.ts";
import { median, report } from "./report.ts";

const BENCH = "submit";
const SIZES = [1_000, 1_000_000] as const;
const WARM_UPS = 5;

export async function benchSubmit({ runs }: { readonly runs: number }): Promise<void> {
  await using engine = await openEngine();
  const rooms = openRooms(engine);
  for (let i = 0; i < WARM_UPS; i++) for (const tasks of SIZES) await submitSweep(engine, rooms, tasks);
  const timesMs = new Map<number, number[]>(SIZES.map((tasks) => [tasks, []]));
  // In turn, so that a busy moment of the machine meets both sizes.
  for (let i = 0; i < runs; i++) for (const tasks of SIZES) timesMs.get(tasks)?.push(await submitOnce(engine, rooms, tasks, i === 0));
  const medians = SIZES.map((tasks) => median(timesMs.get(tasks) ?? []));
  SIZES.forEach((tasks, i) => {
    const all = timesMs.get(tasks) ?? [];
    report({ bench: BENCH, name: "time", value: medians[i] ?? Number.NaN, unit: "ms", tasks, runs, worst: Math.round(Math.max(...all)) });
  });
  report({
    bench: BENCH,
    name: "ratio",
    value: (medians[1] ?? Number.NaN) / (medians[0] ?? Number.NaN),
    unit: "1",
    of: SIZES.join(" and "),
  });
}

async function submitOnce(engine: Engine, rooms: ReturnType<typeof openRooms>, tasks: number, reported: boolean): Promise<number> {
  engine.takeCounts();
  const startMs = performance.now();
  await submitSweep(engine, rooms, tasks);
  const tookMs = performance.now() - startMs;
  const { items, writeUnits } = engine.takeCounts();
  if (reported) {
    report({ bench: BENCH, name: "items", value: items, unit: "items written", tasks });
    report({ bench: BENCH, name: "write-units", value: writeUnits, unit: "write units", tasks });
  }
  return tookMs;
}
