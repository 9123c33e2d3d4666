import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer, type ServerOptions } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { onTestFinished } from 'vitest';

/** A server on loopback that runs until the end of the test. */
export interface RunningServer {
  readonly url: string;
  /** All connections since the start. */
  readonly sockets: readonly Socket[];
}

export function serveHttp(listener: RequestListener, host = '127.0.0.1'): Promise<RunningServer> {
  return listen(createHttpServer(listener), 'http', host);
}

export function serveTls(options: ServerOptions, listener: RequestListener): Promise<RunningServer> {
  return listen(createHttpsServer(options, listener), 'https');
}

export function serveTcp(onConnection: (socket: Socket) => void): Promise<RunningServer> {
  return listen(createTcpServer(onConnection), 'http');
}

/** A URL at which no server listens. */
export async function closedPort(): Promise<string> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

async function listen(server: Server, scheme: 'http' | 'https', host = '127.0.0.1'): Promise<RunningServer> {
  const sockets: Socket[] = [];
  server.on('connection', (socket: Socket) => {
    sockets.push(socket);
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `${scheme}://${host.includes(':') ? `[${host}]` : host}:${port}`, sockets };
}
