/**
 * The memory stores, which the simulation trusts, and the DynamoDB stores are one model: random sequences of writes, right and
 * wrong, have the same outcomes and leave the same state and the same hints.
 */
import fc from "fast-check";
import { expect, it } from "vitest";
import { workerName } from "#domain/worker.ts";
import { openMemoryState, type StateSubject } from "../support/dynamo-state.ts";
import { experimentId } from "../support/state.ts";
import { anyStep, BEGINNING, meaningOf, type Step } from "../support/state-steps.ts";

const RUNS = 25;
const STEPS_MAX = 80;
const TIMEOUT_MS = 120_000;

async function hints({ tasks, workers }: StateSubject): Promise<unknown> {
  const open = await Promise.all([1, 2].map((n) => tasks.openSegments(experimentId(n), 100)));
  return {
    open: open
      .flat()
      .map((k) => `${k.experiment}/${k.set}/${k.segment}`)
      .sort(),
    live: (await tasks.liveExperiments(100)).map((e) => e.id).sort(),
    room: (await workers.workersWithRoom(100)).map((w) => workerName(w.key)).sort(),
    workers: (await workers.liveWorkers(100)).map((w) => workerName(w.key)).sort(),
  };
}

export function describeAgreement(name: string, make: () => Promise<StateSubject>): void {
  it(`agree on every outcome and on what is stored: memory and ${name}`, { timeout: TIMEOUT_MS }, async () => {
    const outcomes = new Map<string, number>();
    const agree = async (steps: readonly Step[]): Promise<void> => {
      await using model = await openMemoryState();
      await using real = await make();
      for (const step of [...BEGINNING, ...steps]) {
        const write = meaningOf(step, await model.snapshot());
        if (write === undefined) continue;
        const expected = (await write(model)) as { kind: string; by?: string };
        expect(await write(real), JSON.stringify(step)).toEqual(expected);
        const outcome = `${step.act} ${expected.kind} ${expected.by ?? ""}`;
        outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
      }
      expect(await real.snapshot()).toEqual(await model.snapshot());
      expect(await hints(real)).toEqual(await hints(model));
    };
    await fc.assert(fc.asyncProperty(fc.array(anyStep, { minLength: 20, maxLength: STEPS_MAX, size: "max" }), agree), { numRuns: RUNS });
    console.log(
      [...outcomes]
        .sort()
        .map(([name, n]) => `${name.trim()}: ${n}`)
        .join(", "),
    );
    for (const by of ["gate", "segment", "set", "lease", "worker"])
      expect(
        [...outcomes.keys()].some((o) => o.endsWith(`refused ${by}`)),
        by,
      ).toBe(true);
    for (const act of ["assign", "commit", "settle", "skip", "skipSet", "reopen", "reopenSet", "turn"])
      expect(outcomes.get(`${act} done `) ?? 0, act).toBeGreaterThan(0);
  });
}
