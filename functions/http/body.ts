/** DECODE of bodies: limits and content types first, then the bytes, then their shape. */
import { complaintsOf } from "#api/problem.ts";
import {
  EXPERIMENT_FILE,
  EXPERIMENT_FILE_TYPES,
  FILE_CONTENT,
  FILE_CONTENT_TYPE,
  type ExperimentFileBody,
  JSON_TYPE,
  type Route,
  type Shape,
  wrappedFile,
} from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";

import { FILE_BYTES_MAX, FILE_REQUEST_BYTES_MAX, REQUEST_BYTES_MAX, UNPACKED_BYTES_MAX } from "./limits.ts";
import { Refusal } from "./problem-response.ts";

const tooLarge = (bytesMax: number): SchedulerError => new SchedulerError("too-large", `a request may have at most ${bytesMax} bytes`);

/** Reads at most as many bytes as the route takes, whatever the headers promise; a compressed file is unpacked within bounds too. */
export async function readBytes(route: Route, request: Request): Promise<Uint8Array> {
  const isFile = route.body === EXPERIMENT_FILE;
  const bytesMax = isFile ? FILE_REQUEST_BYTES_MAX : REQUEST_BYTES_MAX;
  if (Number(request.headers.get("content-length") ?? 0) > bytesMax) throw tooLarge(bytesMax);
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  const packed = await collect(request.body, bytesMax);
  if (encoding === "identity") return packed;
  if (encoding !== "gzip" || !isFile) throw new Refusal("unsupported-media-type", "send the body as it is, or an experiment file by gzip");
  try {
    const stream = new Blob([packed as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
    return await collect(stream, UNPACKED_BYTES_MAX);
  } catch (error) {
    if (error instanceof SchedulerError) throw error;
    throw invalid("the body is not gzip");
  }
}

async function collect(stream: ReadableStream<Uint8Array> | null, bytesMax: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of stream ?? []) {
    bytes += chunk.byteLength;
    if (bytes > bytesMax) throw tooLarge(bytesMax);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? (chunks[0] as Uint8Array) : new Uint8Array(Buffer.concat(chunks));
}

/** The media type without its parameters; a charset other than UTF-8 is refused. */
function mediaTypeOf(request: Request): string {
  const [type = "", ...parameters] = (request.headers.get("content-type") ?? "").toLowerCase().split(";");
  for (const parameter of parameters) {
    const [key, value = ""] = parameter.split("=").map((text) => text.trim());
    if (key === "charset" && value.replaceAll('"', "") !== "utf-8") throw new Refusal("unsupported-media-type", "send the text in UTF-8");
  }
  return type.trim();
}

function typesOf(body: Route["body"]): readonly string[] {
  if (body === EXPERIMENT_FILE) return EXPERIMENT_FILE_TYPES;
  return body === FILE_CONTENT ? [FILE_CONTENT_TYPE] : [JSON_TYPE];
}

/** Before the body is read, so that a wrong type costs nothing. */
export function checkContentType(route: Route, request: Request): void {
  if (route.body === undefined) return;
  const taken = typesOf(route.body);
  if (!taken.includes(mediaTypeOf(request))) {
    throw new Refusal("unsupported-media-type", `send it as ${taken.join(" or ")}`, { accept: taken.join(", ") });
  }
}

/** As it arrives; what ends short of its announced length is an error, never a shorter file. */
export async function* contentOf(request: Request): AsyncGenerator<Uint8Array> {
  const announced = request.headers.get("content-length");
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > FILE_BYTES_MAX) throw new SchedulerError("too-large", `a file may have at most ${FILE_BYTES_MAX} bytes here`);
    yield chunk;
  }
  if (announced !== null && Number(announced) !== bytes)
    throw new SchedulerError("invalid-input", `${announced} bytes were announced and ${bytes} arrived: nothing was written`);
}

const invalid = (message: string): SchedulerError => new SchedulerError("invalid-input", message);

function parseJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw invalid("the body is not UTF-8");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw invalid(`the body is not JSON: ${error instanceof Error ? error.message : ""}`);
  }
}

/** JSON with a `file` in it wraps a file (no experiment has that key); any other is the experiment itself. */
function readJsonFile(bytes: Uint8Array): ExperimentFileBody {
  const value = parseJson(bytes);
  if (typeof value !== "object" || value === null || !("file" in value)) return { bytes };
  const wrapped = wrappedFile.safeParse(value);
  if (!wrapped.success) {
    throw new SchedulerError("invalid-input", 'expects {"file": text, "set": values} and, of a workflow, simulateWork or workflowInputs', {
      complaints: complaintsOf(wrapped.error),
    });
  }
  const { file, ...options } = wrapped.data;
  return { bytes: new TextEncoder().encode(file), ...options };
}

export function decodeBody(route: Route, request: Request, bytes: Uint8Array): unknown {
  if (route.body === undefined || route.body === FILE_CONTENT) return undefined;
  if (bytes.byteLength === 0) throw invalid("the body is empty");
  if (route.body === EXPERIMENT_FILE) return mediaTypeOf(request) === JSON_TYPE ? readJsonFile(bytes) : { bytes };
  return parseShape(route.body, parseJson(bytes), "the body is not what this address takes");
}

export function parseShape(shape: Shape, value: unknown, message: string): unknown {
  const read = shape.safeParse(value);
  if (read.success) return read.data;
  throw new SchedulerError("invalid-input", message, { complaints: complaintsOf(read.error) });
}
