/** Many short lists of whole numbers as one text: what a workflow knows of each task costs a few bytes in its plan. */

/** List i is `values[starts[i]..starts[i + 1]]`, ascending. */
export interface Lists {
  readonly starts: Uint32Array;
  readonly values: Uint32Array;
}

const MORE = 0x80;

/** For each list its length, then its numbers (0..2^31, each once) as differences, 7 bits a byte; base64 of that. */
export function encodeLists(lists: readonly (readonly number[])[]): string {
  const bytes: number[] = [];
  const put = (n: number): void => {
    let left = n;
    for (; left >= MORE; left = Math.floor(left / MORE)) bytes.push((left % MORE) | MORE);
    bytes.push(left);
  };
  for (const list of lists) {
    put(list.length);
    let before = 0;
    for (const n of [...list].sort((a, b) => a - b)) {
      put(n - before);
      before = n;
    }
  }
  return Buffer.from(bytes).toString("base64");
}

/** Reads `count` lists of {@link encodeLists}'s form. Throws RangeError for a text that it can't have written. */
export function decodeLists(text: string, count: number): Lists {
  const bytes = Buffer.from(text, "base64");
  let at = 0;
  const take = (): number => {
    let n = 0;
    for (let scale = 1; ; scale *= MORE) {
      const byte = bytes[at++];
      if (byte === undefined) throw new RangeError("not stored lists: they end too soon");
      n += (byte % MORE) * scale;
      if (byte < MORE) return n;
    }
  };
  const starts = new Uint32Array(count + 1);
  // No number takes less than a byte.
  const values = new Uint32Array(bytes.length);
  let filled = 0;
  for (let i = 0; i < count; i++) {
    let before = 0;
    for (let left = take(); left > 0; left--) {
      before += take();
      values[filled++] = before;
    }
    starts[i + 1] = filled;
  }
  return { starts, values: values.slice(0, filled) };
}

export const listAt = ({ starts, values }: Lists, i: number): Uint32Array => values.subarray(starts[i], starts[i + 1]);
