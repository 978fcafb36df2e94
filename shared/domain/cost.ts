/**
 * What the control plane uses, what each unit costs at list price, and amounts of money.
 *
 * Counts are whole millionths of a unit and money is whole nano-dollars: sums never drift. Prices are Amazon's list prices
 * for us-east-1 without free tier or discounts, as of 2025-06.
 */
import { assert } from "./error.ts";

export const MILLION = 1_000_000;
export const NANO_USD = 1_000_000_000;

export interface Price {
  /** What one unit is. */
  readonly unit: string;
  /** Millionths of a dollar for a million units: $0.625 a million is 625,000. */
  readonly microUsdPerMillion: number;
  readonly source: string;
}

/** The one table of prices. */
export const PRICES = {
  "write-units": {
    unit: "DynamoDB write request unit (1 KB; two in a transaction)",
    microUsdPerMillion: 625_000,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
  },
  "read-units": {
    unit: "DynamoDB read request unit (4 KB; half for eventually consistent reads)",
    microUsdPerMillion: 125_000,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
  },
  "message-requests": {
    unit: "SQS request (64 KB of send, receive or delete of up to 10 messages)",
    microUsdPerMillion: 400_000,
    source: "https://aws.amazon.com/sqs/pricing/",
  },
  "object-puts": {
    unit: "S3 PUT or LIST request",
    microUsdPerMillion: 5_000_000,
    source: "https://aws.amazon.com/s3/pricing/",
  },
  "object-gets": {
    unit: "S3 GET or HEAD request",
    microUsdPerMillion: 400_000,
    source: "https://aws.amazon.com/s3/pricing/",
  },
  "function-requests": {
    unit: "Lambda request",
    microUsdPerMillion: 200_000,
    source: "https://aws.amazon.com/lambda/pricing/",
  },
  "function-gb-seconds": {
    unit: "Lambda GB-second (x86)",
    microUsdPerMillion: 16_666_700,
    source: "https://aws.amazon.com/lambda/pricing/",
  },
  "http-requests": {
    unit: "API Gateway HTTP request",
    microUsdPerMillion: 1_000_000,
    source: "https://aws.amazon.com/api-gateway/pricing/",
  },
} as const satisfies Readonly<Record<string, Price>>;

export type MeteredKind = keyof typeof PRICES;
export const METERED_KINDS = Object.keys(PRICES) as readonly MeteredKind[];

/** Millionths of units by kind; a kind that is absent was not used. */
export type Usage = { readonly [K in MeteredKind]?: number };

export function addUsage(a: Usage, b: Usage): Usage {
  const sum: { [K in MeteredKind]?: number } = { ...a };
  for (const kind of METERED_KINDS) {
    const more = b[kind];
    if (more !== undefined) sum[kind] = (sum[kind] ?? 0) + more;
  }
  return sum;
}

/** In nano-dollars, rounded down. */
export function amountOf(kind: MeteredKind, microUnits: number): number {
  assert(Number.isSafeInteger(microUnits) && microUnits >= 0, "a count is a whole number of millionths");
  // micro-units x micro-dollars per million units = 10^-18 dollars.
  return Number((BigInt(microUnits) * BigInt(PRICES[kind].microUsdPerMillion)) / BigInt(NANO_USD));
}

/** Splits millionths among `n` so that nothing is lost: the first ones bear what is left over. */
export function shares(microUnits: number, n: number): number[] {
  const each = Math.floor(microUnits / n);
  return Array.from({ length: n }, (_, i) => each + (i < microUnits - each * n ? 1 : 0));
}
