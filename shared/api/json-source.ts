/**
 * JSON text -> value, and the line and column of any place in it, found only when something is wrong there.
 *
 * For files that are too large for the reader of YAML. Costs of a place: one look along the text before it.
 */
import type { InputPath, Locate, Position } from "#domain/complaints.ts";

/** Places in a longer text are given by their path alone. */
const LOCATED_LENGTH_MAX = 8 * 1024 * 1024;
/** With more, reading the text again and again would cost too much. */
const BRACKETS_MAX = 300_000;

const SPACE = /[\s:,]*/y;
const PLAIN = /[^\s,\]}]+/y;

/** The first character that JSON.parse does not take. It seldom says which; the longest beginning that could go on ends there. */
export function placeOfMistake(text: string): Position | undefined {
  if (text.length > LOCATED_LENGTH_MAX || countOf(text, "[") + countOf(text, "{") > BRACKETS_MAX) return undefined;
  let [good, bad] = [0, text.length];
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (mayGoOn(text.slice(0, middle))) good = middle;
    else bad = middle;
  }
  return positionOf(text, good);
}

function countOf(text: string, character: string): number {
  let count = 0;
  for (let at = text.indexOf(character); at !== -1; at = text.indexOf(character, at + 1)) count++;
  return count;
}

function mayGoOn(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    return message.startsWith("Unexpected end") || Number(/at position (\d+)/.exec(message)?.[1]) === text.length;
  }
}

function positionOf(text: string, offset: number): Position {
  let line = 1;
  let start = 0;
  for (let at = text.indexOf("\n"); at !== -1 && at < offset; at = text.indexOf("\n", at + 1)) {
    line++;
    start = at + 1;
  }
  return { line, column: offset - start + 1 };
}

/** For text that JSON.parse accepts. */
export function locateIn(text: string): Locate {
  return (path, part) => {
    if (text.length > LOCATED_LENGTH_MAX) return undefined;
    return positionOf(text, offsetOf(text, path, part));
  };
}

/** Of the value at `path` or its key; of the nearest place above when there is none. */
function offsetOf(text: string, path: InputPath, part: "key" | "value"): number {
  let at = skipSpace(text, 0);
  for (const [i, step] of path.entries()) {
    const found = typeof step === "number" ? itemAt(text, at, step) : entryAt(text, at, step);
    if (found === undefined) break;
    if (part === "key" && i === path.length - 1) return found.key;
    at = found.value;
  }
  return at;
}

interface Found {
  readonly key: number;
  readonly value: number;
}

function itemAt(text: string, open: number, index: number): Found | undefined {
  if (text[open] !== "[") return undefined;
  let at = skipSpace(text, open + 1);
  for (let i = 0; i < index && text[at] !== "]"; i++) at = skipSpace(text, skipValue(text, at));
  return text[at] === "]" ? undefined : { key: at, value: at };
}

function entryAt(text: string, open: number, name: string): Found | undefined {
  if (text[open] !== "{") return undefined;
  for (let key = skipSpace(text, open + 1); text[key] === '"'; ) {
    const end = skipString(text, key);
    const value = skipSpace(text, end);
    if (JSON.parse(text.slice(key, end)) === name) return { key, value };
    key = skipSpace(text, skipValue(text, value));
  }
  return undefined;
}

/** Spaces, and the commas and colons between values. */
function skipSpace(text: string, at: number): number {
  SPACE.lastIndex = at;
  SPACE.exec(text);
  return SPACE.lastIndex;
}

function skipString(text: string, open: number): number {
  for (let at = text.indexOf('"', open + 1); ; at = text.indexOf('"', at + 1)) {
    let slashes = 0;
    while (text[at - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return at + 1;
  }
}

/** By counting brackets: however deep the text is nested, no stack grows. */
function skipValue(text: string, from: number): number {
  let depth = 0;
  let at = from;
  do {
    const c = text[at];
    if (c === '"') at = skipString(text, at);
    else if (c === "{" || c === "[") {
      depth++;
      at++;
    } else if (c === "}" || c === "]") {
      depth--;
      at++;
    } else {
      PLAIN.lastIndex = at;
      PLAIN.exec(text);
      at = PLAIN.lastIndex;
    }
    if (depth > 0) at = skipSpace(text, at);
  } while (depth > 0);
  return at;
}
