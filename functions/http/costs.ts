/** Costs of experiments. */
import type { Handlers } from "./call.ts";
import type { HttpDeps } from "./deps.ts";

export function createCostHandlers({ costs, orchestrator }: HttpDeps): Handlers<"getCost" | "listCosts" | "getDeploymentCost"> {
  return {
    getCost: ({ params }) => costs.of(params.id),
    listCosts: async ({ user, query }) => {
      const page = await orchestrator.list(user.id, query);
      const amounts = await Promise.all(page.items.map(({ id }) => costs.of(id)));
      const items = page.items.map(({ id, name, status, createdAtMs }, i) => ({
        id,
        name,
        status,
        createdAtMs,
        nanoUsd: amounts[i]?.nanoUsd ?? 0,
      }));
      return { items, ...(page.cursor === undefined ? {} : { cursor: page.cursor }) };
    },
    getDeploymentCost: () => costs.of("deployment"),
  };
}
