/** `npm run bench -- <name> [options]`: measures this machine; docs/BENCH.md says what and how. */
import { parseArgs } from "node:util";
import { benchApi } from "./api.ts";
import { benchCost, COST_SHAPES, type CostShape } from "./cost.ts";
import { benchColdStart } from "./coldstart.ts";
import { benchDispatch } from "./dispatch.ts";
import { benchEndToEnd } from "./endtoend.ts";
import { benchLatency } from "./latency.ts";
import { benchSubmit } from "./submit.ts";

const USAGE = `npm run bench -- submit [--runs 21]
npm run bench -- api [--tasks 1000000] [--requests 200]
npm run bench -- dispatch [--tasks 1000000] [--workers 32] [--slots 64] [--prefetch 400]
npm run bench -- latency [--runs 100]
npm run bench -- coldstart [--runs 21]
npm run bench -- cost [--tasks 50000] [--shape sweep|dag] [--slots N]
npm run bench -- endtoend [--tasks 5000]
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    requests: { type: "string" },
    runs: { type: "string" },
    tasks: { type: "string" },
    workers: { type: "string", default: "32" },
    slots: { type: "string" },
    shape: { type: "string" },
    prefetch: { type: "string", default: "400" },
  },
});

const LIMITS = { requests: 10_000, runs: 1_000, tasks: 10_000_000, workers: 256, slots: 1_024, prefetch: 400 } as const;

function count(name: keyof typeof LIMITS, without = ""): number {
  const n = Number(values[name] ?? without);
  if (!Number.isInteger(n) || n < 1 || n > LIMITS[name]) throw new Error(`--${name} takes 1 to ${LIMITS[name]}, not ${values[name]}`);
  return n;
}

function shapeOf(text: string): CostShape {
  const shape = COST_SHAPES.find((s) => s === text);
  if (shape === undefined) throw new Error(`--shape takes ${COST_SHAPES.join(" or ")}, not ${text}`);
  return shape;
}

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  coldstart: () => benchColdStart({ runs: count("runs", "21") }),
  submit: () => benchSubmit({ runs: count("runs", "21") }),
  latency: () => benchLatency({ runs: count("runs", "100") }),
  endtoend: () => benchEndToEnd({ tasks: count("tasks", "5000") }),
  cost: () =>
    benchCost({
      tasks: count("tasks", "50000"),
      ...(values.shape === undefined ? {} : { shape: shapeOf(values.shape) }),
      ...(values.slots === undefined ? {} : { slots: count("slots") }),
    }),
  api: () => benchApi({ requests: count("requests", "200"), tasks: count("tasks", "1000000") }),
  dispatch: () =>
    benchDispatch({
      tasks: count("tasks", "1000000"),
      workers: count("workers"),
      slots: count("slots", "64"),
      prefetchPercent: count("prefetch"),
    }),
};

const bench = BENCHES[positionals[0] ?? ""];
if (bench === undefined || positionals.length !== 1) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  await bench();
}
