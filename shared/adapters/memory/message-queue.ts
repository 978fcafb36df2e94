/**
 * MessageQueue in memory: the reference model. No timers, no chance, no time but the given clock, so that a simulator
 * replays it exactly: messages are given out in the order they were sent, ids and receipts are counted.
 */
import { checkQueueName, checkReceive, checkSend, DEAD_SUFFIX as DEAD, RECEIVES_MAX_DEFAULT } from "#domain/message-limits.ts";
import type { Clock } from "#ports/clock.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";

export interface MemoryMessageQueueOptions {
  readonly clock: Clock;
  /** How often a message is given out before it moves to `<queue>-dead`; 5 unless told. */
  readonly receivesMax?: number;
}

interface Message {
  readonly id: number;
  readonly body: string;
  visibleAtMs: number;
  receives: number;
}

type ReceiveOptions = Parameters<MessageQueue["receive"]>[1];

export function createMemoryMessageQueue(options: MemoryMessageQueueOptions): MessageQueue {
  const { clock, receivesMax = RECEIVES_MAX_DEFAULT } = options;
  const queues = new Map<string, Message[]>();
  const waiting = new Map<string, Set<() => void>>();
  let sent = 0;

  const messagesOf = (queue: string): Message[] => {
    const known = queues.get(queue) ?? [];
    queues.set(queue, known);
    return known;
  };
  const add = (queue: string, message: Message): void => {
    messagesOf(queue).push(message);
    for (const wake of [...(waiting.get(queue) ?? [])]) wake();
  };

  const take = (queue: string, { limit, visibilityMs }: ReceiveOptions): QueueMessage[] => {
    const nowMs = clock.now();
    const messages = messagesOf(queue);
    if (!queue.endsWith(DEAD)) {
      for (const spent of messages.filter((m) => m.visibleAtMs <= nowMs && m.receives >= receivesMax)) {
        messages.splice(messages.indexOf(spent), 1);
        add(queue + DEAD, { ...spent, visibleAtMs: nowMs });
      }
    }
    const due = messages.filter((m) => m.visibleAtMs <= nowMs).slice(0, limit);
    return due.map((message) => {
      message.receives++;
      message.visibleAtMs = nowMs + visibilityMs;
      return { id: `${message.id}`, receipt: receiptOf(message), body: message.body, receives: message.receives };
    });
  };

  /** Resolves at the next send to the queue, when its next hidden message shows, or by the returned `wake`. */
  const nextChange = (queue: string): { readonly change: Promise<void>; readonly wake: () => void } => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = new AbortController();
    const waiters = waiting.get(queue) ?? new Set();
    waiting.set(queue, waiters);
    const wake = (): void => {
      waiters.delete(wake);
      timer.abort();
      resolve();
    };
    waiters.add(wake);
    const dueAtMs = messagesOf(queue).reduce((least, message) => Math.min(least, message.visibleAtMs), Number.POSITIVE_INFINITY);
    if (dueAtMs !== Number.POSITIVE_INFINITY) void clock.sleep(Math.max(0, dueAtMs - clock.now()), timer.signal).then(wake);
    return { change: promise, wake };
  };

  return {
    async send(queue, body, { delayMs = 0 } = {}) {
      checkSend(queue, body, delayMs);
      // Without a delay the clock is left out, so that one that runs backwards hides no new message.
      add(queue, { id: ++sent, body, visibleAtMs: delayMs === 0 ? 0 : clock.now() + delayMs, receives: 0 });
    },

    async receive(queue, receive) {
      checkReceive(queue, receive);
      let ended = receive.waitMs === 0;
      let wake = (): void => {};
      const end = (): void => {
        ended = true;
        wake();
      };
      const wait = new AbortController();
      receive.signal?.addEventListener("abort", end, { once: true });
      if (!ended) void clock.sleep(receive.waitMs, wait.signal).then(end);
      try {
        while (receive.signal?.aborted !== true) {
          const got = take(queue, receive);
          if (got.length > 0 || ended) return got;
          const next = nextChange(queue);
          wake = next.wake;
          await next.change;
        }
        return [];
      } finally {
        wait.abort();
        receive.signal?.removeEventListener("abort", end);
      }
    },

    async remove(queue, receipts) {
      checkQueueName(queue);
      const gone = new Set(receipts);
      const messages = messagesOf(queue);
      queues.set(
        queue,
        messages.filter((m) => m.receives === 0 || !gone.has(receiptOf(m))),
      );
    },

    async depth(queue) {
      checkQueueName(queue);
      return messagesOf(queue).length;
    },
  };
}

/** Counts the receives, so that the receipt of an earlier receive is no receipt of the present one. */
function receiptOf(message: Message): string {
  return `${message.id}.${message.receives}`;
}
