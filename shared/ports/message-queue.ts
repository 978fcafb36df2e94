/**
 * MessageQueue: at-least-once, unordered, possibly late: every message is a hint (G5). Queue names: `[a-z0-9-]{1,60}`.
 * A message that is received stays hidden for `visibilityMs`; not deleted by then it is given out again, and after
 * `receivesMax` receives it moves to `<queue>-dead`.
 */
export interface QueueMessage {
  readonly id: string;
  readonly receipt: string;
  readonly body: string;
  /** 1 for the first time. */
  readonly receives: number;
}

export interface MessageQueue {
  /** Body at most 256 KiB; delay 0..900,000 ms. */
  send(queue: string, body: string, options?: { readonly delayMs?: number }): Promise<void>;
  /** At most `limit` (1..10) messages; waits up to `waitMs` for the first. Ends early with none when `signal` aborts. */
  receive(
    queue: string,
    options: { readonly limit: number; readonly waitMs: number; readonly visibilityMs: number; readonly signal?: AbortSignal },
  ): Promise<readonly QueueMessage[]>;
  /** Deletes received messages; unknown receipts are ignored. */
  remove(queue: string, receipts: readonly string[]): Promise<void>;
  /** Messages waiting or hidden: approximate. */
  depth(queue: string): Promise<number>;
}
