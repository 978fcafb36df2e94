import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, it, vi } from "vitest";
import { createConnections } from "../../worker/gateway/connections.ts";
import { FIRST_CALL_WAIT_MS, SERVER_CERTIFICATE_CHECK_MS } from "../../worker/gateway/limits.ts";
import { createGatewayServer } from "../../worker/gateway/server.ts";
import { quiet, startWire } from "../support/wire.ts";

afterEach(() => void vi.useRealTimers());

async function startConnections() {
  const accepted: Socket[] = [];
  const arrived: (() => void)[] = [];
  const connections = createConnections((socket) => {
    accepted.push(socket);
    arrived.shift()?.();
  });
  const port = await connections.listen({ host: "127.0.0.1", port: 0 });
  const dial = async () => {
    const came = new Promise<void>((resolve) => void arrived.push(resolve));
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    await came;
    return { socket, peer: `127.0.0.1:${socket.localPort}` };
  };
  return { connections, dial, accepted };
}

describe("connections", () => {
  it("without a call are dropped in time, used ones stay", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const { connections, dial, accepted } = await startConnections();
    await dial();
    const used = await dial();
    connections.used(used.peer);
    vi.advanceTimersByTime(FIRST_CALL_WAIT_MS);
    expect(accepted.map((socket) => socket.destroyed)).toEqual([true, false]);
    vi.useRealTimers();
    await connections.close(0);
    expect(accepted.every((socket) => socket.destroyed)).toBe(true);
  });

  it("are cut by their peer's name alone", async () => {
    const { connections, dial, accepted } = await startConnections();
    const first = await dial();
    await dial();
    connections.cut("127.0.0.1:1");
    connections.cut(first.peer);
    expect(accepted.map((socket) => socket.destroyed)).toEqual([true, false]);
    await connections.close(0);
  });

  it("that cannot be listened for reject with the cause", async () => {
    const { connections } = await startConnections();
    await using wire = await startWire();
    const second = createConnections(() => {});
    await expect(second.listen({ host: "127.0.0.1", port: wire.server.port })).rejects.toThrow("EADDRINUSE");
    await connections.close(0);
  });
});

describe("the server certificate", () => {
  it("is replaced while running, before it ends, and names the hosts asked for", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    await using wire = await startWire();
    const soon = {
      ...wire.authority,
      issueServer: async (options: { readonly hosts: readonly string[] }) => ({
        ...(await wire.authority.issueServer(options)),
        expiresAtMs: Date.now(),
      }),
    };
    const handlers = { join: () => Promise.reject(), serve: () => Promise.reject(), signUploads: () => Promise.reject() };
    const server = await createGatewayServer({
      host: "127.0.0.1",
      port: 0,
      hosts: ["gw.example.org", "127.0.0.1"],
      authority: soon,
      handlers,
      logger: quiet,
    });
    const serial = async () => {
      const socket = connectTls({
        host: "127.0.0.1",
        port: server.port,
        servername: "gw.example.org",
        ca: wire.authority.caPem,
        ALPNProtocols: ["h2"],
      });
      await once(socket, "secureConnect");
      const certificate = socket.getPeerCertificate();
      socket.destroy();
      expect(certificate.subjectaltname).toBe("DNS:gateway.airavata.internal, DNS:gw.example.org, IP Address:127.0.0.1");
      return certificate.serialNumber;
    };
    const first = await serial();
    expect(await serial()).toBe(first);
    vi.advanceTimersByTime(SERVER_CERTIFICATE_CHECK_MS);
    await vi.waitFor(async () => expect(await serial()).not.toBe(first));
    await server.close(0);
  });
});
