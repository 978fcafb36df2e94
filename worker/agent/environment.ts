/**
 * The environment of an attempt. Values are data at every step: nothing here is ever read by a shell, so `$(…)` in a parameter
 * stays text.
 */
import type { Variable } from "#protocol/gen/worker.ts";
import { StagingError } from "./fault.ts";

/** What attempts inherit of the worker's own environment; everything else stays with the worker. */
export const INHERITED_VARIABLES: readonly string[] = [
  "PATH",
  "HOME",
  "USER",
  "LOGNAME",
  "SHELL",
  "LANG",
  "LC_ALL",
  "TZ",
  "LD_LIBRARY_PATH",
  // What an allocation gives of a node; ignoring it would take a neighbour's GPU.
  "CUDA_VISIBLE_DEVICES",
  "ROCR_VISIBLE_DEVICES",
];
/** Names of ours: never taken from the worker's environment (its tokens are among them), never set by an experiment. */
const OWN_PREFIX = "AIRAVATA_";
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const REFERENCE = /\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))/g;
const NEEDS_NO_QUOTES = /^[A-Za-z0-9_/.,:@%+-]+$/;

export type Variables = Record<string, string>;

/** One word for a POSIX shell: as it is where that is safe, else between single quotes. */
export function quoteWord(text: string): string {
  return NEEDS_NO_QUOTES.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** Replaces `$NAME` and `${NAME}`; what `lookUp` does not know becomes empty, any other `$` stays. Values are not expanded again. */
export function expandTemplate(template: string, lookUp: (name: string) => string | undefined): string {
  return template.replace(REFERENCE, (_, braced: string | undefined, bare: string | undefined) => lookUp(braced ?? bare ?? "") ?? "");
}

function set(variables: Variables, name: string, value: string): void {
  if (!NAME.test(name)) throw new StagingError(`variable name ${JSON.stringify(name)}: use letters, digits and _`);
  if (name.startsWith(OWN_PREFIX)) throw new StagingError(`variable ${name}: names that begin with ${OWN_PREFIX} are the scheduler's`);
  if (value.includes("\0")) throw new StagingError(`variable ${name}: its value holds a zero byte`);
  variables[name] = value;
}

export interface EnvironmentParts {
  /** The worker's own. */
  readonly worker: Readonly<Record<string, string | undefined>>;
  /** AIRAVATA_… and TMPDIR. */
  readonly own: Readonly<Variables>;
  readonly templates: readonly Variable[];
  readonly parameters: readonly Variable[];
  /** Variables of inputs and outputs. */
  readonly files: readonly Variable[];
}

/** Later parts win, except over our own names. @throws StagingError for a name or value no process can have */
export function buildEnvironment(parts: EnvironmentParts): Variables {
  const variables: Variables = Object.create(null) as Variables;
  for (const name of INHERITED_VARIABLES) {
    const value = parts.worker[name];
    if (value !== undefined) variables[name] = value;
  }
  Object.assign(variables, parts.own);
  const lookUp = (name: string): string | undefined => {
    if (name in variables) return variables[name];
    return !name.startsWith(OWN_PREFIX) && Object.hasOwn(parts.worker, name) ? parts.worker[name] : undefined;
  };
  for (const { name, value } of parts.templates) set(variables, name, expandTemplate(value, lookUp));
  for (const { name, value } of parts.parameters) set(variables, name, value);
  for (const { name, value } of parts.files) set(variables, name, value);
  return variables;
}
