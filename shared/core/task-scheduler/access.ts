/** Whose tasks may run where: an owner's tasks go only to workers of compute resources that the owner may use. */
import type { UserId } from "#domain/id.ts";

/** Whether an owner may run tasks on a compute resource; `unknown`: nobody has registered it. */
export type Access = "usable" | "unknown" | "forbidden";

/** Asked in every pass: it must be cheap, so it may be some seconds old. */
export type PoolAccess = (owner: UserId, pool: string) => Promise<Access>;

/** For a scheduler that has no authorization to ask: then explanations must not ask either, or they would say what no pass does. */
export const openToAll: PoolAccess = async () => "usable";

export async function barredPools(access: PoolAccess, owner: UserId, pools: readonly string[]): Promise<ReadonlySet<string>> {
  const found = await Promise.all([...new Set(pools)].map(async (pool) => [pool, await access(owner, pool)] as const));
  return new Set(found.filter(([, may]) => may !== "usable").map(([pool]) => pool));
}
