/** Server-sent events, both ways (https://html.spec.whatwg.org/multipage/server-sent-events.html): one JSON value for each event. */
import { SchedulerError } from "#domain/error.ts";

export const EVENT_STREAM_TYPE = "text/event-stream";
/** Of one event as it travels. */
const EVENT_CHARACTERS_MAX = 8 * 1024 * 1024;

export interface StreamEvent {
  readonly event: string;
  /** Where to go on after it; absent for what cannot be resumed. */
  readonly id?: string;
  readonly data: unknown;
}

/** JSON has no line breaks of its own, so one `data:` line holds it. */
export const encodeEvent = ({ event, id, data }: StreamEvent): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;
/** Keeps connections open that somebody on the way would close. */
export const HEARTBEAT = ": beat\n\n";

function parseBlock(block: string): StreamEvent | undefined {
  let event = "message";
  let id: string | undefined;
  const data: string[] = [];
  for (const line of block.split(/\r\n|\n|\r/)) {
    const [, field = "", value = ""] = /^([^:]*)(?:: ?(.*))?$/s.exec(line) ?? [];
    if (field === "event") event = value;
    else if (field === "id") id = value;
    else if (field === "data") data.push(value);
  }
  if (data.length === 0) return undefined;
  return { event, data: JSON.parse(data.join("\n")), ...(id === undefined ? {} : { id }) };
}

/** Gives each event of a body, and `undefined` for a sign of life. Throws `version-mismatch` for what is no such stream. */
export async function* readEvents(body: AsyncIterable<Uint8Array>): AsyncGenerator<StreamEvent | undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length > EVENT_CHARACTERS_MAX) throw new SchedulerError("too-large", "the server sent an event without an end");
    const blocks = rest.split(/\r\n\r\n|\n\n|\r\r/);
    rest = blocks.pop() ?? "";
    for (const block of blocks) {
      try {
        yield parseBlock(block);
      } catch (cause) {
        throw new SchedulerError("version-mismatch", "the server sent an event that can't be read: update client or server", { cause });
      }
    }
  }
}
