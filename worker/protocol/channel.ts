/** One stream between an agent and the gateway, seen from either end. Messages may be lost when it ends; order is kept. */
export interface Channel<Send, Receive> {
  /** Queues a message; ignored once the channel has ended. */
  send(message: Send): void;
  /** Bytes queued and not yet taken by the transport: above a limit the sender holds back (flow control). */
  backlog(): number;
  /** The next message; `undefined` once the channel has ended. One call at a time. */
  receive(): Promise<Receive | undefined>;
  close(reason: string): void;
}
