/** Pages of lists that are short enough to be read whole. */
import { SchedulerError } from "#domain/error.ts";

interface PageQuery {
  readonly limit: number;
  readonly cursor?: string;
}

/** A cursor is the name of the last item of the page before. */
function nameIn(cursor: string): string {
  const name = Buffer.from(cursor, "base64url").toString();
  if (Buffer.from(name).toString("base64url") !== cursor)
    throw new SchedulerError("invalid-input", "the cursor is not one of ours; start without it");
  return name;
}

/** Items in the order of their names, which must differ. */
export function pageOf<T>(items: readonly T[], nameOf: (item: T) => string, query: PageQuery): { items: readonly T[]; cursor?: string } {
  const after = query.cursor === undefined ? "" : nameIn(query.cursor);
  const rest = items.filter((item) => nameOf(item) > after).sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const page = rest.slice(0, query.limit);
  const last = page.at(-1);
  if (last === undefined || rest.length === page.length) return { items: page };
  return { items: page, cursor: Buffer.from(nameOf(last)).toString("base64url") };
}
