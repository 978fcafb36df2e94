/** Whatever an experiment may be written in, told apart by content: an experiment file, or a workflow in WfFormat. */
import { SchedulerError } from "#domain/error.ts";
import type { ComputeSpec, ExperimentSpec } from "#domain/spec.ts";
import type { WorkflowSpec } from "#domain/workflow.ts";
import { applyOverrides, parseExperimentFile, readComputeOverride } from "./experiment-file.ts";
import { readWorkflow, recognizeWorkflow } from "./wfformat.ts";
import { FILE_BYTES_MAX } from "./yaml-source.ts";

export interface SourceOptions {
  /** Values that replace those of the file; a workflow takes those of `compute.` only. */
  readonly set?: Readonly<Record<string, string>>;
  /** Of a workflow: see WorkflowOptions. */
  readonly simulateWork?: number;
  readonly workflowInputs?: string;
}

/** Errors as those of {@link parseExperimentFile}. */
export function readExperiment(bytes: Uint8Array, options: SourceOptions): ExperimentSpec | WorkflowSpec {
  const workflow = recognizeWorkflow(bytes, FILE_BYTES_MAX);
  const { set = {}, simulateWork, workflowInputs } = options;
  if (workflow === undefined) {
    if (simulateWork !== undefined || workflowInputs !== undefined)
      throw new SchedulerError(
        "invalid-input",
        "simulated work and workflow inputs are for workflows in WfFormat; this is an experiment file",
      );
    return applyOverrides(parseExperimentFile(bytes), set);
  }
  let compute: ComputeSpec = {};
  for (const [name, text] of Object.entries(set)) {
    if (text === "[]" && (name === "resources.conda" || name === "resources.pip")) continue;
    const own = readComputeOverride(name, text);
    if (own === undefined)
      throw new SchedulerError(
        "invalid-input",
        `the override of ${name} is refused: a workflow has no parameters; only compute.cpu and its like`,
      );
    compute = { ...compute, ...own };
  }
  return readWorkflow(workflow, {
    compute,
    options: {
      ...(simulateWork === undefined ? {} : { simulateWork }),
      ...(workflowInputs === undefined ? {} : { inputs: workflowInputs }),
    },
  });
}
