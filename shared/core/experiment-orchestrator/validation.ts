/**
 * What names, paths and texts of an experiment may be: everything that will become a variable, a file or an argument
 * on somebody else's machine.
 */
import { type Complaints, type InputPath, shown } from "#domain/complaints.ts";
import type { Plan } from "#domain/plan.ts";
import { RESOURCE_NAME } from "#domain/resource.ts";
import type { ExperimentSpec } from "#domain/spec.ts";
import * as limits from "./limits.ts";

const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,63}$/;
const SET_NAME = /^[A-Za-z][A-Za-z0-9_-]{0,62}$/;
const SCRIPT_NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,63}$/;
const LABEL_NAME = /^[A-Za-z0-9][A-Za-z0-9._/-]{0,62}$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for
const CONTROL_CHARACTERS = /[\u0000-\u001f\u007f]/;

/** Variables that decide what a shell or loader runs: a parameter of that name would replace programs, not data. */
const STEERING_NAMES: ReadonlySet<string> = new Set(
  "PATH HOME SHELL PWD OLDPWD TMPDIR IFS ENV BASH_ENV LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT PS4 PROMPT_COMMAND CDPATH GLOBIGNORE NODE_OPTIONS PYTHONSTARTUP".split(
    " ",
  ),
);
/** Variables that a shell sets itself, whatever it inherits: the value would not arrive. */
const SHELL_OWN_NAMES: ReadonlySet<string> = new Set(
  "_ UID EUID PPID GROUPS RANDOM SRANDOM SECONDS LINENO EPOCHSECONDS EPOCHREALTIME OPTARG OPTIND OPTERR DIRSTACK FUNCNAME SHLVL SHELLOPTS BASHOPTS BASHPID HOSTNAME HOSTTYPE MACHTYPE OSTYPE PIPESTATUS HISTCMD".split(
    " ",
  ),
);
const OWN_PREFIX = "AIRAVATA_";

export const byteLength = (text: string): number => new TextEncoder().encode(text).length;

/** What is wrong with the name of a parameter or output; `undefined` when nothing is. */
export function variableNameProblem(name: string): string | undefined {
  if (!VARIABLE_NAME.test(name)) return "is no name for a variable: letters, digits and _, not a digit first, at most 64";
  if (name.toUpperCase().startsWith(OWN_PREFIX)) return `cannot start with ${OWN_PREFIX}: those names are the scheduler's`;
  if (STEERING_NAMES.has(name))
    return "is a variable that steers shells and loaders; set it under resources.environment or choose another name";
  if (SHELL_OWN_NAMES.has(name) || name.startsWith("BASH_"))
    return "is a variable that the shell sets itself, so the value would not arrive; choose another name";
  return undefined;
}

/** A path below the task's directory without `./` and doubled slashes, or what is wrong with it. A folder keeps its `/`. */
export function relativePath(text: string): { readonly path: string } | { readonly problem: string } {
  if (text === "") return { problem: "is empty where a path belongs" };
  if (text.length > limits.PATH_LENGTH_MAX) return { problem: `is a path of more than ${limits.PATH_LENGTH_MAX} characters` };
  if (CONTROL_CHARACTERS.test(text)) return { problem: "is a path with a line end or another control character" };
  if (text.startsWith("/")) return { problem: `${shown(text)} is absolute; write a path below the task's directory` };
  const steps = text.split("/").filter((step) => step !== "" && step !== ".");
  if (steps.includes("..")) return { problem: `${shown(text)} climbs out of the task's directory by ..` };
  const isFolder = text.endsWith("/") || text === "." || text.endsWith("/.");
  return { path: steps.length === 0 ? "./" : steps.join("/") + (isFolder ? "/" : "") };
}

/** What is wrong with the path of a storage reference `name:/path`. */
export function storagePathProblem(path: string): string | undefined {
  if (path.length > limits.PATH_LENGTH_MAX) return `is a path of more than ${limits.PATH_LENGTH_MAX} characters`;
  if (CONTROL_CHARACTERS.test(path)) return "is a path with a line end or another control character";
  return path.split("/").includes("..") ? "climbs by .. in a storage path" : undefined;
}

/**
 * Refuses collections with too many entries. First of all checks: some of the others cost the square of these counts,
 * and a suggestion costs as much as there are names.
 */
export function checkSizes(spec: ExperimentSpec, complaints: Complaints): void {
  const check = (path: InputPath, entries: { readonly length: number }, most: number): void => {
    if (entries.length > most)
      complaints.add(path, `has ${limits.thousands(entries.length)} entries; at most ${limits.thousands(most)}`, "size");
  };
  check(["labels"], Object.keys(spec.labels), limits.LABELS_MAX);
  check(["on"], spec.on, limits.ON_MAX);
  check(["parameters"], Object.keys(spec.parameters), limits.PARAMETERS_MAX);
  check(["scripts"], Object.keys(spec.scripts), limits.SCRIPTS_MAX);
  check(["tasks"], Object.keys(spec.tasks), limits.SETS_MAX);
  for (const [name, set] of Object.entries(spec.tasks)) {
    check(["tasks", name, "task_inputs"], Object.keys(set.task_inputs), limits.PARAMETERS_MAX);
    check(["tasks", name, "task_outputs"], Object.keys(set.task_outputs), limits.OUTPUTS_MAX);
    check(["tasks", name, "foreach"], set.foreach, limits.SETS_MAX);
    check(["tasks", name, "after"], set.after, limits.SETS_MAX);
  }
  const { storage, conda, pip, environment } = spec.resources;
  check(["resources", "storage"], storage, limits.ASSETS_MAX);
  check(["resources", "conda"], conda, limits.PACKAGES_MAX);
  check(["resources", "pip"], pip, limits.PACKAGES_MAX);
  check(["resources", "environment"], environment, limits.ENVIRONMENT_MAX);
}

/** Names and texts at the top of the file; what belongs to one task set is checked with the set. */
export function checkNames(spec: ExperimentSpec, complaints: Complaints): void {
  const { name } = spec;
  if (name !== undefined && (name.trim() === "" || CONTROL_CHARACTERS.test(name)))
    complaints.add(["name"], "is empty or holds a control character");
  if ((name ?? "").length > limits.NAME_LENGTH_MAX) complaints.add(["name"], `is longer than ${limits.NAME_LENGTH_MAX} characters`, "size");
  if (!Number.isInteger(spec.priority) || Math.abs(spec.priority) > limits.PRIORITY_MAX) {
    complaints.add(["priority"], `expects a whole number from -${limits.PRIORITY_MAX} to ${limits.PRIORITY_MAX}`);
  }
  checkLabels(spec, complaints);
  spec.on.forEach((resource, i) => {
    if (!RESOURCE_NAME.test(resource))
      complaints.add(["on", i], `${shown(resource)} is no name of a resource: small letters, digits and -`);
    else if (spec.on.indexOf(resource) !== i) complaints.add(["on", i], "stands here twice");
  });
  for (const parameter of Object.keys(spec.parameters)) {
    const problem = variableNameProblem(parameter);
    if (problem !== undefined) complaints.add(["parameters", parameter], problem, "key");
  }
  checkScripts(spec, complaints);
  const sets = Object.keys(spec.tasks);
  if (sets.length === 0) complaints.add(["tasks"], "has no task set");
  for (const set of sets) {
    if (!SET_NAME.test(set))
      complaints.add(["tasks", set], "is no name for a task set: a letter, then letters, digits, _ and -, at most 63", "key");
  }
}

function checkLabels(spec: ExperimentSpec, complaints: Complaints): void {
  for (const [label, text] of Object.entries(spec.labels)) {
    if (!LABEL_NAME.test(label))
      complaints.add(["labels", label], "is no name for a label: letters, digits and . _ / -, at most 63", "key");
    if (text.length > limits.LABEL_LENGTH_MAX)
      complaints.add(["labels", label], `is longer than ${limits.LABEL_LENGTH_MAX} characters`, "size");
    if (CONTROL_CHARACTERS.test(text)) complaints.add(["labels", label], "holds a control character");
  }
}

function checkScripts(spec: ExperimentSpec, complaints: Complaints): void {
  let total = 0;
  for (const [name, text] of Object.entries(spec.scripts)) {
    const path = ["scripts", name];
    const bytes = byteLength(text);
    total += bytes;
    if (!SCRIPT_NAME.test(name))
      complaints.add(path, "is no name for a script: letters, digits, _ and -, not a digit first, at most 64", "key");
    if (bytes > limits.SCRIPT_BYTES_MAX) complaints.add(path, `is a script of ${bytes} bytes; at most ${limits.SCRIPT_BYTES_MAX}`, "size");
    if (text.trim() === "") complaints.add(path, "is an empty script");
    if (text.includes("\r\n"))
      complaints.add(path, "has Windows line ends (\\r\\n), which shells take for part of the command; save it with \\n");
  }
  if (total > limits.SCRIPTS_BYTES_MAX)
    complaints.add(["scripts"], `hold ${total} bytes together; at most ${limits.SCRIPTS_BYTES_MAX}`, "size");
}

const ENVIRONMENT_ENTRY = /^([A-Za-z_][A-Za-z0-9_]{0,63})=(.*)$/s;

/** `NAME=template` entries in order; a later one may build on an earlier one. */
export function readEnvironment(entries: readonly string[], complaints: Complaints): Plan["environment"] {
  return entries.flatMap((entry, i) => {
    const path = ["resources", "environment", i];
    const match = ENVIRONMENT_ENTRY.exec(entry);
    if (match === null) complaints.add(path, `${shown(entry)} is not NAME=value`);
    else if (match[1]?.toUpperCase().startsWith(OWN_PREFIX))
      complaints.add(path, `cannot set ${OWN_PREFIX} names: they are the scheduler's`);
    else if (byteLength(entry) > limits.VALUE_BYTES_MAX) complaints.add(path, `is longer than ${limits.VALUE_BYTES_MAX} bytes`, "size");
    else return [{ name: match[1] ?? "", template: match[2] ?? "" }];
    return [];
  });
}

/** A list of packages: an entry becomes an argument of a package tool, so none may pass for an option. */
export function readPackages(kind: "conda" | "pip", entries: readonly string[], complaints: Complaints): readonly string[] {
  entries.forEach((entry, i) => {
    const bad = entry.trim() === "" || entry.startsWith("-") || CONTROL_CHARACTERS.test(entry) || entry.length > limits.PACKAGE_LENGTH_MAX;
    if (bad) complaints.add(["resources", kind, i], `${shown(entry)} is no package: name and version, as in numpy=2.1`);
  });
  return entries;
}

/** `storage:/path:./target` entries; without a target the file keeps its own name. */
export function readAssets(entries: readonly string[], complaints: Complaints): Plan["assets"] {
  const targets = new Set<string>();
  return entries.flatMap((entry, i) => {
    const path = ["resources", "storage", i];
    const asset = readAsset(entry);
    if ("problem" in asset) complaints.add(path, asset.problem);
    else if (targets.has(asset.to)) complaints.add(path, `puts a second file at ${shown(asset.to)}`);
    else {
      targets.add(asset.to);
      return [asset];
    }
    return [];
  });
}

function readAsset(entry: string): Plan["assets"][number] | { readonly problem: string } {
  const form = "is not storage-resource:/path:./target";
  if (entry.length > 2 * limits.PATH_LENGTH_MAX) return { problem: form };
  const [storage, ...rest] = entry.split(":");
  if (storage === undefined || !RESOURCE_NAME.test(storage) || rest.length === 0) return { problem: `${shown(entry)} ${form}` };
  const target = rest.length > 1 ? rest.pop() : undefined;
  const path = rest.join(":");
  if (!path.startsWith("/")) return { problem: `${shown(entry)} ${form}` };
  const problem = storagePathProblem(path);
  if (problem !== undefined) return { problem };
  const isFolder = path.endsWith("/");
  const ownName = path.split("/").findLast((step) => step !== "");
  const to = relativePath(target ?? `${ownName ?? "."}${isFolder ? "/" : ""}`);
  if ("problem" in to) return to;
  if (isFolder) return { storage, path, to: to.path.endsWith("/") ? to.path : `${to.path}/` };
  if (!to.path.endsWith("/")) return { storage, path, to: to.path };
  return { storage, path, to: `${to.path === "./" ? "" : to.path}${ownName}` };
}
