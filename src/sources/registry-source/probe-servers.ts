import type { RegistryLimits, ServerProbe } from '../registry.ts';
import { RegistryError, type RegistryProtocol } from './protocol.ts';

/** Asks every server once, one after the other, and closes the connections. */
export async function probeServers<Instance, Cursor>(
  protocol: RegistryProtocol<Instance, Cursor>,
  servers: readonly URL[],
  { requestTimeoutMs: timeoutMs }: RegistryLimits,
  signal: AbortSignal,
): Promise<readonly ServerProbe[]> {
  const probes: ServerProbe[] = [];
  try {
    for (const server of servers) probes.push(await probeServer(protocol, server, timeoutMs, signal));
  } finally {
    protocol.close();
  }
  return probes;
}

async function probeServer<Instance, Cursor>(
  protocol: RegistryProtocol<Instance, Cursor>,
  server: URL,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ServerProbe> {
  const { href: url } = server;
  try {
    await protocol.ask({ query: protocol.probe, server, cursor: undefined, waitMs: 0, timeoutMs }, signal);
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    const { problem, reason, remedy } = error;
    return { url, result: { ok: false, reason, problem, remedy } };
  }
  const version = await protocol.version?.({ server, timeoutMs }, signal).catch((error: unknown) => {
    if (!(error instanceof RegistryError)) throw error;
    return undefined;
  });
  return { url, result: { ok: true, version, api: protocol.api?.(server) } };
}
