/**
 * Logs: what one attempt wrote to stdout and stderr, byte by byte. A place in a log is an offset from its first byte; it
 * means the same while the attempt runs and afterwards. Of a long log the first and the last bytes are kept.
 */

export const LOG_STREAMS = ["stdout", "stderr"] as const;
export type LogStream = (typeof LOG_STREAMS)[number];

/** The first bytes of a stream that are kept. */
export const LOG_HEAD_BYTES_MAX = 256 * 1024;
/** The last bytes of a stream that are kept, at most; with the first ones and both streams 1 MiB for each attempt. */
export const LOG_TAIL_BYTES_MAX = 256 * 1024;
/** A kept log up to this size travels inside the result; a larger one is an object of its lease. */
export const LOG_INLINE_BYTES_MAX = 16 * 1024;

/** Which bytes are there: all but `omitted` ones from `omittedAt` on. */
export interface LogExtent {
  /** What the attempt wrote. */
  readonly bytes: number;
  readonly omittedAt: number;
  readonly omitted: number;
}

/** The content, `bytes - omitted` long, is `inline` in base64 or an object; its key is set by the gateway, never by an agent. */
export interface KeptLog extends LogExtent {
  readonly inline?: string;
  readonly sha256?: string;
  readonly object?: string;
}

export type KeptLogs = { readonly [S in LogStream]?: KeptLog };

/** Where reading from `offset` on begins: the offset of the first byte that is there, and its place in the content. */
export function seekLog({ bytes, omittedAt, omitted }: LogExtent, offset: number): { readonly offset: number; readonly at: number } {
  const from = Math.min(offset, bytes);
  if (from < omittedAt || omitted === 0) return { offset: from, at: from };
  const resumed = Math.max(from, omittedAt + omitted);
  return { offset: resumed, at: resumed - omitted };
}

const isSize = (x: unknown): x is number => Number.isSafeInteger(x) && (x as number) >= 0;
const CONTENT_BYTES_MAX = LOG_HEAD_BYTES_MAX + LOG_TAIL_BYTES_MAX;

/** Reads what a worker sent; `undefined` when it makes no sense. */
export function readKeptLog(value: unknown): KeptLog | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { bytes, omittedAt, omitted, inline, sha256, object } = value as Record<string, unknown>;
  if (!isSize(bytes) || !isSize(omittedAt) || !isSize(omitted)) return undefined;
  if (omittedAt + omitted > bytes || bytes - omitted > CONTENT_BYTES_MAX) return undefined;
  const extent = { bytes, omittedAt, omitted };
  if (typeof inline === "string" && inline.length <= LOG_INLINE_BYTES_MAX * 2) return { ...extent, inline };
  if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
  return { ...extent, sha256, ...(typeof object === "string" ? { object } : {}) };
}
