/** Experiment files in a line or two, and what is said about them. */
import { parseExperimentFile } from "#api/experiment-file.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import { type Complaint, SchedulerError } from "#domain/error.ts";
import type { Plan } from "#domain/plan.ts";

const encoder = new TextEncoder();

export const parseText = (text: string) => parseExperimentFile(encoder.encode(text));
export const compileText = (text: string): Plan => compilePlan(parseText(text));

/** A file as JSON; `scripts` has RUN unless given. */
export const fileOf = (file: object): string => JSON.stringify({ scripts: { RUN: "true" }, ...file });

/** One task set `a` that runs RUN, with these keys, in a file with these. */
export const oneSet = (set: object, file: object = {}): string => fileOf({ tasks: { a: { script: "RUN", ...set } }, ...file });

/** The error of something that must be refused; anything but a SchedulerError is thrown on. */
export function refusalOf(action: () => unknown): SchedulerError {
  try {
    action();
  } catch (error) {
    if (error instanceof SchedulerError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** `path: message` of every complaint. */
export const saidOf = (action: () => unknown): string[] =>
  refusalOf(action).complaints.map(({ path, message }: Complaint) => `${path}: ${message}`);

/** A reference as it is written in task_inputs. */
export const outputOf = (set: string, output: string): string => `\${${set}.${output}}`;
