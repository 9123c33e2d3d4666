import { connect, createServer, type Socket } from 'node:net';

/**
 * The handling of data and new connections. `swallow`: connections stay open and new ones are accepted, but no data passes
 * in either direction, like behind a firewall that drops packets. `refuse`: new connections are reset.
 */
export type ChaosMode = 'pass' | 'swallow' | 'refuse';

/** A TCP proxy on 127.0.0.1 that breaks connections on command. */
export interface ChaosProxy extends AsyncDisposable {
  readonly port: number;
  setMode(mode: ChaosMode): void;
  /** Resets every open connection. */
  cutAll(): void;
  /** The number of open client connections. */
  connections(): number;
  close(): Promise<void>;
}

/** Forwards to `target.port` of `target.host` (127.0.0.1 by default). */
export async function startChaosProxy(options: {
  readonly target: { readonly host?: string; readonly port: number };
}): Promise<ChaosProxy> {
  const { host = '127.0.0.1', port: targetPort } = options.target;
  const open = new Set<Socket>();
  let mode: ChaosMode = 'pass';

  const server = createServer((client) => {
    if (mode === 'refuse') {
      client.resetAndDestroy();
      return;
    }
    const upstream = connect({ host, port: targetPort });
    open.add(client);
    client.once('close', () => open.delete(client));
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      from.on('data', (chunk: Buffer) => {
        if (mode === 'swallow') return;
        if (!to.write(chunk)) from.pause();
      });
      to.on('drain', () => from.resume());
      // An error on one side closes the other. The reason does not matter.
      from.on('error', () => to.destroy());
      from.once('close', () => {
        if (mode !== 'swallow' || from === client) to.destroy();
      });
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');

  const cutAll = () => {
    for (const client of open) client.resetAndDestroy();
  };
  const close = async () => {
    cutAll();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return {
    port: address.port,
    setMode(next) {
      mode = next;
    },
    cutAll,
    connections: () => open.size,
    close,
    [Symbol.asyncDispose]: close,
  };
}
