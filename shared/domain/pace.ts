/**
 * The pace of tasks: how many attempts started, began their script, completed and failed in each stretch of time. At most
 * PACE_BUCKETS stretches whatever happens: when they no longer suffice, two and two become one. All are cut at multiples of
 * their width, so that sums of paces don't depend on the order in which they are added, but for how finely they are cut.
 */
export const PACE_BUCKETS = 64;
const WIDTH_MIN_MS = 256;
const WIDTHS = 36;

/** Attempts that started (staging in), whose script began, that completed, that failed. */
export type PaceCounts = readonly [started: number, began: number, done: number, failed: number];
const NONE: PaceCounts = [0, 0, 0, 0];

export interface Pace {
  /** Stretches are `256 * 2^scale` ms wide. */
  readonly scale: number;
  /** Number of the first stretch since 1970. */
  readonly first: number;
  readonly counts: readonly PaceCounts[];
}

export const NO_PACE: Pace = { scale: 0, first: 0, counts: [] };

/** Times of one attempt, in order. */
export interface Span {
  readonly startedMs: number;
  readonly beganMs: number;
  readonly endedMs: number;
}

export const widthOf = ({ scale }: Pick<Pace, "scale">): number => WIDTH_MIN_MS * 2 ** scale;

function coarser({ scale, first, counts }: Pace): Pace {
  const start = Math.floor(first / 2);
  const made: PaceCounts[] = [];
  counts.forEach((c, i) => {
    const at = Math.floor((first + i) / 2) - start;
    made[at] = sum(made[at] ?? NONE, c);
  });
  return { scale: scale + 1, first: start, counts: made };
}

const sum = (a: PaceCounts, b: PaceCounts): PaceCounts => [a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]];

/** Both together. */
export function addPace(a: Pace, b: Pace): Pace {
  if (a.counts.length === 0) return b;
  if (b.counts.length === 0) return a;
  let [x, y] = [a, b];
  const reach = () => Math.max(x.first + x.counts.length, y.first + y.counts.length) - Math.min(x.first, y.first);
  while (x.scale < y.scale) x = coarser(x);
  while (y.scale < x.scale) y = coarser(y);
  while (reach() > PACE_BUCKETS && x.scale < WIDTHS) [x, y] = [coarser(x), coarser(y)];
  const first = Math.min(x.first, y.first);
  const at = (p: Pace, i: number): PaceCounts => p.counts[first + i - p.first] ?? NONE;
  return { scale: x.scale, first, counts: Array.from({ length: reach() }, (_, i) => sum(at(x, i), at(y, i))) };
}

export interface Attempted extends Span {
  readonly outcome: "done" | "failed";
}

/** In one go: batches have hundreds. */
export function paceOf(attempts: readonly Attempted[]): Pace {
  if (attempts.length === 0) return NO_PACE;
  let [from, to] = [Number.POSITIVE_INFINITY, 0];
  for (const { startedMs, endedMs } of attempts) [from, to] = [Math.min(from, startedMs), Math.max(to, endedMs)];
  let scale = 0;
  const place = (ms: number) => Math.floor(ms / widthOf({ scale }));
  while (place(to) - place(from) >= PACE_BUCKETS && scale < WIDTHS) scale++;
  const first = place(from);
  const counts = Array.from({ length: place(to) - first + 1 }, () => [0, 0, 0, 0] as [number, number, number, number]);
  const count = (ms: number, kind: 0 | 1 | 2 | 3) => {
    const at = counts[place(ms) - first];
    if (at !== undefined) at[kind]++;
  };
  for (const { startedMs, beganMs, endedMs, outcome } of attempts) {
    count(startedMs, 0);
    count(beganMs, 1);
    count(endedMs, outcome === "done" ? 2 : 3);
  }
  return { scale, first, counts };
}

/** The sum of each count over all stretches. */
export const totalPace = ({ counts }: Pace): PaceCounts => counts.reduce(sum, NONE);

/** Stored form: scale, first, then the four counts of each stretch, as LEB128. Empty: no pace. */
export function encodePace({ scale, first, counts }: Pace): Uint8Array {
  const bytes: number[] = [];
  const write = (value: number) => {
    let rest = value;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    bytes.push(rest);
  };
  if (counts.length > 0) for (const value of [scale, first, ...counts.flat()]) write(value);
  return Uint8Array.from(bytes);
}

export function decodePace(stored: Uint8Array | undefined): Pace {
  const values: number[] = [];
  let [value, factor] = [0, 1];
  for (const byte of stored ?? []) {
    value += (byte % 128) * factor;
    factor *= 128;
    if (byte >= 128) continue;
    values.push(value);
    [value, factor] = [0, 1];
  }
  const [scale = 0, first = 0, ...flat] = values;
  const counts = Array.from({ length: flat.length / 4 }, (_, i) => flat.slice(4 * i, 4 * i + 4) as unknown as PaceCounts);
  return counts.length === 0 ? NO_PACE : { scale, first, counts };
}
