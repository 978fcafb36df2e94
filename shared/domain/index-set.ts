/**
 * Sets of task indices within one segment: the numbers 0..4095 as 4,096 bits.
 *
 * Values are never changed in place by these functions. The stored form (`encodeSet`) leaves out zero bytes at both
 * ends, so that a lease of a few tasks costs a few bytes and a full segment 514.
 */

/** Tasks in a segment, and so bits in a set. */
export const SEGMENT_TASKS = 4096;
const WORDS = SEGMENT_TASKS / 32;
const BYTES = SEGMENT_TASKS / 8;

export type IndexSet = Uint32Array & { readonly __indexSet?: never };

export const emptySet = (): IndexSet => new Uint32Array(WORDS);

/** The indices `from <= i < to`; both in 0..4096. */
export function rangeSet(from: number, to: number): IndexSet {
  const set = emptySet();
  for (let i = from; i < to; ) {
    if ((i & 31) === 0 && to - i >= 32) {
      set[i >> 5] = 0xffffffff;
      i += 32;
    } else {
      set[i >> 5] = (set[i >> 5] as number) | (1 << (i & 31));
      i++;
    }
  }
  return set;
}

export function setOf(indices: Iterable<number>): IndexSet {
  const set = emptySet();
  for (const i of indices) {
    if (!Number.isInteger(i) || i < 0 || i >= SEGMENT_TASKS) throw new RangeError(`index ${i} is outside a segment`);
    set[i >> 5] = (set[i >> 5] as number) | (1 << (i & 31));
  }
  return set;
}

export function union(...sets: readonly IndexSet[]): IndexSet {
  const out = emptySet();
  for (const s of sets) for (let w = 0; w < WORDS; w++) out[w] = (out[w] as number) | (s[w] as number);
  return out;
}

export function intersect(a: IndexSet, b: IndexSet): IndexSet {
  const out = emptySet();
  for (let w = 0; w < WORDS; w++) out[w] = (a[w] as number) & (b[w] as number);
  return out;
}

/** `a` without anything in the others. */
export function minus(a: IndexSet, ...others: readonly IndexSet[]): IndexSet {
  const out = a.slice() as IndexSet;
  for (const s of others) for (let w = 0; w < WORDS; w++) out[w] = (out[w] as number) & ~(s[w] as number);
  return out;
}

export function sizeOf(set: IndexSet): number {
  let n = 0;
  for (let w = 0; w < WORDS; w++) {
    let v = set[w] as number;
    if (v === 0) continue;
    v -= (v >>> 1) & 0x55555555;
    v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
    n += (((v + (v >>> 4)) & 0x0f0f0f0f) * 0x01010101) >>> 24;
  }
  return n;
}

export function isEmptySet(set: IndexSet): boolean {
  for (let w = 0; w < WORDS; w++) if (set[w] !== 0) return false;
  return true;
}

export function sameSet(a: IndexSet, b: IndexSet): boolean {
  for (let w = 0; w < WORDS; w++) if (a[w] !== b[w]) return false;
  return true;
}

export const hasIndex = (set: IndexSet, i: number): boolean => (((set[i >> 5] ?? 0) >>> (i & 31)) & 1) === 1;

/** True when nothing of `inner` lies outside `outer`. */
export const isWithin = (inner: IndexSet, outer: IndexSet): boolean => isEmptySet(minus(inner, outer));

/** Members in ascending order. */
export function members(set: IndexSet): number[] {
  const out: number[] = [];
  for (let w = 0; w < WORDS; w++) {
    let v = set[w] as number;
    while (v !== 0) {
      const low = 31 - Math.clz32(v & -v);
      out.push(w * 32 + low);
      v &= v - 1;
    }
  }
  return out;
}

/** The `n` smallest members (all of them when there are fewer). */
export function firstOf(set: IndexSet, n: number): IndexSet {
  const out = emptySet();
  let left = n;
  for (let w = 0; w < WORDS && left > 0; w++) {
    let v = set[w] as number;
    while (v !== 0 && left > 0) {
      const bit = v & -v;
      out[w] = (out[w] as number) | bit;
      v ^= bit;
      left--;
    }
  }
  return out;
}

/** The stored form: empty, or a little-endian 16-bit byte offset and the bytes from the first to the last non-zero one. */
export function encodeSet(set: IndexSet): Uint8Array {
  const bytes = new Uint8Array(BYTES);
  const view = new DataView(bytes.buffer);
  for (let w = 0; w < WORDS; w++) view.setUint32(w * 4, set[w] as number, true);
  let first = 0;
  let last = BYTES;
  while (first < BYTES && bytes[first] === 0) first++;
  if (first === BYTES) return new Uint8Array(0);
  while (bytes[last - 1] === 0) last--;
  const out = new Uint8Array(2 + last - first);
  out[0] = first & 255;
  out[1] = first >> 8;
  out.set(bytes.subarray(first, last), 2);
  return out;
}

/** Reads {@link encodeSet}'s form. Throws RangeError for bytes that it can't have written. */
export function decodeSet(stored: Uint8Array | undefined): IndexSet {
  const set = emptySet();
  if (stored === undefined || stored.length === 0) return set;
  const offset = (stored[0] as number) | ((stored[1] ?? 0) << 8);
  if (stored.length < 3 || offset + stored.length - 2 > BYTES) throw new RangeError("not a stored index set");
  const bytes = new Uint8Array(BYTES);
  bytes.set(stored.subarray(2), offset);
  const view = new DataView(bytes.buffer);
  for (let w = 0; w < WORDS; w++) set[w] = view.getUint32(w * 4, true);
  return set;
}
