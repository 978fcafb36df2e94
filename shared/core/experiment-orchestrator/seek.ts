/**
 * Seeking tasks by the values of their parameters, without looking at the others: a value fixes digits of the mixed radix
 * that a task's number is written in (see expansion.ts).
 */
import { axisSize, axisText } from "#domain/expansion.ts";
import type { Axis, PlanSet } from "#domain/plan.ts";

/** Name -> text of its value. */
export type Wanted = ReadonlyMap<string, string>;

/** Gives the smallest number from `from` on whose parameters have the wanted values; `undefined` when there is none. */
export type Seek = (from: number) => number | undefined;

/** `undefined`: any. */
type Digits = readonly number[] | undefined;

export function seekIn(set: PlanSet, wanted: Wanted): Seek {
  const digits = new Map<string, Digits>();
  for (const axis of set.axes) digits.set(axis.name, digitsOf(axis, wanted.get(axis.name)));
  for (const [name, text] of wanted) {
    const constant = set.constants.find((c) => c.name === name);
    if (!digits.has(name) && constant?.text !== text) return () => undefined;
  }
  const next = set.combine === "zip" ? zipped(set, digits) : product(set, digits);
  return (from) => {
    if (from >= set.count) return undefined;
    const parent = Math.floor(from / set.factor);
    const own = next(from % set.factor);
    const number = own === undefined ? (parent + 1) * set.factor + (next(0) ?? Number.POSITIVE_INFINITY) : parent * set.factor + own;
    return number < set.count ? number : undefined;
  };
}

/** Places on the axis that have this value, ascending. */
function digitsOf(axis: Axis, text: string | undefined): Digits {
  if (text === undefined) return undefined;
  if (axis.kind === "list") return axis.texts.flatMap((t, i) => (t === text ? [i] : []));
  const place = Math.round((Number(text) - axis.start) / axis.step);
  return place >= 0 && place < axis.size && axisText(axis, place) === text ? [place] : [];
}

type Next = (own: number) => number | undefined;

function zipped(set: PlanSet, digits: ReadonlyMap<string, Digits>): Next {
  const fixed = [...digits.values()].filter((d) => d !== undefined);
  if (fixed.length === 0) return (own) => own;
  const rest = fixed.slice(1).map((d) => new Set(d));
  const all = (fixed[0] ?? []).filter((i) => i < set.factor && rest.every((d) => d.has(i)));
  return (own) => all.find((i) => i >= own);
}

/** The first axis varies slowest: a digit that has to grow lets the ones after it start again. */
function product(set: PlanSet, digits: ReadonlyMap<string, Digits>): Next {
  const axes = set.axes.map((axis) => ({ size: axisSize(axis), digits: digits.get(axis.name) }));
  const atLeast = (a: number, digit: number): number | undefined => {
    const { size, digits: allowed } = axes[a] as (typeof axes)[number];
    if (allowed === undefined) return digit < size ? digit : undefined;
    return allowed.find((d) => d >= digit);
  };
  const find = (a: number, own: readonly number[], free: boolean): readonly number[] | undefined => {
    if (a === axes.length) return [];
    const least = free ? 0 : (own[a] as number);
    for (let digit = atLeast(a, least); digit !== undefined; digit = atLeast(a, digit + 1)) {
      const rest = find(a + 1, own, free || digit > least);
      if (rest !== undefined) return [digit, ...rest];
      // With free digits behind it a fault lies there: no larger digit mends it.
      if (free || digit > least) return undefined;
    }
    return undefined;
  };
  return (own) => {
    const start: number[] = [];
    for (let a = axes.length - 1, left = own; a >= 0; a--) {
      const { size } = axes[a] as (typeof axes)[number];
      start.unshift(left % size);
      left = Math.floor(left / size);
    }
    const found = find(0, start, false);
    return found?.reduce((n, digit, a) => n * (axes[a] as (typeof axes)[number]).size + digit, 0);
  };
}
