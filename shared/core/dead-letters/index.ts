/**
 * DeadLetters: messages that were given out too often without being done with. Each is a hint (G5): what it hinted at is
 * repaired by timers and beats, so a dead letter tells of a fault and costs time, never work.
 */
import { SchedulerError } from "#domain/error.ts";
import { DEAD_SUFFIX } from "#domain/message-limits.ts";
import type { MessageQueue, QueueMessage } from "#ports/message-queue.ts";

export interface DeadLetter {
  readonly id: string;
  /** Its beginning, for people. */
  readonly body: string;
}

export interface DeadQueue {
  readonly queue: string;
  /** Approximate. */
  readonly messages: number;
  /** At most ten of them. */
  readonly some: readonly DeadLetter[];
}

export interface Redriven {
  readonly moved: number;
  readonly left: number;
}

export interface DeadLetters {
  /** Queues with dead letters. Looking changes nothing. */
  list(): Promise<readonly DeadQueue[]>;
  count(): Promise<number>;
  /** Sends up to `limit` of them again; one may be sent twice when this is interrupted. Throws `not-found` for an unknown queue. */
  redrive(queue: string, limit: number): Promise<Redriven>;
}

export interface DeadLettersDeps {
  readonly messages: MessageQueue;
  /** The queues that there are now. */
  readonly queues: () => Promise<readonly string[]>;
}

const BATCH = 10;
const BODY_SHOWN_CHARACTERS = 500;
/** Longer than sending ten messages takes. */
const MOVING_MS = 30_000;

export function createDeadLetters({ messages, queues }: DeadLettersDeps): DeadLetters {
  const depth = (queue: string): Promise<number> => messages.depth(queue + DEAD_SUFFIX).catch(noneWhenMissing(0));
  const receive = (queue: string, limit: number, visibilityMs: number): Promise<readonly QueueMessage[]> =>
    messages.receive(queue + DEAD_SUFFIX, { limit, waitMs: 0, visibilityMs }).catch(noneWhenMissing([]));

  const look = async (queue: string): Promise<DeadQueue> => {
    const count = await depth(queue);
    const found = count === 0 ? [] : await receive(queue, BATCH, 0);
    return { queue, messages: count, some: found.map(({ id, body }) => ({ id, body: body.slice(0, BODY_SHOWN_CHARACTERS) })) };
  };

  return {
    async list() {
      const all = await Promise.all((await queues()).map(look));
      return all.filter((dead) => dead.messages > 0);
    },

    async count() {
      const depths = await Promise.all((await queues()).map(depth));
      return depths.reduce((sum, one) => sum + one, 0);
    },

    async redrive(queue, limit) {
      if (!(await queues()).includes(queue))
        throw new SchedulerError("not-found", `there is no queue ${queue}: list shows those with dead letters`);
      let moved = 0;
      while (moved < limit) {
        const batch = await receive(queue, Math.min(BATCH, limit - moved), MOVING_MS);
        if (batch.length === 0) break;
        await Promise.all(batch.map((message) => messages.send(queue, message.body)));
        await messages.remove(
          queue + DEAD_SUFFIX,
          batch.map((message) => message.receipt),
        );
        moved += batch.length;
      }
      return { moved, left: await depth(queue) };
    },
  };
}

const noneWhenMissing =
  <T>(none: T) =>
  (error: unknown): T => {
    if (error instanceof SchedulerError && error.kind === "not-found") return none;
    throw error;
  };
