/**
 * Logger that writes one JSON object a line by pino, at once and in order, to standard output or error.
 *
 * Facts hold no secrets (C1). Should one slip in all the same, it is struck out: by the name of its key, and in texts
 * where it looks like what we hand out (bearer tokens, signatures of URLs, passwords in URLs).
 */
import { type DestinationStream, destination, type Logger as Pino, pino } from "pino";
import type { LogFacts, Logger } from "#ports/logger.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";

export interface PinoLoggerOptions {
  readonly level: LogLevel;
  /** Standard output, standard error, or a stream of the caller's. */
  readonly to: "stdout" | "stderr" | DestinationStream;
  /** On every line: which process this is. */
  readonly facts?: LogFacts;
}

const STRUCK = "[struck out]";
const SECRET_KEY = /token|passw|passphrase|secret|authorization|cookie|credential$|private_?key|api_?key|access_?key|signature|^sig$/i;
const SECRET_TEXTS: readonly (readonly [RegExp, string])[] = [
  [/\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi, `$1 ${STRUCK}`],
  [/([?&](?:signature|x-amz-signature|x-amz-credential|x-amz-security-token|token)=)[^&\s"']+/gi, `$1${STRUCK}`],
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:@/]+:)[^\s@/]+@/gi, `$1${STRUCK}@`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, STRUCK],
];
const TEXT_CHARACTERS_MAX = 8_192;
/** Names pino writes itself; a fact of that name would stand twice in one line. */
const RESERVED = new Set(["level", "time", "message"]);

export function createPinoLogger({ level, to, facts = {} }: PinoLoggerOptions): Logger {
  // Synchronous: a line that was logged is out before the process can die of what it tells.
  const stream = typeof to === "string" ? destination({ fd: to === "stdout" ? 1 : 2, sync: true }) : to;
  const options = {
    level,
    base: null,
    messageKey: "message",
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  };
  return wrap(pino(options, stream)).child(facts);
}

function wrap(inner: Pino): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, facts: LogFacts = {}): void => {
      if (inner.isLevelEnabled(level)) inner[level](strikeFacts(facts), strikeText(message));
    };
  return {
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
    child: (facts) => wrap(inner.child(strikeFacts(facts))),
  };
}

function strikeFacts(facts: LogFacts): Record<string, string | number | boolean> {
  const struck: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(facts)) {
    if (value === undefined) continue;
    const name = RESERVED.has(key) ? `${key}_` : key;
    // Numbers stay: `tokenCount` and `secretsMax` are facts.
    struck[name] = typeof value !== "string" ? value : SECRET_KEY.test(key) ? STRUCK : strikeText(value);
  }
  return struck;
}

function strikeText(text: string): string {
  let struck = text.length > TEXT_CHARACTERS_MAX ? `${text.slice(0, TEXT_CHARACTERS_MAX)}…` : text;
  for (const [pattern, replacement] of SECRET_TEXTS) struck = struck.replace(pattern, replacement);
  return struck;
}
