/** Gathers what is wrong with an input, so that one reading names every place instead of the first. */
import { type Complaint, SchedulerError } from "./error.ts";

/** Complaints named at once; what is wrong beyond them is only counted. */
export const COMPLAINTS_MAX = 50;
const KEY_SHOWN_MAX = 80;
const VALUE_SHOWN_MAX = 60;

/** Keys and list indices from the top of the input to a place in it. */
export type InputPath = readonly (string | number)[];

/** Counted from 1. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Where a path stands in the text that was read, or the key that leads to it; the nearest place above when it is not in it. */
export type Locate = (path: InputPath, part: "key" | "value") => Position | undefined;

export interface Complaints {
  /** `about` the value there (default), its key, or its size: what breaks limits only is `too-large`. */
  add(path: InputPath, message: string, about?: "value" | "key" | "size"): void;
  readonly count: number;
  /** Throws a {@link SchedulerError} when anything was added; `subject` opens its message. */
  throwIfAny(subject: string): void;
}

export function createComplaints(locate: Locate): Complaints {
  const list: Complaint[] = [];
  let count = 0;
  let onlyLimits = true;
  return {
    add(path, message, about = "value") {
      count++;
      onlyLimits &&= about === "size";
      if (list.length < COMPLAINTS_MAX) list.push({ path: pathText(path), message, ...locate(path, about === "key" ? "key" : "value") });
    },
    get count() {
      return count;
    },
    throwIfAny(subject) {
      list.sort(byPosition);
      const first = list[0];
      if (first === undefined) return;
      const place = first.line === undefined ? "" : ` (line ${first.line}, column ${first.column})`;
      const where = first.path === "" ? "" : `${first.path}: `;
      const more = count === 1 ? "" : `; ${count - 1} more`;
      throw new SchedulerError(onlyLimits ? "too-large" : "invalid-input", `${subject}: ${where}${first.message}${place}${more}`, {
        complaints: list,
      });
    },
  };
}

/** In the order of the file; what has no place comes first. */
const byPosition = (a: Complaint, b: Complaint): number => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0);

/** `tasks.count.task_inputs.YEAR[3]`; the empty path is the whole input. */
export function pathText(path: InputPath): string {
  return path.map((step, i) => (typeof step === "number" ? `[${step}]` : `${i === 0 ? "" : "."}${clip(step, KEY_SHOWN_MAX)}`)).join("");
}

/** Text of the input in quotes, cut short and with nothing that could disturb a terminal. */
export const shown = (text: string): string => JSON.stringify(clip(text, VALUE_SHOWN_MAX));

const clip = (text: string, lengthMax: number): string => (text.length <= lengthMax ? text : `${text.slice(0, lengthMax)}...`);
