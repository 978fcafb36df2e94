/**
 * CostStore: what each writer has metered for a payer so far. An entry holds totals, not increments: written twice, late
 * or out of order it counts once.
 */
import type { Usage } from "#domain/cost.ts";
import type { ExperimentId } from "#domain/id.ts";

export type Payer = ExperimentId | "deployment";

export interface CostEntry {
  readonly payer: Payer;
  /** `[A-Za-z0-9]{1,64}`; nobody else writes under it. */
  readonly writer: string;
  /** Rises with every write of this entry. */
  readonly sequence: number;
  /** Of this writer for this payer, since it began. */
  readonly usage: Usage;
}

export interface CostStore {
  /** Replaces the writer's entry [absent, or of a lower sequence]. `unknown`: repeat it, with the same or higher totals. */
  save(entry: CostEntry): Promise<"saved" | "superseded" | "unknown">;
  /** Of all writers. */
  read(payer: Payer): Promise<Usage>;
}
