/**
 * Budgets: how much an experiment may use before nothing more of it is handed out.
 *
 * A budget is no state: the experiment stays RUNNING and is held as long as something is used up, derived anew from what
 * was spent whenever anybody looks. What runs goes on, so the last leases may go beyond it; near its end they are small.
 */
import { NANO_USD } from "./cost.ts";

/** Whole numbers > 0; what is absent is not limited, and an empty one limits nothing. */
export interface Budget {
  /** Cost of the control plane. */
  readonly nanoUsd?: number;
  /** Cores asked for, times the time that attempts took, failed ones included. */
  readonly coreMs?: number;
  /** Tasks handed out; one that comes back without an outcome does not count, a retried one counts once. */
  readonly tasks?: number;
}

export type Spent = Required<Budget>;

/** As people write it. */
export interface BudgetSpec {
  readonly usd?: number;
  readonly core_hours?: number;
  readonly tasks?: number;
}

export const BUDGET_KEYS = ["usd", "core_hours", "tasks"] as const;
export type BudgetKey = (typeof BUDGET_KEYS)[number];

const CORE_HOUR_MS = 3_600_000;

export function budgetOf({ usd, core_hours, tasks }: BudgetSpec): Budget {
  return {
    ...(usd === undefined ? {} : { nanoUsd: Math.round(usd * NANO_USD) }),
    ...(core_hours === undefined ? {} : { coreMs: Math.round(core_hours * CORE_HOUR_MS) }),
    ...(tasks === undefined ? {} : { tasks }),
  };
}

export function budgetSpecOf(spent: Spent): Required<BudgetSpec>;
export function budgetSpecOf(budget: Budget): BudgetSpec;
export function budgetSpecOf({ nanoUsd, coreMs, tasks }: Budget): BudgetSpec {
  return {
    ...(nanoUsd === undefined ? {} : { usd: nanoUsd / NANO_USD }),
    ...(coreMs === undefined ? {} : { core_hours: coreMs / CORE_HOUR_MS }),
    ...(tasks === undefined ? {} : { tasks }),
  };
}

export interface BudgetHold {
  readonly key: BudgetKey;
  readonly spent: number;
  readonly limit: number;
}

export const hasBudget = (of: { readonly budget?: Budget }): of is { readonly budget: Budget } =>
  of.budget !== undefined && Object.keys(of.budget).length > 0;

/** Why the experiment is held, in the units of {@link BudgetSpec}; `undefined`: it is not. */
export function budgetHold(budget: Budget | undefined, spent: Spent): BudgetHold | undefined {
  if (budget === undefined) return undefined;
  const limits = budgetSpecOf(budget);
  const amounts = budgetSpecOf(spent);
  const key = BUDGET_KEYS.find((k) => (amounts[k] ?? 0) >= (limits[k] ?? Number.POSITIVE_INFINITY));
  return key === undefined ? undefined : { key, spent: amounts[key] ?? 0, limit: limits[key] ?? 0 };
}

/** What to do about a hold, for people. */
export const budgetAdvice = ({ key, spent, limit }: BudgetHold): string =>
  `its budget of ${limit} ${key} is used up (${Number(spent.toPrecision(6))} spent): nothing more is handed out; raise it with "experiment edit --budget"`;
