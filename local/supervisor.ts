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
import type { PartState } from "./part-states.ts";
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
  /** Told of all parts at each change. */
  readonly tell?: (states: readonly PartState[]) => void;
  /** Why a part that ends again and again is not given up now (a full disk), or nothing. */
  readonly holdOn?: () => string | undefined;
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
  readonly leaders: readonly Place[];
  readonly followers: Place[];
  readonly firstReady: PromiseWithResolvers<void>;
  process: PartProcess | undefined;
  facts: ReadyFacts | undefined;
  crashes: number;
  state: PartState["state"];
  sinceMs: number;
  restarts: number;
  reason: string | undefined;
  stopped: Promise<void> | undefined;
}

export function createSupervisor(options: SupervisorOptions): Supervisor {
  checkParts(options.parts);
  return new Supervision(options);
}

class Supervision implements Supervisor {
  readonly #options: SupervisorOptions;
  readonly #clock: Clock;
  /** In the order of starting. */
  readonly #places = new Map<string, Place>();
  readonly #stopping = new AbortController();
  readonly #ended = Promise.withResolvers<string | undefined>();
  readonly #loops: Promise<void>[] = [];
  #reason: string | undefined;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#clock = options.clock ?? createSystemClock();
  }

  get ended(): Promise<string | undefined> {
    return this.#ended.promise;
  }

  async start(): Promise<ReadonlyMap<string, ReadyFacts> | undefined> {
    for (const part of inOrder(this.#options.parts)) this.#open(part);
    const places = [...this.#places.values()];
    for (const place of places) this.#loops.push(this.#keep(place));
    await Promise.race([Promise.all(places.map((p) => p.firstReady.promise)), aborted(this.#stopping.signal)]);
    return this.#stopping.signal.aborted ? undefined : factsOf(places);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#places.values()].map((place) => this.#stopPlace(place)));
    await Promise.all(this.#loops);
    this.#ended.resolve(this.#reason);
  }

  kill(): void {
    void this.stop();
    for (const place of this.#places.values()) void place.process?.stop(0);
  }

  #open(part: Part): void {
    const log = openLogFile({ path: join(this.#options.logFolder, `${part.name}.log`), report: this.#options.print });
    const leaders = (part.after ?? []).map((name) => this.#places.get(name) as Place);
    const place: Place = {
      part,
      log,
      leaders,
      followers: [],
      firstReady: Promise.withResolvers(),
      process: undefined,
      facts: undefined,
      crashes: 0,
      state: "waiting",
      sinceMs: this.#clock.now(),
      restarts: 0,
      reason: undefined,
      stopped: undefined,
    };
    for (const leader of leaders) leader.followers.push(place);
    this.#places.set(part.name, place);
  }

  async #keep(place: Place): Promise<void> {
    await Promise.race([Promise.all(place.leaders.map((p) => p.firstReady.promise)), aborted(this.#stopping.signal)]); // S1
    try {
      while (!this.#stopping.signal.aborted) {
        const startedAtMs = this.#clock.now();
        const end = await this.#runOnce(place);
        if (!this.#stopping.signal.aborted) await this.#afterCrash(place, end, this.#clock.now() - startedAtMs);
      }
    } catch (error) {
      this.#giveUp(`${place.part.name} can't be started: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  async #runOnce(place: Place): Promise<PartEnd> {
    const { parseReady, readyWithinMs = READY_WITHIN_MS, name } = place.part;
    const command = place.part.command({ ready: factsOf(place.leaders), previous: place.facts });
    const output = (chunk: Uint8Array) => place.log.write(chunk);
    place.process = startPart({ ...command, output, readyWithinMs, ...(parseReady && { parseReady }) });
    this.#enter(place, "starting");
    const facts = await place.process.ready;
    if (facts !== undefined) {
      place.facts = facts;
      this.#enter(place, "ready");
      place.firstReady.resolve();
      this.#options.print(`${name}: ready${describeFacts(facts)}`);
    }
    const end = await place.process.ended;
    place.process = undefined;
    this.#enter(place, "ended");
    return end;
  }

  #enter(place: Place, state: PartState["state"]): void {
    place.state = state;
    place.sinceMs = this.#clock.now();
    this.#options.tell?.([...this.#places.values()].map(stateOf));
  }

  /** S2. */
  async #afterCrash(place: Place, end: PartEnd, livedMs: number): Promise<void> {
    const { name } = place.part;
    const decision = decideRestart(place.crashes, livedMs, this.#options.policy ?? RESTART_POLICY);
    const policy = this.#options.policy ?? RESTART_POLICY;
    const borne = decision.kind === "give-up" ? this.#options.holdOn?.() : undefined;
    place.crashes = borne === undefined ? decision.crashes : policy.fastCrashesMax;
    place.restarts++;
    place.reason = `${describeEnd(end)}${end.lastErrors.length === 0 ? "" : `: ${end.lastErrors.at(-1)}`}`;
    if (decision.kind === "give-up" && borne === undefined) {
      this.#giveUp(`${name} ended ${decision.crashes} times in a row, last by ${describeEnd(end)}${describeErrors(end)}`);
      return;
    }
    const delayMs = decision.kind === "give-up" ? policy.delayMsMax : decision.delayMs;
    const because = borne === undefined ? "" : ` (${borne})`;
    this.#options.print(`${name}: ended by ${describeEnd(end)}, starting again in ${delayMs / 1000} s${because}${describeErrors(end)}`);
    this.#enter(place, "pausing");
    await this.#clock.sleep(delayMs, this.#stopping.signal);
  }

  #giveUp(why: string): void {
    this.#reason ??= why;
    this.#options.print(`giving up: ${why}`);
    void this.stop();
  }

  /** S1, backwards: followers first. */
  #stopPlace(place: Place): Promise<void> {
    place.stopped ??= Promise.all(place.followers.map((follower) => this.#stopPlace(follower))).then(async () => {
      await place.process?.stop(place.part.graceMs ?? GRACE_MS);
      place.log.close();
    });
    return place.stopped;
  }
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

const stateOf = ({ part, state, process, restarts, sinceMs, reason, facts }: Place): PartState => ({
  name: part.name,
  state,
  pid: process?.pid,
  restarts,
  since: new Date(sinceMs).toISOString(),
  reason,
  facts: facts ?? {},
});

const factsOf = (places: readonly Place[]): ReadonlyMap<string, ReadyFacts> => new Map(places.map((p) => [p.part.name, p.facts ?? {}]));

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
