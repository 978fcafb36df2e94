/** The HTTP function: `createLambdaHandler(createHttpApp(deps))`. What it needs is put together by a composition root. */
export { createGatewayApp, createHttpApp, type HttpApp } from "./app.ts";
export { isExportPath } from "./departure.ts";
export { isArchivePath } from "./outputs.ts";
export { isFilePath } from "./storage.ts";
export { createLambdaHandler } from "./lambda.ts";
