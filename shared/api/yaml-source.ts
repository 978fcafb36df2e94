/**
 * YAML or JSON bytes -> plain values with the line and column of each.
 *
 * The input is hostile: its size, tokens, depth and aliases are bounded before and while it is read, so that no file
 * costs more than a few seconds. JSON is read as the YAML it is. Tags, directives and merge keys add nothing here and
 * are refused or mean nothing.
 */
import type { Complaints, InputPath, Locate, Position } from "#domain/complaints.ts";
import { shown } from "#domain/complaints.ts";
import { SchedulerError } from "#domain/error.ts";
import type { ParameterValue } from "#domain/spec.ts";
import {
  type Alias,
  type Document,
  isAlias,
  isCollection,
  isMap,
  isScalar,
  isSeq,
  Lexer,
  LineCounter,
  type Node,
  parseDocument,
  type YAMLMap,
} from "yaml";

/** A larger file is refused unread. */
export const FILE_BYTES_MAX = 1024 * 1024;
/** The deepest place with a meaning is `tasks.a.task_inputs.N[0]`. */
const DEPTH_MAX = 32;
/** A list of 100,000 numbers, one in a line, has 600,000. The reader makes an object of each, and of each mistake. */
const TOKENS_MAX = 650_000;
/** Brackets and commas that each would be a mistake of its own, and an expensive one. */
const MISPLACED_MAX = 1000;
const ALIASES_MAX = 100;
/** Values after aliases are followed: 100 aliases of a large list are a bomb too. */
const VALUES_MAX = 300_000;
/** Below this nothing can be expensive, and the count of tokens is left out. */
const SMALL_TEXT_LENGTH = 64 * 1024;

/** Refuses what is too large or not UTF-8, with the offset of the first wrong byte. */
export function decodeText(bytes: Uint8Array): string {
  if (bytes.byteLength > FILE_BYTES_MAX) {
    throw new SchedulerError("too-large", `an experiment file has at most ${FILE_BYTES_MAX} bytes; this one has ${bytes.byteLength}`, {
      complaints: [{ path: "", message: `is larger than ${FILE_BYTES_MAX} bytes` }],
    });
  }
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    const message = `is not UTF-8: byte ${wrongByteOffset(bytes)} fits no character`;
    throw new SchedulerError("invalid-input", `the experiment file ${message}; save it as UTF-8`, {
      cause,
      complaints: [{ path: "", message }],
    });
  }
}

/** Offset of the first byte that is not UTF-8: where decoding puts a replacement character that is not there in bytes. */
function wrongByteOffset(bytes: Uint8Array): number {
  const lossy = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const encoder = new TextEncoder();
  let offset = 0;
  let from = 0;
  for (let at = lossy.indexOf("\ufffd"); at >= 0; at = lossy.indexOf("\ufffd", from)) {
    offset += encoder.encode(lossy.slice(from, at)).length;
    if (!(bytes[offset] === 0xef && bytes[offset + 1] === 0xbf && bytes[offset + 2] === 0xbd)) return offset;
    offset += 3;
    from = at + 1;
  }
  return offset;
}

export interface YamlSource {
  readonly locate: Locate;
  /** The whole as objects, arrays, strings, numbers, booleans and null; at `isParameter` paths a {@link ParameterValue}. */
  read(complaints: Complaints, isParameter: (path: InputPath) => boolean): unknown;
  /** What the reader itself objects to. */
  readonly mistakes: readonly { readonly message: string; readonly at: Position }[];
}

/** Reads text; throws {@link SchedulerError} `too-large` when it breaks a bound. */
export function openYaml(text: string): YamlSource {
  if (text.length > SMALL_TEXT_LENGTH) checkTokens(text);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: "core",
    merge: false,
    resolveKnownTags: false,
    stringKeys: true,
    uniqueKeys: false, // the reader compares every key with every other; `Reader` keeps a set
    prettyErrors: false,
    logLevel: "silent",
    lineCounter: lines,
  });
  const positionAt = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  const reader = new Reader(document, positionAt);
  return {
    locate: (path, part) => reader.locate(path, part),
    read: (complaints, isParameter) => reader.read(complaints, isParameter),
    mistakes: [...document.errors, ...document.warnings].map((e) => ({
      message: e.code === "RESOURCE_EXHAUSTION" ? "is nested too deep" : e.message,
      at: positionAt(e.pos[0]),
    })),
  };
}

/** A pass of the lexer alone, which keeps nothing, before the passes that make objects. */
function checkTokens(text: string): void {
  const seen = { tokens: 0, flow: 0, indicators: 0, misplaced: 0, previous: "" };
  for (const token of new Lexer().lex(text)) {
    countToken(seen, token);
    if (seen.tokens > TOKENS_MAX) throw refused(`has more than ${TOKENS_MAX} words and signs`);
    if (seen.flow > DEPTH_MAX || seen.indicators > DEPTH_MAX) throw refused(`is nested more than ${DEPTH_MAX} deep`);
    if (seen.misplaced > MISPLACED_MAX) throw refused(`has more than ${MISPLACED_MAX} brackets and commas out of place`);
  }
}

/** `flow` counts open brackets, `indicators` the `-`, `?` and `:` of one line outside of brackets: each nests deeper. */
function countToken(seen: { tokens: number; flow: number; indicators: number; misplaced: number; previous: string }, token: string): void {
  seen.tokens++;
  const closes = token === "]" || token === "}";
  if (token === "[" || token === "{") seen.flow++;
  else if (closes && seen.flow > 0) seen.flow--;
  else if (closes || (token === "," && seen.previous === ",")) seen.misplaced++;
  else if (token.includes("\n")) seen.indicators = 0;
  else if (seen.flow === 0 && (token === "-" || token === "?" || token === ":")) seen.indicators++;
  seen.previous = token;
}

const refused = (message: string): SchedulerError =>
  new SchedulerError("too-large", `the experiment file ${message}`, { complaints: [{ path: "", message }] });

/** Makes values of a document's nodes, once. Aliases stand for the newest anchor before them. */
class Reader {
  readonly #document: Document.Parsed;
  readonly #positionAt: (offset: number) => Position;
  readonly #anchors = new Map<string, Node>();
  readonly #targets = new Map<Alias, Node>();
  #aliases = 0;
  #values = 0;

  constructor(document: Document.Parsed, positionAt: (offset: number) => Position) {
    this.#document = document;
    this.#positionAt = positionAt;
  }

  read(complaints: Complaints, isParameter: (path: InputPath) => boolean): unknown {
    return this.#read(this.#document.contents, [], { complaints, isParameter, aliased: false });
  }

  #read(node: Node | null, path: InputPath, pass: Pass): unknown {
    if (++this.#values > VALUES_MAX) throw refused(`holds more than ${VALUES_MAX} values`);
    if (path.length > DEPTH_MAX) throw refused(`is nested more than ${DEPTH_MAX} deep`);
    if (isAlias(node)) return this.#follow(node, path, pass);
    if (node !== null && node.anchor !== undefined && !pass.aliased) this.#anchors.set(node.anchor, node);
    if (pass.isParameter(path)) return this.#readParameter(node, path, pass);
    if (isMap(node)) return this.#readMap(node, path, pass);
    if (isSeq(node)) return node.items.map((item, i) => this.#read(item as Node | null, [...path, i], pass));
    const value = isScalar(node) ? node.value : null;
    if (typeof value === "string") this.#checkText(value, path, pass);
    return typeof value === "bigint" ? Number(value) : value;
  }

  #follow(alias: Alias, path: InputPath, pass: Pass): unknown {
    if (++this.#aliases > ALIASES_MAX) throw refused(`follows more than ${ALIASES_MAX} aliases`);
    const target = this.#targets.get(alias) ?? this.#anchors.get(alias.source);
    if (target === undefined) {
      pass.complaints.add(path, `no anchor before it is named ${shown(alias.source)}`);
      return null;
    }
    this.#targets.set(alias, target);
    return this.#read(target, path, { ...pass, aliased: true });
  }

  #readMap(map: YAMLMap, path: InputPath, pass: Pass): Record<string, unknown> {
    const entries: Record<string, unknown> = {};
    for (const { key, value } of map.items) {
      const name = isScalar(key) ? key.value : undefined;
      if (typeof name !== "string") {
        pass.complaints.add(path, "a key is not plain text");
        continue;
      }
      const at = [...path, name];
      if (Object.hasOwn(entries, name)) pass.complaints.add(at, "stands here twice", "key");
      if (name === "__proto__") {
        pass.complaints.add(at, "is not a name that can be used", "key");
        continue;
      }
      this.#checkText(name, at, pass);
      entries[name] = this.#read(value as Node | null, at, pass);
    }
    return entries;
  }

  /** One value or a list of values. What is neither is complained about and read as an empty text. */
  #readParameter(node: Node | null, path: InputPath, pass: Pass): ParameterValue {
    if (isSeq(node)) {
      const texts = node.items.map((item, i) => this.#readText(item as Node | null, [...path, i], pass));
      return { kind: "many", texts };
    }
    return { kind: "one", text: this.#readText(node, path, pass) };
  }

  #readText(node: Node | null, path: InputPath, pass: Pass): string {
    if (++this.#values > VALUES_MAX) throw refused(`holds more than ${VALUES_MAX} values`);
    if (isAlias(node)) {
      const value = this.#follow(node, path, { ...pass, isParameter: () => true }) as ParameterValue | null;
      if (value?.kind === "one") return value.text;
      if (value !== null) pass.complaints.add(path, "is a list within a list");
      return "";
    }
    if (node !== null && node.anchor !== undefined && !pass.aliased) this.#anchors.set(node.anchor, node);
    if (!isScalar(node) || node.value === null) {
      pass.complaints.add(
        path,
        isCollection(node) ? "is a list or map where one value belongs" : 'has no value; the empty text is written ""',
      );
      return "";
    }
    const { value } = node;
    const text = typeof value === "number" && node.source !== undefined ? node.source : String(value);
    this.#checkText(text, path, pass);
    return text;
  }

  /** NUL cannot be in a variable or a path; half of a surrogate pair cannot be written as UTF-8. */
  #checkText(text: string, path: InputPath, { complaints }: Pass): void {
    if (text.includes("\0") || !text.isWellFormed())
      complaints.add(path, "holds a character that no file or variable can hold (NUL or half a character)");
  }

  locate(path: InputPath, part: "key" | "value"): Position | undefined {
    let node: unknown = this.#document.contents;
    let offset = startOf(node) ?? 0;
    for (const [i, step] of path.entries()) {
      if (isAlias(node)) node = this.#targets.get(node);
      const wantsKey = part === "key" && i === path.length - 1;
      const found: { value: unknown; offset: number | undefined } | undefined = isMap(node)
        ? findInMap(node, String(step), wantsKey)
        : isSeq(node) && typeof step === "number"
          ? { value: node.items[step], offset: startOf(node.items[step]) }
          : undefined;
      if (found === undefined) break;
      node = found.value;
      offset = found.offset ?? offset;
    }
    return this.#positionAt(offset);
  }
}

interface Pass {
  readonly complaints: Complaints;
  readonly isParameter: (path: InputPath) => boolean;
  /** Inside the target of an alias: its anchors are known already. */
  readonly aliased: boolean;
}

/** A scalar stands where it is written; a collection, or nothing, where its key is. The last of equal keys counts. */
function findInMap(map: YAMLMap, name: string, wantsKey: boolean): { value: unknown; offset: number | undefined } | undefined {
  const pair = map.items.findLast(({ key }) => isScalar(key) && key.value === name);
  if (pair === undefined) return undefined;
  const atKey = wantsKey || isCollection(pair.value) || startOf(pair.value) === undefined;
  return { value: pair.value, offset: startOf(atKey ? pair.key : pair.value) };
}

function startOf(node: unknown): number | undefined {
  if (!isScalar(node) && !isCollection(node) && !isAlias(node)) return undefined;
  return node.range?.[0];
}
