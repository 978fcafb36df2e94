import { instanceOf } from "./workflow.ts";

/** Shapes of the public collection: a chain, a fork that joins, and a split over many with two gatherers. */
export const chainInstance = (tasks: number): object =>
  instanceOf(
    Array.from({ length: tasks }, (_, i) => ({
      id: `chain_${i}`,
      parents: i === 0 ? [] : [`chain_${i - 1}`],
      inputFiles: [i === 0 ? "start" : `out_${i - 1}`],
      outputFiles: [`out_${i}`],
      runtimeInSeconds: 100,
    })),
    16_666_667,
  );

export function forkJoinInstance(tasks: number): object {
  const middle = Array.from({ length: tasks - 2 }, (_, i) => `middle_${i}`);
  return instanceOf([
    { id: "fork", inputFiles: ["start"], outputFiles: ["forked"] },
    ...middle.map((id) => ({ id, parents: ["fork"], inputFiles: ["forked"], outputFiles: [`out_${id}`] })),
    { id: "join", parents: middle, inputFiles: middle.map((id) => `out_${id}`), outputFiles: ["joined"] },
  ]);
}

export function splitInstance(width: number): object {
  const parts = Array.from({ length: width }, (_, i) => i);
  const gather = (id: string) => ({
    ...{ id, parents: parts.map((i) => `search_${i}`), outputFiles: [`${id}.all`] },
    inputFiles: parts.flatMap((i) => [`hits.${i}.${id}`]),
  });
  return instanceOf([
    { id: "split", inputFiles: ["sequences"], outputFiles: parts.map((i) => `sequences.${i}`) },
    ...parts.map((i) => ({
      ...{ id: `search_${i}`, parents: ["split"], inputFiles: [`sequences.${i}`, "database"] },
      outputFiles: [`hits.${i}.gather`, `hits.${i}.errors`],
    })),
    gather("gather"),
    gather("errors"),
  ]);
}
