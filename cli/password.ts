/** The password: from a file, from standard input, or asked for without showing it. Never from an option: others see those. */
import { open } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { SchedulerError } from "#domain/error.ts";
import type { Io } from "./session.ts";

const PASSWORD_BYTES_MAX = 4096;

const refuse = (message: string, cause?: unknown): SchedulerError => new SchedulerError("invalid-input", message, { cause });

/** The first line; the line break that editors add is not part of it. */
function firstLine(text: string, where: string): string {
  const line = text.split(/\r?\n/, 1)[0] ?? "";
  if (line === "") throw refuse(`${where} holds no password`);
  return line;
}

async function readStream(stdin: NodeJS.ReadStream): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stdin) {
    const part = Buffer.from(chunk);
    bytes += part.byteLength;
    if (bytes > PASSWORD_BYTES_MAX) throw refuse("that is too long for a password");
    chunks.push(part);
  }
  return firstLine(Buffer.concat(chunks).toString("utf8"), "standard input");
}

async function readFrom(file: string): Promise<string> {
  try {
    await using handle = await open(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(PASSWORD_BYTES_MAX), 0, PASSWORD_BYTES_MAX, 0);
    return firstLine(buffer.toString("utf8", 0, bytesRead), file);
  } catch (cause) {
    if (cause instanceof SchedulerError) throw cause;
    throw refuse(`can't read the password from ${file}: ${cause instanceof Error ? cause.message : cause}`, cause);
  }
}

/** Asks on the terminal; what is typed is shown only when `hidden` is false. */
export async function ask(io: Io, question: string, hidden: boolean, signal: AbortSignal): Promise<string> {
  if (io.stdin.isTTY !== true) throw refuse(`${question.trim()} can't be asked for without a terminal: give it as an option`);
  io.stderr.write(question);
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: io.stdin, output: hidden ? muted : io.stderr, terminal: true });
  try {
    return await lines.question("", { signal });
  } finally {
    lines.close();
    if (hidden) io.stderr.write("\n");
  }
}

export async function readPassword(io: Io, file: string | undefined, signal: AbortSignal, question = "Password: "): Promise<string> {
  if (file !== undefined && file !== "-") return readFrom(file);
  if (file === "-" || io.stdin.isTTY !== true) return readStream(io.stdin);
  const password = await ask(io, question, true, signal);
  if (password === "") throw refuse("no password was given");
  return password;
}
