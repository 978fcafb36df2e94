/** The deployed HTTP function: API Gateway v2 events. A start that fails is tried again by the next request. */
import { openHttp } from "#compose/http.ts";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { createHttpApp } from "./app.ts";
import { createLambdaHandler } from "./lambda.ts";

async function open() {
  const { parts, meter } = await openHttp(process.env);
  const handle = createLambdaHandler(createHttpApp({ ...parts, version: process.env.AIRAVATA_VERSION ?? "0.0.0" }));
  const memoryMib = Number(process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE ?? "512");
  return async (event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> => {
    const result = await meter.invocation({ memoryMib, http: true }, () => handle(event));
    await meter.save();
    return result;
  };
}

let opened: ReturnType<typeof open> | undefined;

export async function handler(event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> {
  opened ??= open();
  const handle = await opened.catch((error: unknown) => {
    opened = undefined;
    throw error;
  });
  return handle(event);
}
