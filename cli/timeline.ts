/** An experiment over time, as curves of characters. */
import type { AnswerOf } from "#api/routes.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { clean, showCount, showDuration, showInstant } from "./output.ts";
import { connect, type Session } from "./session.ts";

const LEVELS = " ▁▂▃▄▅▆▇█";
const POINTS_MAX = 500;
const NAME_COLUMNS = 12;
/** Behind a curve stands its last number. */
const NUMBER_COLUMNS = 16;

type Timeline = AnswerOf<"getTimeline">;
type Set = Timeline["sets"][number];

function curve(name: string, series: readonly number[]): string {
  const top = Math.max(0, ...series);
  const level = (n: number): string => LEVELS[n === 0 || top === 0 ? 0 : Math.max(1, Math.round((n / top) * (LEVELS.length - 1)))] ?? " ";
  return `  ${name.padEnd(NAME_COLUMNS - 2)}${series.map(level).join("")}  ${showCount(series.at(-1) ?? 0)} (at most ${showCount(top)})`;
}

function linesOf(set: Set): string[] {
  const curves = { queued: set.queued, staging: set.staging, running: set.running, done: set.done, failures: set.failedAttempts };
  const shown = Object.entries(curves).filter(([, series]) => series.some((n) => n > 0));
  return [`${clean(set.set)}  ${showCount(set.total)} tasks`, ...shown.map(([name, series]) => curve(name, series))];
}

export async function timeline(session: Session, { points }: { readonly points?: number }, args: readonly string[]): Promise<number> {
  const params = { id: readExperimentId(args[0]) };
  const room = Math.min(POINTS_MAX, Math.max(10, session.output.columns - NAME_COLUMNS - NUMBER_COLUMNS - 12));
  const query = points === undefined && session.options.json === true ? {} : { points: points ?? room };
  const found = await (await connect(session)).call("getTimeline", { params, query, signal: session.signal });
  const steps = found.sets[0]?.done.length ?? 0;
  session.output.result(found, () => [
    `from ${showInstant(found.fromMs)}, ${showCount(steps)} steps of ${showDuration(found.stepMs)}`,
    ...found.sets.flatMap(linesOf),
    ...(found.partial ? ["so large that a part of it was left out"] : []),
  ]);
  return EXIT.done;
}
