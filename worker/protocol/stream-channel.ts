/**
 * A Channel over one gRPC stream, the same at both ends. Messages are encoded here, so that the backlog is counted in
 * real bytes: grpc-js calls a write's callback when the HTTP/2 stream has taken it, which flow control delays for a slow
 * reader. Memory is bounded by BACKLOG_BYTES_MAX for what is sent, and by the stream's own 16 messages for what came in.
 */
import { assert, SchedulerError } from "#domain/error.ts";
import type { Channel } from "./channel.ts";
import { BACKLOG_BYTES_MAX, MESSAGE_BYTES_MAX } from "./limits.ts";

export interface StreamChannelOptions<Send> {
  readonly encode: (message: Send) => Uint8Array;
  /** Ends the stream on the wire; called once, by the first `close`. */
  readonly onClose: (reason: string) => void;
  /** Cuts the connection; called at most once, when the reader has become too slow. */
  readonly onOverflow: () => void;
}

/** What is asked of a gRPC stream of either end: Buffers go out, messages come in. */
export interface MessageStream {
  read(): unknown;
  write(bytes: Buffer, done: () => void): unknown;
  on(event: "readable" | "end" | "close" | "error", listener: () => void): unknown;
  off(event: "readable", listener: () => void): unknown;
  resume(): unknown;
}

/** {@link Channel.send} throws `too-large` above MESSAGE_BYTES_MAX. */
export function createStreamChannel<Send, Receive>(stream: MessageStream, options: StreamChannelOptions<Send>): Channel<Send, Receive> {
  let ended = false;
  let backlogBytes = 0;
  let wake: (() => void) | undefined;

  const rouse = () => {
    wake?.();
    wake = undefined;
  };
  const end = () => {
    if (ended) return;
    ended = true;
    // What still arrives is thrown away: the transport tells the end of a stream only after its data was taken.
    stream.off("readable", rouse);
    stream.resume();
    rouse();
  };
  stream.on("readable", rouse);
  stream.on("end", end);
  stream.on("close", end);
  stream.on("error", () => {}); // "end" or "close" follows; the status tells the cause

  return {
    send(message) {
      if (ended) return;
      const encoded = options.encode(message);
      const bytes = Buffer.from(encoded.buffer, encoded.byteOffset, encoded.byteLength);
      if (bytes.length > MESSAGE_BYTES_MAX) {
        throw new SchedulerError(
          "too-large",
          `a message of ${bytes.length} bytes passes the limit of ${MESSAGE_BYTES_MAX}: send less at once`,
        );
      }
      if (backlogBytes + bytes.length > BACKLOG_BYTES_MAX) {
        end();
        options.onOverflow();
        return;
      }
      backlogBytes += bytes.length;
      stream.write(bytes, () => {
        backlogBytes -= bytes.length;
      });
    },
    backlog: () => backlogBytes,
    async receive() {
      assert(wake === undefined, "one receive at a time");
      while (!ended) {
        const message = stream.read() as Receive | null;
        if (message !== null) return message;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      return undefined;
    },
    close(reason) {
      if (ended) return;
      end();
      options.onClose(reason);
    },
  };
}
