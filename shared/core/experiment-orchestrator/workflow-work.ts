/** What the tasks of a workflow do: their own commands, or simulated work scaled by a factor. */
import { type Complaints, shown } from "#domain/complaints.ts";
import type { SetWork, WorkflowFiles } from "#domain/plan.ts";
import type { WorkflowSpec, WorkflowTask } from "#domain/workflow.ts";
import { ARGUMENT_END, WORK_FILE } from "#domain/workflow-files.ts";
import * as limits from "./limits.ts";
import { byteLength } from "./validation.ts";

/** Arguments reach the program as they are: split at a character that no argument holds, never read as shell text. */
const COMMAND_SCRIPT = `#!/bin/sh
# Runs the task's program with its arguments out of ${WORK_FILE}.
end=$(printf '\\037')
IFS=$end
set -f
set -- $(cat ${WORK_FILE})
unset IFS end
set +f
exec "$@"
`;

/** Checks that every input is there in its full size, reads it, sleeps, writes every output with bytes of its own. */
const SIMULATION_SCRIPT = `#!/bin/sh
# Simulated work: the steps are in ${WORK_FILE}, one a line: kind, bytes, path.
set -eu
LC_ALL=C
export LC_ALL
list() { awk -v kind="$1" '$1 == kind { sub(/^[^ ]+ [^ ]+ /, ""); print }' ${WORK_FILE}; }
make() {
  awk -v kind="$1" -v task="\${WORKFLOW_TASK}" '
    BEGIN { for (block = "0123456789abcdef"; length(block) < 65536; block = block block); }
    $1 == kind {
      left = $2; path = $0; sub(/^[^ ]+ [^ ]+ /, "", path)
      head = task " " path "\\n"
      if (length(head) > left) head = substr(head, 1, left)
      printf "%s", head > path
      for (left -= length(head); left >= 65536; left -= 65536) printf "%s", block > path
      if (left > 0) printf "%s", substr(block, 1, left) > path
      if (close(path) != 0) { print "cannot write " path > "/dev/stderr"; exit 1 }
    }' ${WORK_FILE}
}
folders=$(list make | sed -n 's|/[^/]*$||p' | sort -u)
if [ -n "$folders" ]; then printf '%s\\n' "$folders" | tr '\\n' '\\0' | xargs -0 mkdir -p --; fi
make make
{ list in; list make; } > ${WORK_FILE}-inputs
if [ -s ${WORK_FILE}-inputs ]; then
  tr '\\n' '\\0' < ${WORK_FILE}-inputs | xargs -0 cksum -- > ${WORK_FILE}-sums
  awk '
    FNR == NR { size = $2; sub(/^[^ ]+ [^ ]+ /, ""); found[$0] = size; next }
    $1 == "in" || $1 == "make" {
      size = $2; sub(/^[^ ]+ [^ ]+ /, "")
      if (found[$0] != size) { print "input " $0 " has " found[$0] " bytes instead of " size > "/dev/stderr"; bad = 1 }
    }
    END { exit bad }' ${WORK_FILE}-sums ${WORK_FILE}
fi
sleep "$(awk '$1 == "sleep" { print $2 }' ${WORK_FILE})"
make out
`;

export const scriptOf = ({ options }: WorkflowSpec): { readonly name: string; readonly text: string } =>
  options.simulateWork === undefined ? { name: "RUN_COMMAND", text: COMMAND_SCRIPT } : { name: "SIMULATE_WORK", text: SIMULATION_SCRIPT };

export const sleepMsOf = (task: WorkflowTask, factor: number): number => Math.round((task.runtimeSeconds ?? 0) * factor * 1000);

const sizeOf = (bytes: number | undefined, factor: number): number => Math.ceil((bytes ?? 0) * factor);

/** Sizes to write; complains when the whole is more than a simulation should cost anybody. */
export function simulatedSizes(spec: WorkflowSpec, made: (file: number) => boolean, complaints: Complaints): WorkflowFiles["bytes"] {
  const factor = spec.options.simulateWork ?? 0;
  if (!(factor >= 0 && factor <= limits.SIMULATE_FACTOR_MAX)) {
    complaints.add([], `the factor of simulated work is a number from 0 to ${limits.SIMULATE_FACTOR_MAX}; this is ${factor}`);
    return [];
  }
  const bytes = spec.files.map((file) => sizeOf(file.bytes, factor));
  const written = (of: WorkflowTask): number =>
    [...of.outputs, ...of.inputs.filter((file) => !made(file))].reduce((sum, file) => sum + (bytes[file] ?? 0), 0);
  let totalBytes = 0;
  let totalMs = 0;
  for (const task of spec.tasks) {
    const own = written(task);
    totalBytes += own;
    totalMs += sleepMsOf(task, factor);
    if (own > limits.SIMULATED_TASK_BYTES_MAX)
      complaints.add(
        task.path,
        `would write ${own} bytes; at most ${limits.SIMULATED_TASK_BYTES_MAX} a task: choose a smaller factor`,
        "size",
      );
    if (sleepMsOf(task, factor) > limits.SIMULATED_SLEEP_MS_MAX)
      complaints.add(
        task.executionPath,
        `would sleep for ${sleepMsOf(task, factor) / 1000} s; at most ${limits.SIMULATED_SLEEP_MS_MAX / 1000} s: choose a smaller factor`,
        "size",
      );
  }
  const fits = (total: number, most: number) => `choose a factor of ${Number(((factor * most) / total).toPrecision(1))} or less`;
  if (totalBytes > limits.SIMULATED_BYTES_MAX)
    complaints.add(
      [],
      `all tasks together would write ${totalBytes} bytes; at most ${limits.SIMULATED_BYTES_MAX}: ${fits(totalBytes, limits.SIMULATED_BYTES_MAX)}`,
      "size",
    );
  if (totalMs > limits.SIMULATED_MS_MAX)
    complaints.add(
      [],
      `all tasks together would sleep for ${Math.round(totalMs / 1000)} s; at most ${limits.SIMULATED_MS_MAX / 1000} s: ${fits(totalMs, limits.SIMULATED_MS_MAX)}`,
      "size",
    );
  return bytes;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const NOT_A_PROGRAM = /[\u0000-\u001f\u007f]/;

/** Program and arguments, each ended by {@link ARGUMENT_END}; what no process can be started with is complained about. */
export function commandOf(task: WorkflowTask, complaints: Complaints): string {
  const { program, executionPath } = task;
  const command = [...executionPath, "command"];
  if (program === undefined || program.trim() === "") {
    complaints.add(executionPath, "has no command: it can be run as simulated work only (--simulate-work FACTOR)");
    return "";
  }
  if (NOT_A_PROGRAM.test(program))
    complaints.add([...command, "program"], "is shell text, not a program: it can be run as simulated work only (--simulate-work FACTOR)");
  for (const [i, argument] of task.arguments.entries()) {
    if (argument.includes("\0") || argument.includes(ARGUMENT_END))
      complaints.add([...command, "arguments", i], `${shown(argument)} holds a character that no argument can`);
  }
  const text = [program, ...task.arguments].map((word) => word + ARGUMENT_END).join("");
  if (byteLength(text) > limits.COMMAND_BYTES_MAX) complaints.add(command, `has more than ${limits.COMMAND_BYTES_MAX} bytes`, "size");
  return text;
}

/** Commands, or how long each sleeps. */
export function workOf(spec: WorkflowSpec, tasks: readonly WorkflowTask[], complaints: Complaints): Pick<SetWork, "commands" | "sleepMs"> {
  const factor = spec.options.simulateWork;
  if (factor === undefined) return { commands: tasks.map((task) => commandOf(task, complaints)) };
  return { sleepMs: tasks.map((task) => sleepMsOf(task, factor)) };
}
