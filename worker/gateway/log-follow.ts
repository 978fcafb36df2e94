/**
 * A task's log from its first byte to its last, whatever becomes of it meanwhile: waits for an attempt to begin, follows it at
 * its worker, and ends with what was kept. Offsets mean the same in all three, so whoever lost the connection goes on where
 * it was, at this gateway or another.
 */
import type { LogPlace, TaskAt, TaskLogs } from "#core/experiment-orchestrator/index.ts";
import type { ExperimentId, GatewayId } from "#domain/id.ts";
import type { LogStream } from "#domain/task-log.ts";
import { workerName } from "#domain/worker.ts";
import type { Clock } from "#ports/clock.ts";
import { LOG_LOOK_MS, LOG_LOOK_MS_MAX } from "./limits.ts";
import type { LogAnswer, LogRelay } from "./log-relay.ts";

export interface LogRequest {
  readonly experiment: ExperimentId;
  readonly task: TaskAt;
  readonly stream: LogStream;
  /** Epoch; without it the attempt that runs, else the newest, else the next one. */
  readonly attempt?: number;
  readonly offset: number;
  /** Begin this many bytes before the end, as it is when the log is found. */
  readonly tail?: number;
  /** False: end with what there is now. */
  readonly follow: boolean;
}

export type LogEvent =
  /** How the task stands while there is nothing to read. */
  | { readonly event: "state"; readonly state: string; readonly attempt?: number }
  | { readonly event: "chunk"; readonly attempt: number; readonly offset: number; readonly data: Uint8Array }
  /** Bytes that nobody has any more. */
  | { readonly event: "gap"; readonly attempt: number; readonly from: number; readonly to: number }
  /** The worker is at another gateway: ask there. */
  | { readonly event: "moved"; readonly url: string }
  | { readonly event: "end"; readonly attempt?: number; readonly bytes: number; readonly outcome: string; readonly message?: string };

export interface LogFollowDeps {
  readonly logs: TaskLogs;
  readonly relay: Pick<LogRelay, "read">;
  readonly gateway: GatewayId;
  /** Where that gateway answers, when it is up. */
  readonly urlOf: (gateway: GatewayId) => Promise<string | undefined>;
  readonly clock: Clock;
}

type Held = Extract<LogPlace, { kind: "held" }>;
type Ended = Extract<LogPlace, { kind: "ended" }>;

const FINAL: ReadonlySet<string> = new Set(["SKIPPED", "CANCELED"]);
/** Behind every possible end: the answer tells where that is. */
const BEYOND = Number.MAX_SAFE_INTEGER;

export const followLog = (deps: LogFollowDeps, request: LogRequest, signal: AbortSignal): AsyncGenerator<LogEvent> =>
  new Following(deps, request, signal).run();

/** One reader: where it is in which attempt, and what it has been told. */
class Following {
  readonly #deps: LogFollowDeps;
  readonly #request: LogRequest;
  readonly #signal: AbortSignal;
  #attempt: number | undefined;
  #tail: number | undefined;
  #at: number;
  #told = "";
  #waitMs = LOG_LOOK_MS;

  constructor(deps: LogFollowDeps, request: LogRequest, signal: AbortSignal) {
    this.#deps = deps;
    this.#request = request;
    this.#signal = signal;
    this.#attempt = request.attempt;
    this.#tail = request.tail;
    this.#at = request.offset;
  }

  async *run(): AsyncGenerator<LogEvent> {
    const { experiment, task } = this.#request;
    while (!this.#signal.aborted) {
      const place = await this.#deps.logs.locate(experiment, task, this.#attempt);
      if ((yield* this.#look(place)) === "done") return;
      await this.#rest();
    }
  }

  /** What the log's place gives now. */
  async *#look(place: LogPlace): AsyncGenerator<LogEvent, "done" | "look again"> {
    if (place.kind === "waiting") return yield* this.#waiting(place.state);
    // Nothing was seen of it: the next one will do.
    const unseen = place.kind === "void" && this.#request.attempt === undefined && this.#at === 0;
    this.#attempt = unseen ? undefined : place.attempt;
    if (unseen) return "look again";
    if (place.kind === "ended") yield* this.#ended(place);
    else if (place.kind === "held") return yield* this.#held(place);
    else {
      const why = place.cause === "worker-lost" ? "its worker was lost" : "it was taken back";
      yield { ...this.#end("void"), message: `this attempt came to nothing: ${why}` };
    }
    return "done";
  }

  async *#waiting(state: string): AsyncGenerator<LogEvent, "done" | "look again"> {
    const over = FINAL.has(state) || !this.#request.follow;
    if (over) yield this.#end(state);
    else yield* this.#tell(state);
    return over ? "done" : "look again";
  }

  async *#held(place: Held): AsyncGenerator<LogEvent, "done" | "look again"> {
    yield* this.#tell("RUNNING");
    const outcome = yield* this.#live(place);
    if (outcome === "again") return "look again";
    if (outcome === "enough") yield this.#end("running");
    return "done";
  }

  #end(outcome: string) {
    const attempt = this.#attempt === undefined ? {} : { attempt: this.#attempt };
    return { event: "end", ...attempt, bytes: this.#at, outcome } as const;
  }

  /** A state, once. */
  *#tell(state: string): Generator<LogEvent> {
    const now = `${state} ${this.#attempt}`;
    if (now !== this.#told) yield { event: "state", state, ...(this.#attempt === undefined ? {} : { attempt: this.#attempt }) };
    this.#told = now;
  }

  /** A pause that grows while nothing happens. */
  async #rest(): Promise<void> {
    await this.#deps.clock.sleep(this.#waitMs, this.#signal);
    this.#waitMs = Math.min(LOG_LOOK_MS_MAX, this.#waitMs * 1.5);
  }

  *#give(offset: number, data: Uint8Array): Generator<LogEvent> {
    const attempt = this.#attempt as number;
    if (offset > this.#at) yield { event: "gap", attempt, from: this.#at, to: offset };
    if (data.length > 0) yield { event: "chunk", attempt, offset, data };
    this.#at = offset + data.length;
    this.#waitMs = LOG_LOOK_MS;
  }

  #beginAt(end: number): void {
    if (this.#tail !== undefined) this.#at = Math.max(0, end - this.#tail);
    this.#tail = undefined;
  }

  async *#ended({ result }: Ended): AsyncGenerator<LogEvent> {
    const { logs } = this.#deps;
    const { stream } = this.#request;
    const { extent } = await logs.read(result, stream, BEYOND);
    this.#beginAt(extent.bytes);
    while (this.#at < extent.bytes) {
      const { offset, data } = await logs.read(result, stream, this.#at);
      yield* this.#give(offset, data);
    }
    yield { ...this.#end(result.outcome), bytes: extent.bytes, ...(result.message === undefined ? {} : { message: result.message }) };
  }

  #read({ lease, index, worker }: Held, offset: number): Promise<LogAnswer> {
    const { stream } = this.#request;
    return this.#deps.relay.read({ worker: workerName(worker), lease, index, stream, offset }, this.#signal);
  }

  /** `again`: look where it is now. `enough`: all that there is was given. `moved`: and said so. */
  async *#live(place: Held): AsyncGenerator<LogEvent, "again" | "enough" | "moved"> {
    let until = Number.POSITIVE_INFINITY;
    if (this.#tail !== undefined || !this.#request.follow) {
      // A read behind every possible end is answered by where the end is now; one at the end itself waits for more.
      const end = await this.#read(place, BEYOND);
      if (end.kind !== "data") return yield* this.#elsewhere(place, end);
      this.#beginAt(end.offset);
      if (!this.#request.follow) until = end.offset;
    }
    while (!this.#signal.aborted && this.#at < until) {
      const answer = await this.#read(place, this.#at);
      if (answer.kind !== "data") return yield* this.#elsewhere(place, answer);
      if (answer.data.length === 0) {
        if (answer.offset >= this.#at) this.#waitMs = LOG_LOOK_MS; // else its place lies behind the end: no hurry
        return "again";
      }
      yield* this.#give(answer.offset, answer.data);
    }
    return "enough";
  }

  async *#elsewhere({ gateway }: Held, answer: LogAnswer): AsyncGenerator<LogEvent, "again" | "moved"> {
    if (answer.kind !== "elsewhere" || gateway === undefined || gateway === this.#deps.gateway) return "again";
    const url = await this.#deps.urlOf(gateway);
    if (url === undefined) return "again";
    yield { event: "moved", url };
    return "moved";
  }
}
