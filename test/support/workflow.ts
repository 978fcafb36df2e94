/** Workflows in WfFormat: small ones by hand, and any directed graph without cycles as one. */
import { readExperiment, type SourceOptions } from "#api/experiment-source.ts";
import { compilePlan } from "#core/experiment-orchestrator/compile.ts";
import type { Plan } from "#domain/plan.ts";

export interface TaskDraft {
  readonly id: string;
  readonly name?: string;
  readonly parents?: readonly string[];
  readonly children?: readonly string[];
  readonly inputFiles?: readonly string[];
  readonly outputFiles?: readonly string[];
  readonly program?: string;
  readonly arguments?: readonly string[];
  readonly runtimeInSeconds?: number;
}

/** An instance of version 1.5; all files have `bytes`. */
export function instanceOf(tasks: readonly TaskDraft[], bytes = 1000): object {
  const files = [...new Set(tasks.flatMap((task) => [...(task.inputFiles ?? []), ...(task.outputFiles ?? [])]))];
  return {
    name: "made",
    schemaVersion: "1.5",
    workflow: {
      specification: {
        tasks: tasks.map(({ id, name = id, parents = [], children = [], inputFiles = [], outputFiles = [] }) => ({
          ...{ name, id, parents, children, inputFiles, outputFiles },
        })),
        files: files.map((id) => ({ id, sizeInBytes: bytes })),
      },
      execution: {
        makespanInSeconds: 1,
        executedAt: "2020-04-01T15:10:53-08:00",
        tasks: tasks.map(({ id, program, arguments: list = [], runtimeInSeconds = 1 }) => ({
          ...{ id, runtimeInSeconds },
          ...(program === undefined ? {} : { command: { program, arguments: list } }),
        })),
        machines: [{ nodeName: "m" }],
      },
    },
  };
}

export const bytesOf = (instance: object): Uint8Array => new TextEncoder().encode(JSON.stringify(instance, undefined, 1));
export const planOfInstance = (instance: object, options: SourceOptions = { simulateWork: 0.01 }): Plan =>
  compilePlan(readExperiment(bytesOf(instance), options));

/** Task i of `parents.length` waits for `parents[i]` and reads a file of each; names and order say nothing of that. */
export function graphInstance(parents: readonly (readonly number[])[], programs = 3): object {
  const idOf = (i: number) => `t/${(i * 7919) % 10_007}#${i}`;
  const drafts = parents.map((of, i) => ({
    id: idOf(i),
    parents: of.map(idOf),
    inputFiles: [`start-${i}`, ...of.map((p) => `made/by ${p}`)],
    outputFiles: [`made/by ${i}`],
    program: `p${i % programs}`,
    arguments: [`${i}`],
    runtimeInSeconds: i,
  }));
  return instanceOf(drafts.toReversed());
}
