/** Budgets in requests and answers. */
import { BUDGET_KEYS, type BudgetSpec } from "#domain/budget.ts";
import * as z from "zod";

const USD_MAX = 1_000_000;
const CORE_HOURS_MAX = 1_000_000_000;
/** A billionth of a dollar is the smallest amount there is; less than this is a mistake. */
const SMALLEST = 0.000_001;

export const BUDGET_SHAPE = {
  usd: z.number().min(SMALLEST).max(USD_MAX).exactOptional().describe("Cost of the control plane at list prices"),
  core_hours: z.number().min(SMALLEST).max(CORE_HOURS_MAX).exactOptional().describe("Cores asked for, times the time of attempts"),
  tasks: z.int().min(1).exactOptional().describe("Tasks handed out"),
};
export const limitsSomething = (budget: object): boolean => Object.keys(budget).length > 0;
export const LIMITS_NOTHING = "limits nothing: give usd, core_hours or tasks";

export const budget = z.strictObject(BUDGET_SHAPE).refine(limitsSomething, LIMITS_NOTHING) satisfies z.ZodType<BudgetSpec>;

const amounts = z.object({ usd: z.number(), core_hours: z.number(), tasks: z.number() });
export const budgetView = z.object({
  limits: z.object({ usd: z.number().exactOptional(), core_hours: z.number().exactOptional(), tasks: z.number().exactOptional() }),
  spent: amounts,
  held: z
    .object({ key: z.enum(BUDGET_KEYS), spent: z.number(), limit: z.number(), advice: z.string() })
    .exactOptional()
    .describe("There when nothing is handed out because the budget is used up"),
});
