/** Two ends of one stream within a process, in order and without delay. */
import type { Channel } from "#protocol/channel.ts";

interface End {
  readonly inbox: unknown[];
  waiting: ((message: unknown) => void) | undefined;
  ended: boolean;
}

export function createPair<A, B>(): [Channel<A, B>, Channel<B, A>] {
  const [near, far]: [End, End] = [
    { inbox: [], waiting: undefined, ended: false },
    { inbox: [], waiting: undefined, ended: false },
  ];
  const offer = (to: End, message: unknown): void => {
    if (message === undefined) to.ended = true;
    const { waiting } = to;
    to.waiting = undefined;
    if (waiting !== undefined) waiting(message);
    else if (message !== undefined) to.inbox.push(message);
  };
  const side = (me: End, other: End) => ({
    send: (message: unknown) => queueMicrotask(() => offer(other, message)),
    backlog: () => 0,
    receive: () =>
      new Promise<unknown>((resolve) => {
        if (me.inbox.length > 0) resolve(me.inbox.shift());
        else if (me.ended) resolve(undefined);
        else me.waiting = resolve;
      }),
    close: () => {
      offer(me, undefined);
      offer(other, undefined);
    },
  });
  return [side(near, far) as Channel<A, B>, side(far, near) as Channel<B, A>];
}
