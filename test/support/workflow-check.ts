/** What a workflow that ran must show: each edge in the recorded times, each output in name and size. */
import { type Client, createClient } from "#api/client.ts";
import type { AnswerOf } from "#api/routes.ts";
import type { ExperimentId } from "#domain/id.ts";
import { expect } from "vitest";
import type { RunningSystem } from "./running-system.ts";

interface Instance {
  readonly workflow: {
    readonly specification: {
      readonly tasks: readonly { readonly id: string; readonly parents: readonly string[]; readonly outputFiles: readonly string[] }[];
      readonly files: readonly { readonly id: string; readonly sizeInBytes: number }[];
    };
  };
}

export const clientOf = ({ url, token }: RunningSystem): Client => createClient({ server: url, token });

const AT_ONCE = 16;
/** A task's view names no more of those that it waits for. The times below are of all. */
const PARENTS_SHOWN_MAX = 100;
const PAGE = 1000;

async function allTasks(client: Client, id: ExperimentId): Promise<AnswerOf<"listTasks">["items"]> {
  const items: AnswerOf<"listTasks">["items"][number][] = [];
  for (let cursor: string | undefined; ; ) {
    const page = await client.call("listTasks", { params: { id }, query: { limit: PAGE, ...(cursor === undefined ? {} : { cursor }) } });
    items.push(...page.items);
    cursor = page.cursor;
    if (cursor === undefined) return items;
  }
}

/** `factor`: of the simulated work. Gives the number of edges whose order was seen. */
export async function checkWorkflow(client: Client, id: ExperimentId, instance: object, factor: number): Promise<number> {
  const { tasks: specified, files } = (instance as Instance).workflow.specification;
  const sizes = new Map(files.map((file) => [file.id, Math.ceil(file.sizeInBytes * factor)]));
  const listed = await allTasks(client, id);
  expect(listed.map((task) => task.parameters.WORKFLOW_TASK).sort()).toEqual(specified.map((task) => task.id).sort());
  const times = new Map<string, { readonly startedAtMs: number; readonly endedAtMs: number }>();
  const wanted = new Map(specified.map((task) => [task.id, task]));
  const waiting = [...listed];
  const lane = async (): Promise<void> => {
    for (let task = waiting.pop(); task !== undefined; task = waiting.pop()) {
      const name = task.parameters.WORKFLOW_TASK ?? "";
      const { history, dependsOn } = await client.call("getTask", { params: { id, set: task.set, number: task.number } });
      const result = history[0]?.result;
      expect(result?.outcome, name).toBe("done");
      const { parents = [], outputFiles = [] } = wanted.get(name) ?? {};
      expect(dependsOn.length, name).toBe(Math.min(parents.length, PARENTS_SHOWN_MAX));
      const outputs = result?.outputs.map(({ path, bytes }) => [path, bytes]).sort();
      expect(outputs, name).toEqual(outputFiles.map((file) => [file, sizes.get(file)]).sort());
      times.set(name, { startedAtMs: result?.startedAtMs ?? Number.NaN, endedAtMs: result?.endedAtMs ?? Number.NaN });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const edges = specified.flatMap((task) => task.parents.map((parent) => [parent, task.id] as const));
  // One machine, one clock: whatever waits starts after what it waits for has ended.
  const broken = edges.filter(([parent, child]) => !((times.get(child)?.startedAtMs ?? 0) >= (times.get(parent)?.endedAtMs ?? Number.NaN)));
  expect(broken).toEqual([]);
  return edges.length;
}
