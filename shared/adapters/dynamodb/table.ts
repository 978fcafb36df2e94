/** The table as CreateTable takes it; stacks and the embedded default use the same definition. */
import {
  ConditionalCheckFailedException,
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTimeToLiveCommand,
  type DynamoDBClient,
  PutItemCommand,
  ResourceInUseException,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { SchedulerError } from "#domain/error.ts";
import { keyItem, number } from "./codec.ts";
import { absentOrFormat, namesIn } from "./conditions.ts";
import { FORMAT_KEY, INDEXES, TTL_ATTRIBUTE } from "./keys.ts";

/** Raised by every change of keys or items that an older program would misread. */
const TABLE_FORMAT_VERSION = 1;

const TABLE_WAIT_S = 60;

export function tableDefinition(name: string): CreateTableCommandInput {
  const indexes = Object.entries(INDEXES);
  const attributes = new Set(["pk", "sk", ...indexes.flatMap(([, { hash, range }]) => [hash, range])]);
  return {
    TableName: name,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: [...attributes].map((a) => ({ AttributeName: a, AttributeType: "S" })),
    KeySchema: [
      { AttributeName: "pk", KeyType: "HASH" },
      { AttributeName: "sk", KeyType: "RANGE" },
    ],
    GlobalSecondaryIndexes: indexes.map(([index, { hash, range }]) => ({
      IndexName: index,
      KeySchema: [
        { AttributeName: hash, KeyType: "HASH" },
        { AttributeName: range, KeyType: "RANGE" },
      ],
      Projection: { ProjectionType: "KEYS_ONLY" },
    })),
  };
}

/**
 * Creates the table where it is not there yet and waits until it answers; safe to repeat, also by several at once.
 * Throws `version-mismatch` for a table of another format, and leaves that one alone.
 */
export async function createTable(client: DynamoDBClient, name: string): Promise<void> {
  await client.send(new CreateTableCommand(tableDefinition(name))).catch(except((error) => error instanceof ResourceInUseException));
  await waitUntilTableExists({ client, maxWaitTime: TABLE_WAIT_S, minDelay: 1, maxDelay: 2 }, { TableName: name });
  await claimFormat(client, name);
  const { TimeToLiveDescription: ttl } = await client.send(new DescribeTimeToLiveCommand({ TableName: name }));
  if (ttl?.TimeToLiveStatus === "ENABLED" || ttl?.TimeToLiveStatus === "ENABLING") return;
  const enable = { TableName: name, TimeToLiveSpecification: { AttributeName: TTL_ATTRIBUTE, Enabled: true } };
  await client.send(new UpdateTimeToLiveCommand(enable)).catch(except(isAlreadyEnabled));
}

/** Data of another format is refused, never guessed. */
async function claimFormat(client: DynamoDBClient, name: string): Promise<void> {
  const condition = absentOrFormat(TABLE_FORMAT_VERSION);
  const put = new PutItemCommand({
    TableName: name,
    Item: { ...keyItem(FORMAT_KEY), format: number(TABLE_FORMAT_VERSION) },
    ConditionExpression: condition.expression,
    ExpressionAttributeNames: namesIn(condition.expression),
    ExpressionAttributeValues: condition.values,
  });
  try {
    await client.send(put);
  } catch (error) {
    if (!(error instanceof ConditionalCheckFailedException)) throw error;
    const advice = `this program reads format ${TABLE_FORMAT_VERSION}; use the program that wrote it, or another table`;
    throw new SchedulerError("version-mismatch", `table ${name} holds data of another format; ${advice}`, { cause: error });
  }
}

/** DynamoDB has no class of its own for it; whoever enabled it at the same moment did what we wanted. */
const isAlreadyEnabled = (error: unknown): boolean => error instanceof Error && /already enabled/.test(error.message);

const except =
  (isFine: (error: unknown) => boolean) =>
  (error: unknown): void => {
    if (!isFine(error)) throw error;
  };
