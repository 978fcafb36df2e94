/** Virtual time, seeded chance and processes that can die or freeze at any await. Nothing here touches real time or I/O. */
import type { Clock } from "#ports/clock.ts";
import type { Random } from "#ports/random.ts";

export interface Kernel {
  readonly nowMs: () => number;
  readonly random: Random & { below(n: number): number; chance(p: number): boolean; pick<T>(items: readonly T[]): T };
  at(delayMs: number, run: () => void): void;
  /** Runs events in order of time until `done` says so or none is left. */
  run(done: () => boolean): Promise<void>;
  process(name: string, skewMs: number): Process;
  /** Moves the wall clock of all processes; running time goes on as before. */
  stepWall(ms: number): void;
  steps: number;
}

/** A process: what awaits its ports never goes on after its death, and waits while it is frozen. */
export interface Process {
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  alive: boolean;
  frozenUntilMs: number;
  kill(): void;
  /** One asynchronous operation: `work` happens after some latency, its answer arrives after some more. */
  call<T>(latencyMs: number, work: () => T | Promise<T>): Promise<T>;
  onKill: (() => void)[];
}

export function createKernel(seed: number): Kernel {
  let state = (seed * 2654435761 + 1) >>> 0;
  const next = (): number => {
    // mulberry32
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const random = {
    next,
    bytes: (n: number) => Uint8Array.from({ length: n }, () => Math.floor(next() * 256)),
    below: (n: number) => Math.floor(next() * n),
    chance: (p: number) => next() < p,
    pick: <T>(items: readonly T[]): T => items[Math.floor(next() * items.length)] as T,
  };
  const heap = createHeap();
  let now = 1_700_000_000_000;
  let order = 0;
  let steppedMs = 0;
  const kernel: Kernel = {
    steps: 0,
    nowMs: () => now,
    random,
    at: (delayMs, run) => heap.push({ at: now + Math.max(0, delayMs), order: order++, run }),
    async run(done) {
      for (let e = heap.pop(); e !== undefined; e = heap.pop()) {
        now = Math.max(now, e.at);
        e.run();
        kernel.steps++;
        await new Promise<void>((resolve) => setImmediate(resolve));
        if (done()) return;
      }
    },
    stepWall: (ms) => {
      steppedMs += ms;
    },
    process: (name, skewMs) => createProcess(kernel, { name, wallMs: () => now + steppedMs + skewMs }),
  };
  return kernel;
}

function createProcess(kernel: Kernel, { name, wallMs }: { readonly name: string; readonly wallMs: () => number }): Process {
  const wake = (p: Process, run: () => void): void => {
    if (!p.alive) return;
    const left = p.frozenUntilMs - kernel.nowMs();
    if (left > 0) kernel.at(left + kernel.random.below(5), () => wake(p, run));
    else run();
  };
  const p: Process = {
    name,
    alive: true,
    frozenUntilMs: 0,
    onKill: [],
    random: kernel.random,
    clock: {
      now: wallMs,
      sleep: (ms, signal) =>
        new Promise<void>((resolve) => {
          if (signal?.aborted) return resolve();
          signal?.addEventListener("abort", () => resolve(), { once: true });
          kernel.at(ms, () => wake(p, resolve));
        }),
    },
    kill() {
      if (!p.alive) return;
      p.alive = false;
      for (const f of p.onKill) f();
    },
    call: (latencyMs, work) =>
      new Promise((resolve, reject) => {
        if (!p.alive) return;
        kernel.at(latencyMs * kernel.random.next(), () => {
          // The request is on its way even if its sender has died meanwhile.
          Promise.resolve()
            .then(work)
            .then(
              (value) => kernel.at(latencyMs * kernel.random.next(), () => wake(p, () => resolve(value))),
              (error) => kernel.at(latencyMs * kernel.random.next(), () => wake(p, () => reject(error))),
            );
        });
      }),
  };
  return p;
}

interface Event {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

function createHeap(): { push(e: Event): void; pop(): Event | undefined } {
  const items: Event[] = [];
  const before = (a: Event, b: Event) => a.at < b.at || (a.at === b.at && a.order < b.order);
  const swap = (i: number, j: number) => {
    [items[i], items[j]] = [items[j] as Event, items[i] as Event];
  };
  return {
    push(e) {
      items.push(e);
      for (let i = items.length - 1; i > 0; ) {
        const parent = (i - 1) >> 1;
        if (!before(items[i] as Event, items[parent] as Event)) break;
        swap(i, parent);
        i = parent;
      }
    },
    pop() {
      const top = items[0];
      const last = items.pop();
      if (items.length === 0 || last === undefined) return top;
      items[0] = last;
      for (let i = 0; ; ) {
        const [l, r] = [2 * i + 1, 2 * i + 2];
        let least = i;
        if (l < items.length && before(items[l] as Event, items[least] as Event)) least = l;
        if (r < items.length && before(items[r] as Event, items[least] as Event)) least = r;
        if (least === i) return top;
        swap(i, least);
        i = least;
      }
    },
  };
}
