/** Experiments, their tasks and outputs. */
import { EXPERIMENT_FILE, type Route } from "#api/route.ts";
import {
  experimentEdit,
  experimentPage,
  experimentSummary,
  experimentView,
  outputPage,
  retryChoice,
  taskDetail,
  taskPage,
  taskState,
} from "#api/schema/experiment-view.ts";
import { idOf, pageQuery } from "#api/schema/identity.ts";
import { planSummary } from "#api/schema/plan-summary.ts";
import * as z from "zod";

const ofExperiment = z.object({ id: idOf("experiment") });
const TASK_NUMBER_MAX = 2 ** 31;
const name = z.string().min(1).max(256);
const number = z.coerce.number().int().min(0).max(TASK_NUMBER_MAX);
const ofTask = ofExperiment.extend({ set: name, number });

const projectNamed = z.string().min(1).max(64);

const view = { on: "experiment", can: "view" } as const;
const edit = { on: "experiment", can: "edit" } as const;

export const experimentRoutes = {
  planExperiment: {
    method: "POST",
    path: "/v1/plan",
    summary: "Check an experiment file and count its tasks; nothing is written",
    permission: "authenticated",
    scope: "read",
    body: EXPERIMENT_FILE,
    success: { status: 200, json: planSummary },
    errors: ["too-large"],
    idempotent: false,
  },
  createExperiment: {
    method: "POST",
    path: "/v1/experiments",
    summary:
      "Create an experiment from a file. With submit=true it is started too; `status` says whether that was reached (CREATED: submit it)",
    permission: "authenticated",
    scope: "submit",
    query: z.strictObject({
      submit: z.enum(["true", "false"]).default("false"),
      project: projectNamed.exactOptional().describe("Instead of the one that the file names: id, or name among your own"),
    }),
    body: EXPERIMENT_FILE,
    success: { status: 201, json: experimentSummary },
    errors: ["conflict", "not-found", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  listExperiments: {
    method: "GET",
    path: "/v1/experiments",
    summary:
      "Your experiments, or those of a project that you may view, newest first. A page may be shorter than asked for while there is a cursor",
    permission: "authenticated",
    query: z.strictObject({ project: idOf("project").exactOptional(), ...pageQuery }),
    success: { status: 200, json: experimentPage },
    errors: ["not-found"],
    idempotent: false,
  },
  getExperiment: {
    method: "GET",
    path: "/v1/experiments/{id}",
    summary: "State and progress of an experiment",
    permission: view,
    params: ofExperiment,
    success: { status: 200, json: experimentView },
    errors: [],
    idempotent: false,
  },
  submitExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/submit",
    summary: "Start an experiment; a no-op when it is started",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  cancelExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/cancel",
    summary: "Stop an experiment for good; running tasks are killed. A no-op when it has ended",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  pauseExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/pause",
    summary: "Hand out nothing more: running tasks finish, the others wait. A no-op when it is paused",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  resumeExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/resume",
    summary: "Go on with a paused experiment. A no-op when it is running",
    permission: edit,
    params: ofExperiment,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  retryExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/retry",
    summary: "Run failed tasks again, and those that were skipped because of them. A no-op when none failed",
    permission: edit,
    params: ofExperiment,
    body: retryChoice,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  editExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/edit",
    summary: "Change priority, weight or budget while it runs",
    permission: edit,
    params: ofExperiment,
    body: experimentEdit,
    success: { status: 200, json: experimentSummary },
    errors: ["conflict", "too-large", "outcome-unknown"],
    idempotent: true,
  },
  resubmitExperiment: {
    method: "POST",
    path: "/v1/experiments/{id}/resubmit",
    summary: "Create and start a new experiment with the same plan; it belongs to you",
    permission: view,
    params: ofExperiment,
    success: { status: 201, json: experimentSummary },
    errors: ["conflict", "outcome-unknown"],
    idempotent: true,
  },
  listTasks: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks",
    summary: "Tasks by set and number. A page may be shorter than asked for while there is a cursor",
    permission: view,
    params: ofExperiment,
    query: z.strictObject({ set: name.exactOptional(), state: taskState.exactOptional(), ...pageQuery }),
    success: { status: 200, json: taskPage },
    errors: [],
    idempotent: false,
  },
  getTask: {
    method: "GET",
    path: "/v1/experiments/{id}/tasks/{set}/{number}",
    summary: "A task with its attempts, newest first",
    permission: view,
    params: ofTask,
    success: { status: 200, json: taskDetail },
    errors: [],
    idempotent: false,
  },
  listOutputs: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs",
    summary: "Committed outputs by set and number",
    permission: view,
    params: ofExperiment,
    query: z.strictObject({ set: name.exactOptional(), ...pageQuery }),
    success: { status: 200, json: outputPage },
    errors: [],
    idempotent: false,
  },
  getOutput: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs/{set}/{number}/{name}",
    summary: "Content of an output",
    permission: view,
    params: ofTask.extend({ name }),
    success: { status: 200, bytes: "application/octet-stream" },
    redirect: "The output is large: its content is at the signed URL, for a short time and without the access token",
    errors: ["integrity", "too-large"],
    idempotent: false,
  },
  getOutputsArchive: {
    method: "GET",
    path: "/v1/experiments/{id}/outputs.tar.gz",
    summary: "All committed outputs as <set>/<number>/<path>",
    permission: view,
    params: ofExperiment,
    success: { status: 200, bytes: "application/gzip" },
    errors: ["too-large"],
    idempotent: false,
  },
} as const satisfies Record<string, Route>;
