/** What the wire asks of a logger: the part of ports/logger.ts that it uses. The agent may not import ports. */
export interface Log {
  info(message: string, facts?: Readonly<Record<string, string | number | boolean | undefined>>): void;
  warn(message: string, facts?: Readonly<Record<string, string | number | boolean | undefined>>): void;
}
