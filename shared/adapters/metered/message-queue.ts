/** A MessageQueue that tells the meter of each request as SQS bills it. Who pays stands in the messages. */
import type { ExperimentId } from "#domain/id.ts";
import { parseId } from "#domain/id.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";
import type { Meter } from "#ports/meter.ts";

/** One request moves so much. */
const CHUNK_BYTES = 64 * 1024;
const DELETES_PER_REQUEST = 10;
/** Messages received and not deleted yet, whose payers are remembered. */
const REMEMBERED_MAX = 10_000;

export function createMeteredMessageQueue(queue: MessageQueue, meter: Pick<Meter, "add">): MessageQueue {
  const received = new Map<string, readonly ExperimentId[]>();
  const remember = ({ receipt, body }: QueueMessage): readonly ExperimentId[] => {
    const payers = payersIn(body);
    received.set(receipt, payers);
    if (received.size > REMEMBERED_MAX) received.delete(received.keys().next().value as string);
    return payers;
  };
  return {
    async send(name, body, options) {
      await queue.send(name, body, options);
      meter.add("message-requests", chunksOf(Buffer.byteLength(body)), payersIn(body));
    },
    async receive(name, options) {
      const messages = await queue.receive(name, options);
      const bytes = messages.reduce((sum, { body }) => sum + Buffer.byteLength(body), 0);
      meter.add("message-requests", chunksOf(bytes), distinct(messages.flatMap(remember)));
      return messages;
    },
    async remove(name, receipts) {
      await queue.remove(name, receipts);
      const payers = receipts.flatMap((receipt) => received.get(receipt) ?? []);
      for (const receipt of receipts) received.delete(receipt);
      meter.add("message-requests", Math.ceil(receipts.length / DELETES_PER_REQUEST), distinct(payers));
    },
    async depth(name) {
      meter.add("message-requests", 1);
      return queue.depth(name);
    },
  };
}

const chunksOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / CHUNK_BYTES));
const distinct = (payers: readonly ExperimentId[]): readonly ExperimentId[] => [...new Set(payers)];

/** Hints and dispatch messages name one experiment, first of all. */
function payersIn(body: string): readonly ExperimentId[] {
  const [text = ""] = /exp_[0-9a-z]{26}/.exec(body) ?? [];
  const id = parseId("experiment", text);
  return id === undefined ? [] : [id];
}
