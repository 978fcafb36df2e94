/**
 * A second process on the same queue, for the contract tests: reads one JSON command per line, answers one per line.
 * Started with a {@link QueueAddress}.
 */
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { openSqliteMessageQueue } from "#adapters/sqlite/message-queue.ts";
import { createSystemClock } from "#adapters/system/clock.ts";
import type { MessageQueue } from "#ports/message-queue.ts";
import { openSqs } from "./sqs-queues.ts";

export type QueueAddress =
  | { readonly kind: "sqlite"; readonly file: string }
  | { readonly kind: "sqs"; readonly endpoint: string; readonly prefix: string };

export type PeerCommand =
  | { readonly op: "send"; readonly queue: string; readonly bodies: readonly string[] }
  /** Waits for one message and leaves it hidden. */
  | { readonly op: "hold"; readonly queue: string; readonly visibilityMs: number }
  /** `receivers` receive until nothing comes for `idleMs`; each message is held for `holdMs` and removed. */
  | { readonly op: "work"; readonly queue: string; readonly receivers: number; readonly holdMs: number; readonly idleMs: number }
  /** Answers the moment each of `count` messages was received. */
  | { readonly op: "stamp"; readonly queue: string; readonly count: number };

const NANOSECONDS_IN_MS = 1e6;

/** Milliseconds on the clock that all processes of a machine share and nobody sets. */
export function machineMs(): number {
  return Number(process.hrtime.bigint()) / NANOSECONDS_IN_MS;
}

/** Receives as `work` says; the bodies in the order they were held, one as often as it was. */
export async function work(
  queue: MessageQueue,
  { queue: name, receivers, holdMs, idleMs }: Omit<PeerCommand & { op: "work" }, "op">,
): Promise<string[]> {
  const held: string[] = [];
  const receiver = async (): Promise<void> => {
    for (;;) {
      const [message] = await queue.receive(name, { limit: 1, waitMs: idleMs, visibilityMs: 30_000 });
      if (message === undefined) return;
      held.push(message.body);
      await sleep(holdMs);
      await queue.remove(name, [message.receipt]);
    }
  };
  await Promise.all(Array.from({ length: receivers }, receiver));
  return held;
}

async function obey(queue: MessageQueue, command: PeerCommand): Promise<unknown> {
  switch (command.op) {
    case "send":
      await Promise.all(command.bodies.map((body) => queue.send(command.queue, body)));
      return command.bodies.length;
    case "hold":
      return queue.receive(command.queue, { limit: 1, waitMs: 5_000, visibilityMs: command.visibilityMs });
    case "work":
      return work(queue, command);
    case "stamp": {
      const latenciesMs: number[] = [];
      while (latenciesMs.length < command.count) {
        const messages = await queue.receive(command.queue, { limit: 10, waitMs: 5_000, visibilityMs: 30_000 });
        const nowMs = machineMs();
        latenciesMs.push(...messages.map((message) => nowMs - Number(message.body)));
        await queue.remove(
          command.queue,
          messages.map((message) => message.receipt),
        );
      }
      return latenciesMs;
    }
  }
}

if (import.meta.main) {
  const address = JSON.parse(process.argv[2] ?? "") as QueueAddress;
  const queue =
    address.kind === "sqlite"
      ? await openSqliteMessageQueue({ file: address.file, clock: createSystemClock() })
      : openSqs(address.endpoint, address.prefix).queue;
  process.stdout.write(`${JSON.stringify("ready")}\n`);
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await obey(queue, JSON.parse(line) as PeerCommand))}\n`);
  }
  if ("close" in queue) await queue.close();
}
