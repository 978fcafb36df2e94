/**
 * The meter of one process: counts in memory, written rarely.
 *
 * - An entry holds this process's totals for one payer, under a writer's name of its own; see CostStore. What a process that
 *   is killed had not written yet is lost, never counted twice.
 * - The write that saves an entry is counted in it, before it is made.
 * - An entry that rests is forgotten once it is saved; if its payer comes back, another begins.
 */
import { addUsage, type MeteredKind, MILLION, shares, type Usage } from "#domain/cost.ts";
import type { ExperimentId } from "#domain/id.ts";
import type { Clock } from "#ports/clock.ts";
import type { CostStore, Payer } from "#ports/cost-store.ts";
import type { Logger } from "#ports/logger.ts";
import type { Meter } from "#ports/meter.ts";
import type { Random } from "#ports/random.ts";
import type { Scope } from "#ports/scope.ts";
import { DEPLOYMENT_SAVE_MS, ENTRY_REST_MS, SAVE_MS, WRITER_BYTES } from "./limits.ts";

export interface ProcessMeter extends Meter {
  /**
   * Runs one invocation of a function: its requests and time are paid by those that {@link Meter.charging} named in it.
   * `http`: it came through the HTTP API.
   */
  invocation<T>(of: { readonly memoryMib: number; readonly http?: boolean }, work: () => Promise<T>): Promise<T>;
  /** Saves what is due; `all`: everything. Never rejects: what could not be saved waits for the next time. */
  save(all?: boolean): Promise<void>;
  /** Saves now and then until `signal` aborts, and everything at last. */
  run(signal: AbortSignal): Promise<void>;
  /** What is counted here since it began, of all payers. */
  total(): Usage;
}

interface Deps {
  readonly store: CostStore;
  readonly scope: Scope<Setting>;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
}

interface Entry {
  readonly writer: string;
  usage: Usage;
  sequence: number;
  changed: boolean;
  savedAtMs: number;
  usedAtMs: number;
}

/** What a piece of work is for. */
export interface Setting {
  readonly payers: readonly ExperimentId[];
  /** All that were named within the invocation. */
  readonly named: Set<ExperimentId>;
}

export function createMeter(deps: Deps): ProcessMeter {
  const { clock, scope } = deps;
  const entries = new Map<Payer, Entry>();
  let total: Usage = {};
  let saving: Promise<void> | undefined;

  function entryOf(payer: Payer): Entry {
    const known = entries.get(payer);
    if (known !== undefined) return known;
    const writer = Buffer.from(deps.random.bytes(WRITER_BYTES)).toString("hex");
    // Saved first one period after it began.
    const entry = { writer, usage: {}, sequence: 0, changed: false, savedAtMs: clock.now(), usedAtMs: clock.now() };
    entries.set(payer, entry);
    return entry;
  }

  function note(payer: Payer, kind: MeteredKind, microUnits: number): Entry {
    const entry = entryOf(payer);
    entry.usage = addUsage(entry.usage, { [kind]: microUnits });
    entry.usedAtMs = clock.now();
    total = addUsage(total, { [kind]: microUnits });
    return entry;
  }

  function add(kind: MeteredKind, units: number, payers: readonly ExperimentId[] = []): void {
    const microUnits = Math.round(units * MILLION);
    if (microUnits === 0) return;
    const here = scope.current()?.payers ?? [];
    const bear: readonly Payer[] = payers.length > 0 ? payers : here.length > 0 ? here : ["deployment"];
    shares(microUnits, bear.length).forEach((share, i) => {
      if (share > 0) note(bear[i] as Payer, kind, share).changed = true;
    });
  }

  function charging<T>(payers: readonly ExperimentId[], work: () => Promise<T>): Promise<T> {
    const named = scope.current()?.named ?? new Set();
    for (const payer of payers) named.add(payer);
    return scope.run({ payers: [...new Set(payers)], named }, work);
  }

  async function invocation<T>(of: { readonly memoryMib: number; readonly http?: boolean }, work: () => Promise<T>): Promise<T> {
    const named = new Set<ExperimentId>();
    const startMs = clock.now();
    try {
      return await scope.run({ payers: [], named }, work);
    } finally {
      // Rounded up to whole milliseconds, as Lambda does.
      const ms = Math.max(1, Math.ceil(clock.now() - startMs));
      add("function-requests", 1, [...named]);
      add("function-gb-seconds", (ms / 1_000) * (of.memoryMib / 1_024), [...named]);
      if (of.http === true) add("http-requests", 1, [...named]);
    }
  }

  async function saveOne(payer: Payer, entry: Entry): Promise<void> {
    entry.changed = false;
    entry.savedAtMs = clock.now();
    note(payer, "write-units", MILLION);
    const { writer, usage } = entry;
    const outcome = await deps.store.save({ payer, writer, sequence: ++entry.sequence, usage }).catch((error: unknown) => {
      deps.logger.warn("costs are not saved yet", { payer, reason: error instanceof Error ? error.message : String(error) });
      return "unknown" as const;
    });
    if (outcome === "unknown") entry.changed = true;
  }

  async function saveDue(all: boolean): Promise<void> {
    for (const [payer, entry] of [...entries]) {
      const ageMs = clock.now() - entry.savedAtMs;
      if (entry.changed && (all || ageMs >= (payer === "deployment" ? DEPLOYMENT_SAVE_MS : SAVE_MS))) await saveOne(payer, entry);
      else if (!entry.changed && clock.now() - entry.usedAtMs >= ENTRY_REST_MS) entries.delete(payer);
    }
  }

  async function save(all = false): Promise<void> {
    await saving;
    saving = saveDue(all).finally(() => {
      saving = undefined;
    });
    await saving;
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await clock.sleep(SAVE_MS, signal);
      await save(signal.aborted);
    }
  }

  return { add, charging, invocation, save, run, total: () => total };
}
