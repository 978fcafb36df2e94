/** The table as CreateTable takes it; stacks and the embedded default use the same definition. */
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  type DynamoDBClient,
  ResourceInUseException,
  UpdateTimeToLiveCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { INDEXES, TTL_ATTRIBUTE } from "./keys.ts";

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

/** Creates the table where it is not there yet, and waits until it answers. */
export async function createTable(client: DynamoDBClient, name: string): Promise<void> {
  try {
    await client.send(new CreateTableCommand(tableDefinition(name)));
  } catch (error) {
    if (error instanceof ResourceInUseException) return;
    throw error;
  }
  await waitUntilTableExists({ client, maxWaitTime: TABLE_WAIT_S, minDelay: 1, maxDelay: 2 }, { TableName: name });
  const ttl = { AttributeName: TTL_ATTRIBUTE, Enabled: true };
  await client.send(new UpdateTimeToLiveCommand({ TableName: name, TimeToLiveSpecification: ttl }));
}
