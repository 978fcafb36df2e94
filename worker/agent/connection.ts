/** One connection to the gateway, with the identity that join.ts keeps. Dialling again is agent.ts's. */
import { createGatewayClient, type WorkStream } from "#protocol/client.ts";
import type { UploadFile } from "#protocol/gen/worker.ts";
import type { Log } from "#protocol/log.ts";
import { OutcomeError } from "#protocol/outcome.ts";

export interface ConnectOptions {
  /** host:port */
  readonly address: string;
  /** PEM texts. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
  readonly logger: Log;
}

/** A Channel of the worker protocol. `send` throws `too-large` above MESSAGE_BYTES_MAX. */
export interface Connection extends WorkStream {
  /** Signed PUT URLs in the order of the files. Rejects with {@link OutcomeError}. */
  signUploads(lease: string, files: readonly UploadFile[]): Promise<readonly string[]>;
}

/**
 * Dials the gateway and opens the worker's stream; resolves once the gateway has taken the certificate. The caller
 * sends Hello; what the gateway has against it (a wrong version) comes by `ended`. Rejects with {@link OutcomeError}.
 */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const { address, ca, certificate, key, logger } = options;
  const client = createGatewayClient({ address, ca, identity: { certificate, key } });
  try {
    const stream = await client.work();
    logger.info("connected to the gateway", { address });
    void stream.ended.then((outcome) => {
      client.close();
      logger.info("the connection to the gateway ended", {
        address,
        outcome: outcome.kind,
        reason: "reason" in outcome ? outcome.reason : undefined,
      });
    });
    return { ...stream, signUploads: (lease, files) => signUploads(client, lease, files) };
  } catch (error) {
    client.close();
    throw error;
  }
}

async function signUploads(
  client: ReturnType<typeof createGatewayClient>,
  lease: string,
  files: readonly UploadFile[],
): Promise<readonly string[]> {
  const { urls } = await client.signUploads({ lease, files: [...files] });
  if (urls.length === files.length) return urls;
  throw new OutcomeError({
    kind: "fatal",
    reason: `the gateway gave ${urls.length} upload URLs for ${files.length} files: report this as a bug`,
  });
}
