import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { Socket } from 'node:net';

export interface TlsFiles {
  /** PEM. */
  readonly key: string;
  readonly cert: string;
  /** If set, clients need a certificate of this authority. */
  readonly clientCa?: string;
}

/** An HTTP(S) server that can be stopped and started on the same port. */
export interface Listener {
  readonly port: number;
  start(): Promise<void>;
  /** Closes all connections. */
  stop(): Promise<void>;
  openConnections(): number;
}

export interface ListenerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0: a free port below 32768, which no outgoing connection uses while the server is stopped. */
  readonly port: number;
  readonly tls?: TlsFiles | undefined;
  readonly onRequest: RequestListener;
}

export async function startListener(options: ListenerOptions): Promise<Listener> {
  const { host = '127.0.0.1', tls, onRequest } = options;
  const server =
    tls === undefined
      ? createServer(onRequest)
      : createTlsServer(
          {
            key: tls.key,
            cert: tls.cert,
            ...(tls.clientCa === undefined ? {} : { ca: tls.clientCa, requestCert: true }),
          },
          onRequest,
        );
  // The default of nginx. Node's 5 s would close idle connections that a gateway keeps.
  server.keepAliveTimeout = 60_000;
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });

  const listen = (port: number) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, host, () => {
        server.off('error', reject);
        resolve();
      });
    });

  let port = options.port;
  for (let attempt = 1; !server.listening; attempt += 1) {
    if (options.port === 0) port = 20_000 + Math.floor(Math.random() * 12_000);
    try {
      await listen(port);
    } catch (error) {
      const inUse = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (!inUse || options.port !== 0 || attempt === 100) throw error;
    }
  }

  return {
    port,
    async start() {
      if (!server.listening) await listen(port);
    },
    async stop() {
      if (!server.listening) return;
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    openConnections: () => sockets.size,
  };
}
