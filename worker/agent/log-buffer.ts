/**
 * Holds what an attempt writes to one stream: the first bytes and the last ones, and nothing of what lies between. Memory
 * grows with what was written and is bounded whatever is.
 */
import { LOG_HEAD_BYTES_MAX, LOG_TAIL_BYTES_MAX, type LogExtent, seekLog } from "#domain/task-log.ts";
import { LOG_BLOCK_BYTES, LOG_BLOCK_FIRST_BYTES } from "./limits.ts";

export interface LogBuffer {
  push(chunk: Uint8Array): void;
  extent(): LogExtent;
  /** Bytes from `offset` on, or from the first one behind it that is still there; none at the end. A copy. */
  read(offset: number, bytesMax: number): { readonly offset: number; readonly data: Buffer };
  /** All that is held. */
  content(): Buffer;
  /** The last bytes as text; a character cut in two at the front is left out. */
  tail(bytesMax: number): string;
  /** Told when more has come; one listener. */
  onGrowth: () => void;
}

interface Block {
  readonly start: number;
  readonly bytes: Buffer;
  used: number;
}

export function createLogBuffer(): LogBuffer {
  const head: Block[] = [];
  const rest: Block[] = [];
  let total = 0;

  /** Small at first: most tasks write a line or two. */
  function nextBlock(): Block {
    const inHead = total < LOG_HEAD_BYTES_MAX;
    const room = inHead ? LOG_HEAD_BYTES_MAX - total : LOG_BLOCK_BYTES;
    const size = Math.min(room, LOG_BLOCK_BYTES, Math.max(LOG_BLOCK_FIRST_BYTES, total));
    const block = { start: total, bytes: Buffer.allocUnsafe(size), used: 0 };
    (inHead ? head : rest).push(block);
    if (rest.length * LOG_BLOCK_BYTES > LOG_TAIL_BYTES_MAX) rest.shift();
    return block;
  }

  function extent(): LogExtent {
    const omittedAt = head.reduce((n, b) => n + b.used, 0);
    return { bytes: total, omittedAt, omitted: (rest[0]?.start ?? total) - omittedAt };
  }

  function read(offset: number, bytesMax: number): { offset: number; data: Buffer } {
    const from = seekLog(extent(), offset).offset;
    const pieces: Buffer[] = [];
    let at = from;
    for (const block of [...head, ...rest]) {
      if (at - from >= bytesMax) break;
      // Behind the head a gap may lie: what is given has none.
      if (at < block.start || at >= block.start + block.used) continue;
      const piece = block.bytes.subarray(at - block.start, Math.min(block.used, at - block.start + bytesMax - (at - from)));
      pieces.push(piece);
      at += piece.length;
    }
    return { offset: from, data: Buffer.concat(pieces) };
  }

  const content = (): Buffer => Buffer.concat([...head, ...rest].map((b) => b.bytes.subarray(0, b.used)));

  const buffer: LogBuffer = {
    onGrowth: () => undefined,
    extent,
    read,
    content,
    push(chunk) {
      if (chunk.length === 0) return;
      for (let taken = 0; taken < chunk.length; ) {
        let block = rest.at(-1) ?? head.at(-1);
        if (block === undefined || block.used === block.bytes.length) block = nextBlock();
        const piece = chunk.subarray(taken, taken + block.bytes.length - block.used);
        block.bytes.set(piece, block.used);
        block.used += piece.length;
        taken += piece.length;
        total += piece.length;
      }
      buffer.onGrowth();
    },
    tail(bytesMax) {
      const { omitted, omittedAt } = extent();
      const all = content();
      // Text never spans the gap.
      let start = Math.max(omitted > 0 ? omittedAt : 0, all.length - bytesMax);
      if (start > 0) for (let cut = 0; cut < 3 && ((all[start] ?? 0) & 0xc0) === 0x80; cut++) start++;
      return all.toString("utf8", start);
    },
  };
  return buffer;
}

/**
 * Passes on what comes before an end mark, and never a byte of the mark itself. `isWhole`: the mark came and nothing after it.
 * A start of the mark at the end of what has come is held back until it is known.
 */
export function createEndMark(mark: Buffer, sink: Pick<LogBuffer, "push">) {
  let held = Buffer.alloc(0);
  const heldOf = (all: Buffer): number => {
    for (let n = Math.min(mark.length, all.length); n > 0; n--) if (all.subarray(-n).equals(mark.subarray(0, n))) return n;
    return 0;
  };
  return {
    isWhole: (): boolean => held.length === mark.length,
    push(chunk: Buffer): void {
      if (chunk.length === 0) return;
      // Somebody wrote behind the mark: the mark is no output.
      const before = held.length === mark.length ? Buffer.alloc(0) : held;
      const all = before.length === 0 ? chunk : Buffer.concat([before, chunk]);
      const n = heldOf(all);
      held = Buffer.from(all.subarray(all.length - n));
      sink.push(all.subarray(0, all.length - n));
    },
    /** Gives up waiting for the rest of the mark: what was held is output, unless it is the mark. */
    flush(): void {
      if (held.length === mark.length) return;
      sink.push(held);
      held = Buffer.alloc(0);
    },
  };
}
