/**
 * What the tool writes: results to stdout, everything else to stderr. Colours and redrawing only on a terminal.
 *
 * Names, parameters and logs come from others: control characters are taken out before a terminal gets to see them.
 */
import { stripVTControlCharacters, styleText } from "node:util";

export type Style = "bold" | "dim" | "green" | "red" | "yellow";

export interface Output {
  readonly json: boolean;
  /** Nothing but what was asked for, for scripts. */
  readonly quiet: boolean;
  /** Lines may be redrawn. */
  readonly live: boolean;
  readonly columns: number;
  /** A result: JSON when asked for, its names alone when quiet, else lines. */
  result(value: unknown, lines: () => readonly string[]): void;
  line(text: string): void;
  /** Progress and remarks: stderr, left out with --json and --quiet. */
  note(text: string): void;
  error(text: string): void;
  /** Replaces what was redrawn last, on stderr, and writes lines that stay above it. Only when `live`. */
  redraw(lines: readonly string[], above?: readonly string[]): void;
  /** Bytes of others to stdout: as they are into files and pipes, harmless on a terminal. Resolves when there is room for more. */
  bytes(data: Uint8Array): Promise<void>;
  style(style: Style, text: string): string;
}

export interface Streams {
  readonly stdout: NodeJS.WriteStream;
  readonly stderr: NodeJS.WriteStream;
  readonly env: NodeJS.ProcessEnv;
}

const COLUMNS_DEFAULT = 100;
const ROWS_DEFAULT = 24;
const ESCAPE = "\u001b";

/** Control characters (C0 without tab and line break, DEL, C1) as a sign that something was there. */
export const clean = (text: string): string =>
  [...text]
    .map((c) => (c === "\n" || c === "\t" || (c >= " " && c !== "\u007f" && !(c >= "\u0080" && c <= "\u009f")) ? c : "\ufffd"))
    .join("");

/** No line may wrap and no more lines than the window has: else the next redraw starts at the wrong place. */
export function fitLines(lines: readonly string[], columns: number, rows: number): string[] {
  const room = Math.max(2, rows - 1);
  const kept = lines.length > room ? [...lines.slice(0, room - 1), `  and ${lines.length - room + 1} more`] : lines;
  return kept.map((line) => {
    const plain = stripVTControlCharacters(line);
    return plain.length < columns ? line : plain.slice(0, Math.max(0, columns - 1));
  });
}

function mayColour(stream: NodeJS.WriteStream, env: NodeJS.ProcessEnv): boolean {
  return stream.isTTY === true && (env.NO_COLOR ?? "") === "" && env.TERM !== "dumb";
}

const NAMES = ["id", "task", "worker", "path", "name"] as const;

/** What a result, or each of its items, is called; nothing for what has no name. */
function namesOf(value: unknown): string[] {
  if (typeof value !== "object" || value === null) return [];
  const list = Array.isArray(value) ? value : "items" in value && Array.isArray(value.items) ? value.items : undefined;
  if (list !== undefined) return list.flatMap(namesOf);
  const found = NAMES.map((key) => (value as Record<string, unknown>)[key]).find((name) => typeof name === "string");
  return found === undefined ? [] : [clean(String(found))];
}

export function createOutput(
  { stdout, stderr, env }: Streams,
  { json = false, quiet = false }: { json?: boolean; quiet?: boolean } = {},
): Output {
  const colour = mayColour(stderr, env) && mayColour(stdout, env);
  const live = stderr.isTTY === true && env.TERM !== "dumb" && !json && !quiet;
  /** Widths of the lines that were redrawn last. */
  let drawn: readonly number[] = [];
  const decoder = new TextDecoder();
  const write = (stream: NodeJS.WriteStream, text: string) => stream.write(`${text}\n`);
  return {
    json,
    quiet,
    live,
    columns: stderr.columns || COLUMNS_DEFAULT,
    result(value, lines) {
      if (json) write(stdout, JSON.stringify(value));
      else for (const text of quiet ? namesOf(value) : lines()) write(stdout, text);
    },
    line: (text) => void write(stdout, text),
    note: (text) => void (json || quiet || write(stderr, text)),
    error: (text) => void write(stderr, text),
    redraw(lines, above = []) {
      const columns = stderr.columns || COLUMNS_DEFAULT;
      // A window that became narrower has broken the lines of before into several.
      const rows = drawn.reduce((n, width) => n + Math.max(1, Math.ceil(width / columns)), 0);
      const up = rows > 0 ? `${ESCAPE}[${rows}A` : "";
      const shown = fitLines(lines, columns, stderr.rows || ROWS_DEFAULT);
      // One write between the marks of a synchronized update: no half of it is ever to be seen.
      const text = [...above, ...shown].map((line) => `\r${ESCAPE}[2K${line}\n`).join("");
      stderr.write(`${ESCAPE}[?2026h${up}${text}${ESCAPE}[0J${ESCAPE}[?2026l`);
      drawn = shown.map((line) => stripVTControlCharacters(line).length);
    },
    async bytes(data) {
      const shown = stdout.isTTY === true ? clean(decoder.decode(data, { stream: true }).replace(/\r\n?/g, "\n")) : data;
      if (!stdout.write(shown)) await new Promise<void>((resolve) => stdout.once("drain", resolve));
    },
    style: (style, text) => (colour ? styleText(style, text, { validateStream: false }) : text),
  };
}

/** Columns side by side; numbers to the right. */
export function table(head: readonly string[], rows: readonly (readonly (string | number)[])[]): string[] {
  const cells = rows.map((row) => row.map((cell) => clean(String(cell)).replace(/[\n\t]/g, " ")));
  const widths = head.map((title, i) => Math.max(title.length, ...cells.map((row) => row[i]?.length ?? 0)));
  const isNumber = head.map((_, i) => rows.length > 0 && rows.every((row) => typeof row[i] === "number"));
  const format = (row: readonly string[]): string =>
    row
      .map((cell, i) => (isNumber[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return [format(head), ...cells.map(format)];
}

const instant = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });
export const showInstant = (ms: number | undefined): string => (ms === undefined ? "-" : instant.format(ms));

export function showDuration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  if (h > 0) return `${h} h ${m} min`;
  return m > 0 ? `${m} min ${s} s` : `${s} s`;
}

const number = new Intl.NumberFormat("en-US");
export const showCount = (n: number): string => number.format(n);

export function showBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, bytes < 1 ? 0 : Math.floor(Math.log2(bytes) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
}
