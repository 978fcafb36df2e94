/** What becomes of an attempt's logs at its end: text for people, and the log itself where that is more. */
import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type KeptLog, LOG_INLINE_BYTES_MAX, LOG_STREAMS, type LogStream } from "#domain/task-log.ts";
import type { TaskResult } from "#domain/result.ts";
import { textOf } from "./fault.ts";
import { OUTPUT_TAIL_BYTES_MAX } from "./limits.ts";
import type { LogBuffer } from "./log-buffer.ts";
import type { Logs } from "./process-group.ts";
import { type StagingOutTools, uploadAll } from "./staging.ts";

export interface KeepingTools extends StagingOutTools {
  /** A folder of ours that lives as long as the attempt. */
  readonly temporary: string;
  /** Told when a log could not be stored: the task is not to blame. */
  readonly onProblem: (message: string) => void;
}

const inlined = (content: Buffer): Pick<KeptLog, "inline"> => ({ inline: content.toString("base64") });

/** The log is nothing but its last bytes: what is left when it cannot be stored. */
function lastOf(log: LogBuffer): KeptLog {
  const { bytes } = log.extent();
  const content = log.content().subarray(-LOG_INLINE_BYTES_MAX);
  return { bytes, omittedAt: 0, omitted: bytes - content.length, ...inlined(content) };
}

async function keepOne(stream: LogStream, log: LogBuffer, tools: KeepingTools): Promise<KeptLog> {
  const content = log.content();
  if (content.length <= LOG_INLINE_BYTES_MAX) return { ...log.extent(), ...inlined(content) };
  const path = join(tools.temporary, `${stream}.log`);
  const sha256 = createHash("sha256").update(content).digest("hex");
  try {
    await writeFile(path, content, { mode: 0o600, flag: "wx" });
    await uploadAll([{ sha256, bytes: content.length, path }], tools);
    return { ...log.extent(), sha256 };
  } catch (error) {
    if (!tools.signal.aborted) tools.onProblem(`a log of ${content.length} bytes was not stored: ${textOf(error)}`);
    return lastOf(log);
  }
}

const isText = (log: LogBuffer, text: string): boolean => log.extent().omitted === 0 && log.content().equals(Buffer.from(text));

/** Never rejects: an attempt does not fail by its log. */
export async function keepLogs(logs: Logs, tools: KeepingTools): Promise<Pick<TaskResult, "stdout" | "stderr" | "logs">> {
  const kept: { stdout?: KeptLog; stderr?: KeptLog } = {};
  const texts: { stdout?: string; stderr?: string } = {};
  for (const stream of LOG_STREAMS) {
    const log = logs[stream];
    if (log.extent().bytes === 0) continue;
    const text = log.tail(OUTPUT_TAIL_BYTES_MAX);
    if (text !== "") texts[stream] = text;
    if (!isText(log, text)) kept[stream] = await keepOne(stream, log, tools);
  }
  return { ...texts, ...(Object.keys(kept).length === 0 ? {} : { logs: kept }) };
}
