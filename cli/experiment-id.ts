/** Ids and task names as typed on the command line. */
import { SchedulerError } from "#domain/error.ts";
import { type ExperimentId, parseId } from "#domain/id.ts";

export function readExperimentId(text: string | undefined): ExperimentId {
  const id = parseId("experiment", text ?? "");
  if (id === undefined) throw new SchedulerError("not-found", `${text} is not the id of an experiment (exp_ and 26 letters and digits)`);
  return id;
}

export function readTaskName(text: string | undefined): { readonly set: string; readonly number: number } {
  const match = /^(.+)\/(\d{1,9})$/.exec(text ?? "");
  if (match?.[1] === undefined)
    throw new SchedulerError("invalid-input", `${text} is not the name of a task: write <set>/<number>, like count/17`);
  return { set: match[1], number: Number(match[2]) };
}
