/** Suites that need a real component, which an environment variable names: skipped with a printed reason, or a failure where REQUIRE_REAL=1. */
import { describe, it } from "vitest";

export interface RealComponent {
  /** What it is, for people. */
  readonly name: string;
  /** The environment variable that holds its address. */
  readonly variable: string;
}

export function describeReal(what: string, { name, variable }: RealComponent, suite: (address: string) => void): void {
  const address = process.env[variable];
  const title = `${what} on ${name} at ${variable}`;
  if (address !== undefined && address !== "") {
    describe(title, () => suite(address));
    return;
  }
  const missing = `${variable} is not set`;
  if (process.env.REQUIRE_REAL === "1") {
    it(title, () => {
      throw new Error(`${missing}, and REQUIRE_REAL=1`);
    });
    return;
  }
  console.log(`skipped: ${title}: ${missing}`);
  describe.skip(`${title}: ${missing}`, () => it("is skipped", () => {}));
}

export const MINISTACK: RealComponent = { name: "MiniStack", variable: "AWS_ENDPOINT_URL" };
export const LOCALSTACK: RealComponent = { name: "LocalStack", variable: "LOCALSTACK_ENDPOINT_URL" };
export const VERSITYGW: RealComponent = { name: "versitygw", variable: "AWS_ENDPOINT_URL_S3" };
export const ELASTICMQ: RealComponent = { name: "ElasticMQ", variable: "AWS_ENDPOINT_URL_SQS" };
export const DYNAMODB_LOCAL: RealComponent = { name: "DynamoDB Local", variable: "AWS_ENDPOINT_URL_DYNAMODB" };
