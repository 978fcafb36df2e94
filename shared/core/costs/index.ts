/**
 * Costs: what experiments have used of the control plane, at list prices.
 *
 * Metered from what the engines report; each process saves its totals now and then (meter.ts), so figures are up to ten
 * seconds old, and a killed process loses as much. Not metered: docs/COST.md.
 */
import { amountOf, METERED_KINDS, type MeteredKind, PRICES, type Usage } from "#domain/cost.ts";
import type { CostStore, Payer } from "#ports/cost-store.ts";

export { createMeter, type Setting } from "./meter.ts";

export interface CostLine {
  readonly kind: MeteredKind;
  /** What one of `count` is. */
  readonly unit: string;
  readonly count: number;
  readonly usdPerMillion: number;
  readonly nanoUsd: number;
}

export interface Cost {
  readonly lines: readonly CostLine[];
  /** The sum of the lines. */
  readonly nanoUsd: number;
}

export interface Costs {
  of(payer: Payer): Promise<Cost>;
}

const MICRO = 1_000_000;

export function costOf(usage: Usage): Cost {
  const lines = METERED_KINDS.flatMap((kind): CostLine[] => {
    const microUnits = usage[kind] ?? 0;
    if (microUnits === 0) return [];
    const { unit, microUsdPerMillion } = PRICES[kind];
    const count = microUnits / MICRO;
    return [{ kind, unit, count, usdPerMillion: microUsdPerMillion / MICRO, nanoUsd: amountOf(kind, microUnits) }];
  });
  return { lines, nanoUsd: lines.reduce((sum, line) => sum + line.nanoUsd, 0) };
}

export const createCosts = ({ store }: { readonly store: CostStore }): Costs => ({ of: async (payer) => costOf(await store.read(payer)) });
