/** What a source file must keep to beyond formatter, linter and types. Each check says what is wrong and where. */
import { basename, dirname } from "node:path";
import { parseSync, visitorKeys } from "oxc-parser";

export const FUNCTION_LINES_MAX = 70;
export const FILE_LINES_MAX = 600;
const VAGUE_NAMES = ["utils", "util", "helpers", "helper", "common", "manager"];

interface Node {
  readonly type: string;
  readonly start: number;
  readonly end: number;
}

interface Source {
  readonly path: string;
  readonly text: string;
  readonly nodes: readonly { readonly node: Node; readonly functions: readonly Node[] }[];
  readonly comments: readonly { readonly value: string; readonly start: number }[];
}

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);
const IMPORTS = new Set(["ImportDeclaration", "ExportNamedDeclaration", "ExportAllDeclaration", "ImportExpression", "TSImportType"]);

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && "type" in value && "start" in value;

const childrenOf = (node: Node): Node[] =>
  (visitorKeys[node.type] ?? []).flatMap((key) => [(node as unknown as Record<string, unknown>)[key]].flat(1)).filter(isNode);

/** Every node with the functions around it, innermost last. */
function walk(node: Node, functions: readonly Node[]): Source["nodes"][number][] {
  const inside = FUNCTIONS.has(node.type) ? [...functions, node] : functions;
  return [{ node, functions }, ...childrenOf(node).flatMap((child) => walk(child, inside))];
}

function parse(path: string, text: string): Source {
  const { program, comments, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
  return { path, text, comments, nodes: walk(program as unknown as Node, []) };
}

const lineOf = (text: string, offset: number): number => text.slice(0, offset).split("\n").length;
const linesOf = (text: string, { start, end }: Node): number => text.slice(start, end).split("\n").length;

/** Lines of a function without those of functions inside it: a factory is as long as its own part. */
function ownLines(source: Source, fn: Node): number {
  const inner = source.nodes.filter(({ node, functions }) => FUNCTIONS.has(node.type) && functions.at(-1) === fn);
  return linesOf(source.text, fn) - inner.reduce((sum, { node }) => sum + linesOf(source.text, node) - 1, 0);
}

const longFunctions = (source: Source): string[] =>
  source.nodes
    .filter(({ node }) => FUNCTIONS.has(node.type))
    .map(({ node }) => ({ node, lines: ownLines(source, node) }))
    .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
    .map(({ node, lines }) => `line ${lineOf(source.text, node.start)}: function of ${lines} lines, at most ${FUNCTION_LINES_MAX}`);

function longFile({ text }: Source): string[] {
  const lines = text.trimEnd().split("\n").length;
  return lines > FILE_LINES_MAX ? [`file of ${lines} lines, at most ${FILE_LINES_MAX}`] : [];
}

const unfinished = ({ text, comments }: Source): string[] =>
  comments
    .filter(({ value }) => /\b(TODO|FIXME|XXX)\b/.test(value))
    .map(({ start }) => `line ${lineOf(text, start)}: do it right now instead of noting it`);

function climbingImports({ path, text, nodes }: Source): string[] {
  if (path.startsWith("test/")) return [];
  return nodes
    .filter(({ node }) => IMPORTS.has(node.type))
    .map(({ node }) => node as Node & { source?: { value?: unknown } | null })
    .filter(({ source }) => typeof source?.value === "string" && source.value.startsWith("../"))
    .map(({ start }) => `line ${lineOf(text, start)}: write #room/x.ts; ../ is for tests only`);
}

const anyTypes = ({ text, nodes, comments }: Source): string[] => [
  ...nodes.filter(({ node }) => node.type === "TSAnyKeyword").map(({ node }) => `line ${lineOf(text, node.start)}: any`),
  ...comments
    .filter(({ value }) => /@ts-ignore|@ts-nocheck|biome-ignore-all/.test(value))
    .map(({ start }) => `line ${lineOf(text, start)}: switches checks off for more than one named case`),
];

function vagueName({ path }: Source): string[] {
  const names = [...dirname(path).split("/"), ...basename(path).split(".").slice(0, 1)];
  return names
    .filter((name) => name.split("-").some((word) => VAGUE_NAMES.includes(word)))
    .map((name) => `"${name}" does not say what it holds`);
}

/** Everything wrong with one file; `path` is relative to the root of the repository. */
export function complaintsAbout(path: string, text: string): string[] {
  const source = parse(path, text);
  return [longFunctions, longFile, unfinished, climbingImports, anyTypes, vagueName].flatMap((check) => check(source));
}
