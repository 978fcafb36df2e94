/** Pages of a list: one as asked for, or all of them. */

export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string;
  readonly all?: boolean;
}

interface Page<T> {
  readonly items: readonly T[];
  readonly cursor?: string;
}

const PAGE_ITEMS = 1000;

export async function* eachPage<T>(fetchPage: (at: { limit: number; cursor?: string }) => Promise<Page<T>>): AsyncGenerator<readonly T[]> {
  let cursor: string | undefined;
  do {
    const page: Page<T> = await fetchPage({ limit: PAGE_ITEMS, ...(cursor === undefined ? {} : { cursor }) });
    yield page.items;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

export async function readPages<T>(
  options: PageOptions,
  fetchPage: (at: { limit: number; cursor?: string }) => Promise<Page<T>>,
): Promise<Page<T>> {
  if (options.all !== true) return fetchPage({ limit: options.limit, ...(options.cursor === undefined ? {} : { cursor: options.cursor }) });
  const items: T[] = [];
  for await (const page of eachPage(fetchPage)) for (const item of page) items.push(item);
  return { items };
}
