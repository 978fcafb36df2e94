/**
 * The shape of WfFormat instances, as far as it means something here. Keys beyond it are left alone: the format allows them.
 *
 * Since 1.5 a workflow has a specification and perhaps an execution (https://github.com/wfcommons/WfFormat); before, its tasks
 * (`jobs` in the first versions) held both, and their files.
 */
import * as z from "zod";

const names = z.array(z.string()).default([]);
const amount = z.number().min(0).exactOptional();
const command = z.object({ program: z.string().exactOptional(), arguments: z.array(z.string()).default([]) });

const specifiedTask = z.object({
  id: z.string().min(1),
  name: z.string().exactOptional(),
  category: z.string().exactOptional(),
  parents: names,
  children: names,
  inputFiles: names,
  outputFiles: names,
});

const executedTask = z.object({
  id: z.string().min(1),
  runtimeInSeconds: amount,
  command: command.exactOptional(),
  coreCount: amount,
  memoryInBytes: amount,
});

const specification = z.object({
  tasks: z.array(specifiedTask),
  files: z.array(z.object({ id: z.string().min(1), sizeInBytes: amount })).exactOptional(),
});

const linkedFile = z.object({
  link: z.enum(["input", "output"]),
  name: z.string().exactOptional(),
  id: z.string().exactOptional(),
  sizeInBytes: amount,
  size: amount,
});

const earlierTask = z.object({
  id: z.string().exactOptional(),
  name: z.string().min(1),
  category: z.string().exactOptional(),
  parents: names,
  children: names,
  files: z.array(linkedFile).default([]),
  runtimeInSeconds: amount,
  runtime: amount,
  command: command.exactOptional(),
  cores: amount,
  memoryInBytes: amount,
});

const frame = { name: z.string().exactOptional(), schemaVersion: z.string().exactOptional() };

export const wfInstance = z.object({
  ...frame,
  workflow: z.object({ specification, execution: z.object({ tasks: z.array(executedTask).default([]) }).exactOptional() }),
});

export const earlierWfInstance = z.object({
  ...frame,
  workflow: z.object({ tasks: z.array(earlierTask).exactOptional(), jobs: z.array(earlierTask).exactOptional() }),
});

export type WfInstance = z.output<typeof wfInstance>;
export type EarlierTask = z.output<typeof earlierTask>;
