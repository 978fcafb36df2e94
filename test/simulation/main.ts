/**
 * `npm run simulate -- --seeds N [--from S] [--drop RULE]`: runs N seeded worlds, prints the seeds that broke an
 * invariant. `--directed RACE` runs one race of directed.ts instead, at every point of it.
 *
 * Segments hold 32 tasks here instead of 4,096, by changing that one constant while it is loaded; `--drop` changes the
 * code in the same way, so that a rule of the protocol is missing (see mutations.ts).
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Edit, MUTATIONS } from "./mutations.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "200" },
    from: { type: "string", default: "0" },
    drop: { type: "string" },
    directed: { type: "string" },
    until: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
  },
});

const SMALL_SEGMENTS: Edit = {
  file: "shared/domain/index-set.ts",
  find: "export const SEGMENT_TASKS = 4096;",
  replace: "export const SEGMENT_TASKS = 32;",
};
const dropped = values.drop === undefined ? [] : MUTATIONS[values.drop];
if (dropped === undefined) {
  process.stderr.write(`there is no rule ${values.drop}; the rules are ${Object.keys(MUTATIONS).join(", ")}\n`);
  process.exit(2);
}

const edits = [SMALL_SEGMENTS, ...dropped];
const missed = new Set(edits);
registerHooks({
  load(url, context, next) {
    const mine = url.startsWith("file:") ? edits.filter((e) => fileURLToPath(url).endsWith(e.file)) : [];
    if (mine.length === 0) return next(url, context);
    let source = readFileSync(fileURLToPath(url), "utf8");
    for (const e of mine) {
      if (source.split(e.find).length !== 2) throw new Error(`the text to change must occur once in ${e.file}: ${e.find}`);
      source = source.replace(e.find, () => e.replace);
      missed.delete(e);
    }
    return { format: "module-typescript", source, shortCircuit: true };
  },
});

process.exit((await (values.directed === undefined ? runSeeds() : runDirected(values.directed))) ? 0 : 1);

function allLoaded(): void {
  if (missed.size > 0) throw new Error(`never loaded: ${[...missed].map((e) => e.file).join(", ")}`);
}

/** True when the race did no harm. */
async function runDirected(name: string): Promise<boolean> {
  const { RACES, runRace } = await import("./directed.ts");
  const { Violation } = await import("./checker.ts");
  allLoaded();
  const race = RACES[name];
  if (race === undefined) throw new Error(`there is no race ${name}; the races are ${Object.keys(RACES).join(", ")}`);
  try {
    process.stdout.write(`${name}: ${await runRace(race)} points, 0 violations\n`);
    return true;
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    process.stdout.write(`${name}: ${error.message}\n${name}: 1 violations\n`);
    return false;
  }
}

/** True when no seed broke an invariant. */
async function runSeeds(): Promise<boolean> {
  const { runWorld } = await import("./world.ts");
  allLoaded();

  const first = Number(values.from);
  const count = Number(values.seeds);
  const found: { seed: number; violation: string }[] = [];
  let tasks = 0;
  let steps = 0;
  let ran = 0;
  for (let seed = first; seed < first + count; seed++) {
    const report = await runWorld(seed);
    ran++;
    tasks += report.tasks;
    steps += report.steps;
    if (report.violation !== undefined) {
      found.push({ seed, violation: report.violation });
      if (!values.quiet) process.stdout.write(`seed ${seed}: ${report.violation}\n`);
      if (values.until) break;
    }
    if (!values.quiet && process.stderr.isTTY) process.stderr.write(`\r${ran}/${count}`);
  }
  process.stdout.write(`${ran} seeds, ${found.length} violations (${tasks} attempts, ${steps} events)\n`);
  if (found.length > 0)
    process.stdout.write(
      `replay: npm run simulate -- --seeds 1 --from ${found[0]?.seed}${values.drop === undefined ? "" : ` --drop ${values.drop}`}\n`,
    );
  return found.length === 0;
}
