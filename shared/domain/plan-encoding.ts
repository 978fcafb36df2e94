/** Canonical bytes of a plan: equal plans give equal bytes, so the SHA-256 over them (made by callers) names the plan. */
import { SchedulerError } from "./error.ts";
import { PLAN_FORMAT_VERSIONS, type Plan } from "./plan.ts";

/** JSON in UTF-8 with the keys of every object sorted by code unit and nothing between tokens. */
export function encodePlan(plan: Plan): Uint8Array {
  return new TextEncoder().encode(canonical(plan));
}

/**
 * Reads what {@link encodePlan} wrote; the caller has checked the hash (D1), so only the frame is looked at.
 * Errors: `integrity` when it is no plan, `version-mismatch` when another release wrote it in a form unknown here.
 */
export function decodePlan(bytes: Uint8Array): Plan {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new SchedulerError("integrity", "a stored plan cannot be read: its bytes are not JSON", { cause });
  }
  if (!isFrame(value)) throw new SchedulerError("integrity", "a stored plan cannot be read: it has no formatVersion");
  if (!PLAN_FORMAT_VERSIONS.includes(value.formatVersion)) {
    throw new SchedulerError(
      "version-mismatch",
      `a stored plan has format ${value.formatVersion}, this release reads ${PLAN_FORMAT_VERSIONS.join(", ")}`,
    );
  }
  if (!Array.isArray(value.sets)) throw new SchedulerError("integrity", "a stored plan cannot be read: it has no sets");
  return value as unknown as Plan;
}

const isFrame = (value: unknown): value is { readonly formatVersion: number; readonly sets?: unknown } =>
  typeof value === "object" && value !== null && "formatVersion" in value && typeof value.formatVersion === "number";

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).filter(([, v]) => v !== undefined);
  entries.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([k, v]) => `${JSON.stringify(k)}:${canonical(v)}`).join(",")}}`;
}
