/** The example of the first start, and the check of its result against the data itself. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SAMPLE_DATA } from "./sample-data.ts";

export const EXAMPLE_FILE = "examples/seattle-rain.yaml";
const YEARS = [2012, 2013, 2014, 2015];
const THRESHOLDS = [0.1, 1, 5, 20];

/** What the merged file must say, counted here from the same public data set. */
function expected(): string[] {
  const file = join(SAMPLE_DATA, "seattle-weather.csv");
  const days = readFileSync(file, "utf8")
    .trim()
    .split("\n")
    .slice(1)
    .map((l) => l.split(","));
  const count = (year: number, limit: number) =>
    days.filter(([date, rain]) => date?.startsWith(String(year)) && Number(rain) > limit).length;
  return YEARS.flatMap((year) => THRESHOLDS.map((limit) => String(count(year, limit))));
}

/** Fetches the merged output of the newest run of the example over the API and compares it. Prints what it found. */
export async function checkExample(at: {
  readonly url: string;
  readonly context: string;
  readonly print: (line: string) => void;
}): Promise<boolean> {
  const { token } = JSON.parse(at.context) as { token: string };
  const ask = async (path: string) => {
    const answer = await fetch(`${at.url}${path}`, { headers: { authorization: `Bearer ${token}` } });
    if (!answer.ok) throw new Error(`GET ${path} answered ${answer.status}: ${await answer.text()}`);
    return answer;
  };
  const list = (await (await ask("/v1/experiments?limit=20")).json()) as { items: { id: string; name: string }[] };
  const newest = list.items.find((e) => e.name === "seattle-rain");
  if (newest === undefined) throw new Error("the example is not in the list of experiments");
  const text = await (await ask(`/v1/experiments/${newest.id}/outputs/merge/0/OUT`)).text();
  const got = text
    .trim()
    .split("\n")
    .map((l) => l.split(" ").at(-1) ?? "");
  const want = expected();
  const right = got.length === want.length && got.every((n, i) => n === want[i]);
  at.print(`\ndays with more rain than ${THRESHOLDS.map((t) => `${t} mm`).join(", ")}:`);
  for (const [i, year] of YEARS.entries())
    at.print(
      `  ${year}  ${got
        .slice(i * THRESHOLDS.length, (i + 1) * THRESHOLDS.length)
        .map((n) => n.padStart(4))
        .join(" ")}`,
    );
  at.print(right ? "checked against the data: right" : `checked against the data: WRONG, expected ${want.join(" ")}`);
  return right;
}
