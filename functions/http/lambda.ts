/** API Gateway v2 events in, structured results out, around a fetch-shaped application. */
import { PROBLEM_CONTENT_TYPE, makeProblem } from "#api/problem.ts";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { RESULT_BYTES_MAX } from "./limits.ts";

type HttpEventHandler = (event: APIGatewayProxyEventV2) => Promise<APIGatewayProxyStructuredResultV2>;

/** Methods that a Request refuses to have; no address takes them, and the application answers so. */
const UNSPEAKABLE: ReadonlySet<string> = new Set(["CONNECT", "TRACE", "TRACK"]);

function requestOf(event: APIGatewayProxyEventV2): Request {
  const { method } = event.requestContext.http;
  const query = event.rawQueryString === "" ? "" : `?${event.rawQueryString}`;
  const url = `https://${event.requestContext.domainName || "localhost"}${event.rawPath}${query}`;
  const headers = new Headers();
  for (const [name, value] of Object.entries(event.headers)) if (value !== undefined) headers.set(name, value);
  if (!headers.has("x-request-id")) headers.set("x-request-id", event.requestContext.requestId);
  // The length is that of the event's own text, which base64 changes: the application counts what it gets.
  headers.delete("content-length");
  const hasBody = event.body !== undefined && method !== "GET" && method !== "HEAD";
  const body = hasBody ? Buffer.from(event.body ?? "", event.isBase64Encoded ? "base64" : "utf8") : null;
  return new Request(url, { method: UNSPEAKABLE.has(method.toUpperCase()) ? "UNSUPPORTED" : method, headers, body });
}

/** `undefined` when there is more than {@link RESULT_BYTES_MAX}. */
async function readAll(response: Response): Promise<Buffer | undefined> {
  if (response.body === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body) {
    bytes += chunk.byteLength;
    if (bytes > RESULT_BYTES_MAX) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const isText = (type: string): boolean => /^(text\/|application\/([a-z.+-]+\+)?json)/.test(type);

function tooLarge(): APIGatewayProxyStructuredResultV2 {
  const problem = makeProblem({
    code: "too-large",
    detail: `a function's answer has at most ${RESULT_BYTES_MAX} bytes: fetch the outputs one by one`,
  });
  return {
    statusCode: problem.status,
    headers: { "content-type": PROBLEM_CONTENT_TYPE },
    body: JSON.stringify(problem),
    isBase64Encoded: false,
  };
}

export function createLambdaHandler(app: { fetch(request: Request): Promise<Response> }): HttpEventHandler {
  return async (event) => {
    const response = await app.fetch(requestOf(event));
    const bytes = await readAll(response);
    if (bytes === undefined) return tooLarge();
    const headers = Object.fromEntries(response.headers);
    delete headers["content-length"];
    const text = isText(headers["content-type"] ?? "");
    return { statusCode: response.status, headers, body: bytes.toString(text ? "utf8" : "base64"), isBase64Encoded: !text };
  };
}
