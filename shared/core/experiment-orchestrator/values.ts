/**
 * What a value in the file means: a range, a list, a file of a storage resource, an output of another task set, or itself.
 *
 * A declared type decides: `string` and `path` values are never ranges; storage references stand in `path` or undeclared
 * parameters only; `${set.OUTPUT}` is a whole value of a parameter that is not a number or bool.
 */
import { type Complaints, type InputPath, shown } from "#domain/complaints.ts";
import { RANGE_DECIMALS_MAX, RANGE_SCALED_MAX } from "#domain/expansion.ts";
import type { Axis, Binding } from "#domain/plan.ts";
import type { ParameterType, ParameterValue } from "#domain/spec.ts";
import { AXES_MAX, LIST_VALUES_MAX, TASKS_MAX, thousands, VALUE_BYTES_MAX } from "./limits.ts";
import { byteLength, storagePathProblem } from "./validation.ts";

export type Meaning =
  | { readonly kind: "constant"; readonly binding: Binding }
  | { readonly kind: "axis"; readonly axis: Axis }
  | { readonly kind: "reference"; readonly set: string; readonly output: string };

/** A value and where it stands; complaints go to `complaints`. */
export interface ValueAt {
  readonly name: string;
  readonly type: ParameterType | undefined;
  readonly path: InputPath;
  readonly complaints: Complaints;
}

const REFERENCE = /^\$\{([A-Za-z][A-Za-z0-9_-]*)\.([A-Za-z_][A-Za-z0-9_]*)\}$/;
const REFERENCE_WITHIN = /\$\{[A-Za-z][A-Za-z0-9_-]*\.[A-Za-z_][A-Za-z0-9_]*\}/;
/** `https://...` has two slashes and is text. */
const STORAGE_REFERENCE = /^[a-z][a-z0-9-]{0,62}:(\/(?!\/).*)$/s;
const URL_LIKE = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//;

const TYPE_FORMS = {
  int: { form: /^[+-]?\d+$/, text: "a whole number" },
  float: { form: /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/, text: "a number" },
  bool: { form: /^(?:true|false)$/, text: "true or false" },
} as const;

/** The meaning of a value; `undefined` when it was complained about. */
export function interpretValue(value: ParameterValue, at: ValueAt): Meaning | undefined {
  if (value.kind === "many") return interpretList(value.texts, at);
  const { text } = value;
  const reference = REFERENCE.exec(text);
  if (reference !== null) return interpretReference(reference[1] ?? "", reference[2] ?? "", at);
  const range = mayBeRange(at.type) ? readRange(text) : undefined;
  if (range === undefined) {
    const binding = readLiteral(text, at);
    return binding === undefined ? undefined : { kind: "constant", binding };
  }
  if ("problem" in range) {
    at.complaints.add(at.path, range.problem, range.about);
    return undefined;
  }
  if (at.type === "int" && range.decimals > 0) {
    at.complaints.add(at.path, `${shown(text)} has decimals, but ${at.name} is an int`);
    return undefined;
  }
  return { kind: "axis", axis: { name: at.name, kind: "range", ...range } };
}

const mayBeRange = (type: ParameterType | undefined): boolean => type === undefined || type === "int" || type === "float";

function interpretReference(set: string, output: string, { type, path, complaints }: ValueAt): Meaning | undefined {
  if (type === undefined || type === "path" || type === "string") return { kind: "reference", set, output };
  complaints.add(path, `an output of ${set} is a file, but the parameter is declared ${type}; declare it path`);
  return undefined;
}

/** One plain value: its type is right, it is not too long, and a storage reference is well made. */
function readLiteral(text: string, { name, type, path, complaints }: ValueAt): Binding | undefined {
  const problem = literalProblem(text, type);
  if (problem !== undefined) {
    complaints.add(path, problem);
    return undefined;
  }
  if (byteLength(text) > VALUE_BYTES_MAX) {
    complaints.add(path, `is longer than ${VALUE_BYTES_MAX} bytes; put it in a file of a storage resource`, "size");
    return undefined;
  }
  return { name, text, storage: isStorageReference(text, type) };
}

const isStorageReference = (text: string, type: ParameterType | undefined): boolean =>
  (type === undefined || type === "path") && STORAGE_REFERENCE.test(text);

function literalProblem(text: string, type: ParameterType | undefined): string | undefined {
  if (text.includes("\0") || !text.isWellFormed()) return "holds a character that no variable can hold (NUL or half a character)";
  if (REFERENCE_WITHIN.test(text))
    return `${shown(text)} holds a reference to an output; one is a whole value of task_inputs, alone and in no list`;
  if (type === "int" || type === "float" || type === "bool") {
    return TYPE_FORMS[type].form.test(text)
      ? undefined
      : `expects ${TYPE_FORMS[type].text}${type === "bool" ? "" : " or a range a..b"}; this is ${shown(text)}`;
  }
  if (type === "path") {
    if (text === "" || /[\r\n]/.test(text)) return "expects a path; this is empty or has a line end";
    if (URL_LIKE.test(text)) return `${shown(text)} is a URL; register a storage resource and write its name:/path`;
  }
  const reference = isStorageReference(text, type) ? STORAGE_REFERENCE.exec(text) : null;
  return reference === null ? undefined : storagePathProblem(reference[1] ?? "");
}

function interpretList(texts: readonly string[], at: ValueAt): Meaning | undefined {
  const before = at.complaints.count;
  if (texts.length === 0) at.complaints.add(at.path, "is an empty list: there would be no task");
  if (texts.length > LIST_VALUES_MAX) {
    at.complaints.add(at.path, `has ${thousands(texts.length)} values; at most ${thousands(LIST_VALUES_MAX)}`, "size");
    return undefined;
  }
  const bindings = texts.flatMap((text, i) => readLiteral(text, { ...at, path: [...at.path, i] }) ?? []);
  const storage = bindings[0]?.storage ?? false;
  if (bindings.some((binding) => binding.storage !== storage)) {
    at.complaints.add(at.path, "mixes files of storage resources with other values; use one kind");
  }
  if (at.complaints.count > before) return undefined;
  return { kind: "axis", axis: { name: at.name, kind: "list", texts: bindings.map((binding) => binding.text), storage } };
}

const NUMBER = String.raw`[+-]?\d{1,40}(?:\.\d{1,40})?`;
const RANGE = new RegExp(String.raw`^(${NUMBER})\.\.(${NUMBER})(?:\.\.(${NUMBER}))?$`);

interface Range {
  readonly start: number;
  readonly step: number;
  readonly size: number;
  readonly decimals: number;
}
interface RangeProblem {
  readonly problem: string;
  readonly about: "value" | "size";
}

/**
 * Reads `a..b` or `a..b..step`, both ends included, without making its values; `undefined` when the text is no range.
 * Everything is counted in units of the last digit written, so 0..1..0.1 has 11 values and the last is 1.0.
 */
export function readRange(text: string): Range | RangeProblem | undefined {
  const match = RANGE.exec(text);
  if (match === null) return undefined;
  const problem = (what: string, about: "value" | "size" = "value"): RangeProblem => ({ problem: `${shown(text)} ${what}`, about });
  const [, from = "", to = "", by] = match;
  const decimals = Math.max(...[from, to, by ?? "1"].map((number) => number.split(".")[1]?.length ?? 0));
  if ([from, to, by ?? "1"].some((number) => /^[+-]?0\d/.test(number)))
    return problem("has leading zeros, which are not kept; write a list");
  if (by === undefined && decimals > 0) return problem("is a range of decimals without a step; write one, as in 0..1..0.1");
  if (decimals > RANGE_DECIMALS_MAX) return problem(`has more than ${RANGE_DECIMALS_MAX} decimals`);
  const [start, end, step] = [from, to, by ?? "1"].map((number) => unitsOf(number, decimals)) as [bigint, bigint, bigint];
  if (step === 0n) return problem("has the step 0");
  if (start !== end && end > start !== step > 0n) {
    return problem(by === undefined ? `goes down; write ${from}..${to}..-1` : "never gets there: its step goes the other way");
  }
  const size = (end - start) / step + 1n;
  if (size > BigInt(TASKS_MAX))
    return problem(`has ${thousands(size)} values; an experiment has at most ${thousands(TASKS_MAX)} tasks`, "size");
  if ([start, end, step].some((units) => units > BigInt(RANGE_SCALED_MAX) || -units > BigInt(RANGE_SCALED_MAX))) {
    return problem("has more digits than can be counted exactly (15); write a list");
  }
  return { start: Number(from), step: Number(by ?? "1"), size: Number(size), decimals };
}

/** `-1.5` with 2 decimals is -150. */
function unitsOf(number: string, decimals: number): bigint {
  const [whole = "", fraction = ""] = number.replace(/^[+-]/, "").split(".");
  const units = BigInt(whole + fraction.padEnd(decimals, "0"));
  return number.startsWith("-") ? -units : units;
}

/** More swept parameters than {@link AXES_MAX} in one set are refused. */
export function checkAxes(axes: readonly Axis[], path: InputPath, complaints: Complaints): void {
  if (axes.length > AXES_MAX) complaints.add(path, `sweeps ${axes.length} parameters; at most ${AXES_MAX}`, "size");
}
