/**
 * Runs the parts of the embedded default as child processes and keeps them running.
 *
 * S1 A part is started when all parts that it comes after are ready, and stopped when all that come after it have ended.
 * S2 A part that ends by itself is started again after a growing pause, with its reason printed; after too many fast
 *    crashes everything is stopped and the reason returned.
 * S3 No part outlives the supervisor, however the supervisor ends (child.ts, part-process.ts).
 *
 * Those that come after a restarted part are left alone: they reconnect. So a part has to come back at the same
 * address; its command is given what it announced last time.
 */
import { join } from "node:path";
import { createSystemClock } from "#adapters/system/clock.ts";
import { assert } from "#domain/error.ts";
import type { Clock } from "#ports/clock.ts";
import type { ReadyFacts } from "./child.ts";
import { type LogFile, openLogFile } from "./log-file.ts";
import { type Command, describeEnd, type PartEnd, type PartProcess, startPart } from "./part-process.ts";
import { decideRestart, RESTART_POLICY, type RestartPolicy } from "./restart-policy.ts";

export interface Part {
  /** `[a-z][a-z0-9-]*`; also the name of its log file. */
  readonly name: string;
  /** Names of parts that have to be ready before. */
  readonly after?: readonly string[];
  /** Asked before every start. */
  readonly command: (known: Known) => Command;
  /** Reads a line of what the part prints. Default: the line of `announceReady`. */
  readonly parseReady?: (line: string) => ReadyFacts | undefined;
  readonly readyWithinMs?: number;
  /** Time between SIGTERM and SIGKILL. */
  readonly graceMs?: number;
}

export interface Known {
  /** What the parts that this one comes after announced. */
  readonly ready: ReadonlyMap<string, ReadyFacts>;
  /** What this part announced in its last run. */
  readonly previous: ReadyFacts | undefined;
}

export interface SupervisorOptions {
  readonly parts: readonly Part[];
  readonly logFolder: string;
  readonly print: (line: string) => void;
  readonly policy?: RestartPolicy;
  /** A jump of the wall clock changes at most how one crash is counted. */
  readonly clock?: Clock;
}

export interface Supervisor {
  /** Resolves when every part is ready: with what they announced, or `undefined` when it came to an end before. */
  start(): Promise<ReadonlyMap<string, ReadyFacts> | undefined>;
  /** Resolves when every part has ended. May be called at any time, repeatedly. */
  stop(): Promise<void>;
  /** Kills all at once, for the impatient. */
  kill(): void;
  /** Resolves at the end: `undefined` after `stop`, otherwise why a part was given up. */
  readonly ended: Promise<string | undefined>;
}

const READY_WITHIN_MS = 30_000;
const GRACE_MS = 10_000;

/** A part and where it is. `process` exists while starting and running only. */
interface Place {
  readonly part: Part;
  readonly log: LogFile;
  readonly followers: Place[];
  readonly firstReady: PromiseWithResolvers<void>;
  process: PartProcess | undefined;
  facts: ReadyFacts | undefined;
  crashes: number;
  stopped: Promise<void> | undefined;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  const { parts, print, policy = RESTART_POLICY, clock = createSystemClock() } = options;
  checkParts(parts);
  const places = new Map<string, Place>();
  const stopping = new AbortController();
  const ended = Promise.withResolvers<string | undefined>();
  const loops: Promise<void>[] = [];
  let reason: string | undefined;

  const leadersOf = (part: Part): Place[] => (part.after ?? []).map((name) => places.get(name) as Place);

  /** One run; `false` when there is to be no other. */
  async function runOnce(place: Place): Promise<boolean> {
    const { part } = place;
    const startedAtMs = clock.now();
    const known = { ready: new Map(leadersOf(part).map((p) => [p.part.name, p.facts ?? {}])), previous: place.facts };
    const { parseReady, readyWithinMs = READY_WITHIN_MS } = part;
    const output = (chunk: Uint8Array) => place.log.write(chunk);
    place.process = startPart({ ...part.command(known), output, readyWithinMs, ...(parseReady && { parseReady }) });
    const facts = await place.process.ready;
    if (facts !== undefined) {
      place.facts = facts;
      place.firstReady.resolve();
      print(`${part.name}: ready${describeFacts(facts)}`);
    }
    const end = await place.process.ended;
    place.process = undefined;
    if (stopping.signal.aborted) return false;
    const decision = decideRestart(place.crashes, clock.now() - startedAtMs, policy);
    place.crashes = decision.crashes;
    if (decision.kind === "give-up") {
      giveUp(`${part.name} ended ${decision.crashes} times in a row, last by ${describeEnd(end)}${describeErrors(end)}`);
      return false;
    }
    print(`${part.name}: ended by ${describeEnd(end)}, starting again in ${decision.delayMs / 1000} s${describeErrors(end)}`);
    await clock.sleep(decision.delayMs, stopping.signal);
    return !stopping.signal.aborted;
  }

  async function keep(place: Place): Promise<void> {
    await Promise.race([Promise.all(leadersOf(place.part).map((p) => p.firstReady.promise)), aborted(stopping.signal)]); // S1
    try {
      while (!stopping.signal.aborted && (await runOnce(place)));
    } catch (error) {
      giveUp(`${place.part.name} can't be started: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  function giveUp(why: string): void {
    reason ??= why;
    print(`giving up: ${why}`);
    void stop();
  }

  /** S1, backwards: followers first. */
  function stopPlace(place: Place): Promise<void> {
    place.stopped ??= Promise.all(place.followers.map(stopPlace)).then(async () => {
      await place.process?.stop(place.part.graceMs ?? GRACE_MS);
      place.log.close();
    });
    return place.stopped;
  }

  async function stop(): Promise<void> {
    stopping.abort();
    await Promise.all([...places.values()].map(stopPlace));
    await Promise.all(loops);
    ended.resolve(reason);
  }

  return {
    async start() {
      for (const part of inOrder(parts)) {
        const log = openLogFile({ path: join(options.logFolder, `${part.name}.log`), report: print });
        const place: Place = {
          part,
          log,
          followers: [],
          firstReady: Promise.withResolvers(),
          process: undefined,
          facts: undefined,
          crashes: 0,
          stopped: undefined,
        };
        for (const leader of leadersOf(part)) leader.followers.push(place);
        places.set(part.name, place);
      }
      for (const place of places.values()) loops.push(keep(place));
      await Promise.race([Promise.all([...places.values()].map((p) => p.firstReady.promise)), aborted(stopping.signal)]);
      return stopping.signal.aborted ? undefined : new Map([...places.values()].map((p) => [p.part.name, p.facts ?? {}]));
    },
    stop,
    kill() {
      void stop();
      for (const place of places.values()) void place.process?.stop(0);
    },
    ended: ended.promise,
  };
}

/**
 * Stops at SIGTERM, SIGINT or SIGHUP, kills at the second one. Resolves with the exit code for this process when all
 * has ended: 0 when it was asked to, 1 when a part was given up.
 */
export async function superviseUntilSignal(
  supervisor: Supervisor,
  onReady: (facts: ReadonlyMap<string, ReadyFacts>) => void,
): Promise<number> {
  let asked = 0;
  const onSignal = () => {
    asked++;
    if (asked === 1) void supervisor.stop();
    else supervisor.kill();
  };
  const signals = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, onSignal);
  try {
    const facts = await supervisor.start();
    if (facts !== undefined) onReady(facts);
    return (await supervisor.ended) === undefined ? 0 : 1;
  } finally {
    for (const signal of signals) process.off(signal, onSignal);
  }
}

const PART_NAME = /^[a-z][a-z0-9-]{0,40}$/;

function checkParts(parts: readonly Part[]): void {
  const names = new Set(parts.map((p) => p.name));
  assert(names.size === parts.length, "parts have names of their own");
  for (const part of parts) {
    assert(PART_NAME.test(part.name), `${part.name} is a name for a part`);
    for (const name of part.after ?? []) assert(names.has(name), `${part.name} comes after ${name}, which exists`);
  }
}

/** Every part behind those that it comes after; otherwise as given. */
function inOrder(parts: readonly Part[]): Part[] {
  const ordered = new Set<Part>();
  const place = (part: Part, path: readonly Part[]) => {
    assert(!path.includes(part), `${part.name} does not come after itself`);
    for (const name of part.after ?? []) place(parts.find((p) => p.name === name) as Part, [...path, part]);
    ordered.add(part);
  };
  for (const part of parts) place(part, []);
  return [...ordered];
}

const describeFacts = (facts: ReadyFacts): string => {
  const texts = Object.entries(facts).map(([name, value]) => `${name} ${value}`);
  return texts.length === 0 ? "" : ` (${texts.join(", ")})`;
};

const describeErrors = ({ lastErrors }: PartEnd): string =>
  lastErrors.length === 0 ? "" : `. Its last lines:\n${lastErrors.map((l) => `    ${l}`).join("\n")}`;

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
