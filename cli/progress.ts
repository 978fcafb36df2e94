/** An experiment's progress as lines: pure. */
import { BUDGET_KEYS } from "#domain/budget.ts";
import type { ExperimentViewAnswer } from "#api/schema/experiment-view.ts";
import { clean, type Output, showCount, showDuration, type Style } from "./output.ts";

type View = ExperimentViewAnswer;
type Set = View["sets"][number];
type Look = Pick<Output, "style" | "columns">;

const BAR_MAX = 40;
const NAME_MAX = 24;
const BAR_ROOM = 60;

const STATE_STYLES: Partial<Record<View["status"], Style>> = { COMPLETED: "green", FAILED: "red", CANCELED: "yellow", RUNNING: "bold" };

export const hasEnded = (view: Pick<View, "status">): boolean => ["COMPLETED", "FAILED", "CANCELED", "DELETING"].includes(view.status);

export interface Totals {
  readonly total: number;
  readonly done: number;
  readonly failed: number;
  readonly skipped: number;
  readonly leased: number;
}

export function totalsOf(sets: readonly Set[]): Totals {
  const sum = (pick: (set: Set) => number): number => sets.reduce((n, set) => n + pick(set), 0);
  return {
    total: sum((s) => s.total),
    done: sum((s) => s.done),
    failed: sum((s) => s.failed),
    skipped: sum((s) => s.skipped),
    leased: sum((s) => s.leased),
  };
}

const share = (part: number, whole: number): number => (whole === 0 ? 1 : part / whole);

const counts = ({ failed, skipped, leased }: Totals): string =>
  [
    failed > 0 ? `${showCount(failed)} failed` : "",
    skipped > 0 ? `${showCount(skipped)} skipped` : "",
    leased > 0 ? `${showCount(leased)} running` : "",
  ]
    .filter((text) => text !== "")
    .join(", ");

function bar(set: Set, width: number, { style }: Look): string {
  const done = Math.floor(share(set.done, set.total) * width);
  const bad = Math.min(width - done, Math.ceil((set.total === 0 ? 0 : (set.failed + set.skipped) / set.total) * width));
  return `${style("green", "█".repeat(done))}${style("red", "▒".repeat(bad))}${style("dim", "·".repeat(width - done - bad))}`;
}

function setLine(set: Set, nameWidth: number, look: Look): string {
  const width = Math.max(10, Math.min(BAR_MAX, look.columns - BAR_ROOM));
  const name = clean(set.set).slice(0, NAME_MAX).padEnd(nameWidth);
  const percent = `${Math.floor(share(set.done, set.total) * 100)}%`.padStart(4);
  return `  ${name} ${bar(set, width, look)} ${percent} ${showCount(set.done)}/${showCount(set.total)}  ${counts(set)}`.trimEnd();
}

const elapsedMs = (view: View, nowMs: number): number =>
  view.startedAtMs === undefined ? 0 : (view.endedAtMs ?? nowMs) - view.startedAtMs;

/** Heading, one bar for each set, and what to do next. */
export function describe(
  view: View,
  look: Look,
  pace: { readonly nowMs: number; readonly perSecond?: number } = { nowMs: Date.now() },
): string[] {
  const nameWidth = Math.min(NAME_MAX, Math.max(0, ...view.sets.map((set) => set.set.length)));
  const took = view.startedAtMs === undefined ? "not started" : showDuration(elapsedMs(view, pace.nowMs));
  const rate =
    pace.perSecond === undefined || hasEnded(view) ? "" : `  ${pace.perSecond.toFixed(1)} tasks/s${remaining(view, pace.perSecond)}`;
  const style = STATE_STYLES[view.status];
  const state = style === undefined ? view.status : look.style(style, view.status);
  const heading = `${clean(view.name)}  ${view.id}  ${state}  ${took}${rate}`;
  return [heading, ...notes(view), ...view.sets.map((set) => setLine(set, nameWidth, look)), ...budgetLines(view, look)];
}

/** What is said of few experiments. */
function notes(view: View): string[] {
  const said = [
    view.derivedFrom === undefined ? "" : `derived from ${view.derivedFrom}`,
    view.tasksAtOnce === undefined ? "" : `at most ${showCount(view.tasksAtOnce)} tasks at once`,
    view.retentionDays === undefined ? "" : `deleted ${showCount(view.retentionDays)} days after its end`,
  ].filter((text) => text !== "");
  return said.length === 0 ? [] : [`  ${said.join(", ")}`];
}

const amount = (n: number): string => String(Number(n.toPrecision(4)));

function budgetLines({ budget }: View, { style }: Look): string[] {
  if (budget === undefined) return [];
  const { limits, spent, held } = budget;
  const used = BUDGET_KEYS.flatMap((key) => (limits[key] === undefined ? [] : [`${amount(spent[key])} of ${limits[key]} ${key}`]));
  return [`  budget: ${used.join(", ")}`, ...(held === undefined ? [] : [style("yellow", `  held: ${held.advice}`)])];
}

function remaining(view: View, perSecond: number): string {
  const { total, done, failed, skipped } = totalsOf(view.sets);
  const left = total - done - failed - skipped;
  return perSecond > 0 && left > 0 ? `, ${showDuration((left / perSecond) * 1000)} to go` : "";
}

/** One line, for logs and pipes. */
export function progressLine(view: View): string {
  const totals = totalsOf(view.sets);
  const rest = counts(totals);
  return `${view.id} ${view.status} ${totals.done}/${totals.total} done${rest === "" ? "" : `, ${rest}`}`;
}

/** After the end. */
export function nextSteps(view: View): string[] {
  const { done, failed } = totalsOf(view.sets);
  return [
    ...(failed > 0 ? [`failed tasks: airavata experiment tasks ${view.id} --state FAILED`] : []),
    ...(done > 0 ? [`outputs:      airavata experiment download ${view.id}`] : []),
  ];
}
