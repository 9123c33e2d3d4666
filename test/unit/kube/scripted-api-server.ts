import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { KubeConfig } from '@kubernetes/client-node';

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  /** Resolves when the client or the server has closed the response. */
  readonly closed: Promise<void>;
}

export type Answer = (response: ServerResponse, request: IncomingMessage) => void;

/** Answers requests in the order of a script. Requests after its end get no response. */
export interface ScriptedApiServer extends AsyncDisposable {
  readonly url: string;
  readonly seen: readonly SeenRequest[];
  /** Number of connections since the start. */
  readonly accepted: () => number;
  readonly openConnections: () => number;
}

export async function startScriptedApiServer(script: readonly Answer[]): Promise<ScriptedApiServer> {
  const seen: SeenRequest[] = [];
  const listener: RequestListener = (request, response) => {
    const url = new URL(request.url ?? '/', 'http://api');
    const closed = new Promise<void>((resolve) => response.once('close', resolve));
    seen.push({
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      closed,
    });
    script[seen.length - 1]?.(response, request);
  };
  const server = createServer(listener);
  const sockets = new Set<Socket>();
  let accepted = 0;
  server.on('connection', (socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    accepted: () => accepted,
    openConnections: () => sockets.size,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A kubeconfig with one cluster and one user. */
export function kubeConfigOf(
  cluster: { readonly server: string; readonly [field: string]: unknown },
  user: Readonly<Record<string, unknown>> = { token: 'test-token-0123456789' },
): KubeConfig {
  const kubeConfig = new KubeConfig();
  kubeConfig.loadFromOptions({
    clusters: [{ name: 'cluster', skipTLSVerify: cluster.server.startsWith('http:'), ...cluster }],
    users: [{ name: 'user', ...user }],
    contexts: [{ name: 'context', cluster: 'cluster', user: 'user' }],
    currentContext: 'context',
  });
  return kubeConfig;
}

export function json(body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Answer {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body));
  };
}

/** An error response with a Status object, as the API server sends it. */
export function refused(
  code: number,
  reason: string,
  headers: Readonly<Record<string, string>> = {},
  message = `${reason} it is`,
): Answer {
  return json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code }, code, headers);
}

/** A watch that sends these events. Then it ends cleanly, breaks, or stays open. */
export function watched(events: readonly unknown[], then: 'close' | 'cut' | 'open'): Answer {
  return (response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const text = events.map((event) => `${JSON.stringify(event)}\n`).join('');
    if (then === 'close') response.end(text);
    else response.write(text, () => then === 'cut' && response.destroy());
  };
}
