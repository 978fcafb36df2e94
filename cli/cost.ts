/** cost: what experiments have cost, at list prices. */
import type { AnswerOf } from "#api/routes.ts";
import { NANO_USD } from "#domain/cost.ts";
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { showCount, showInstant, table } from "./output.ts";
import { type PageOptions, readPages } from "./pages.ts";
import { connect, type Session } from "./session.ts";

type Cost = AnswerOf<"getCost">;

/** Four digits that say something, whatever the size: $0.00001932. */
export function showUsd(nanoUsd: number): string {
  const usd = nanoUsd / NANO_USD;
  if (usd === 0) return "$0";
  const digits = usd >= 1 ? 2 : Math.min(9, 3 - Math.floor(Math.log10(usd)));
  return `$${usd.toFixed(digits)}`;
}

const DIGITS = 3;

function describeCost(cost: Cost): string[] {
  const rows = cost.lines.map((line) => [
    line.kind,
    showCount(Number(line.count.toFixed(DIGITS))),
    `$${line.usdPerMillion}`,
    showUsd(line.nanoUsd),
    line.unit,
  ]);
  return [...table(["KIND", "COUNT", "PER MILLION", "AMOUNT", "OF"], rows), `total ${showUsd(cost.nanoUsd)}`];
}

export interface CostOptions extends PageOptions {
  readonly deployment?: boolean;
}

export async function cost(session: Session, options: CostOptions, args: readonly string[]): Promise<number> {
  const client = await connect(session);
  const { signal, output } = session;
  const [given] = args;
  if (given !== undefined || options.deployment === true) {
    const found =
      given === undefined
        ? await client.call("getDeploymentCost", { signal })
        : await client.call("getCost", { params: { id: readExperimentId(given) }, signal });
    output.result(found, () => describeCost(found));
    return EXIT.done;
  }
  const page = await readPages(options, (query) => client.call("listCosts", { query, signal }));
  const rows = page.items.map((e) => [e.id, e.name, e.status, showInstant(e.createdAtMs), showUsd(e.nanoUsd)]);
  const more = page.cursor === undefined ? [] : [`more: --cursor ${page.cursor}`];
  const total = page.items.reduce((sum, e) => sum + e.nanoUsd, 0);
  output.result(page, () => [...table(["ID", "NAME", "STATUS", "CREATED", "COST"], rows), `total of these ${showUsd(total)}`, ...more]);
  return EXIT.done;
}
