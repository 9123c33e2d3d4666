import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Metrics } from './metrics.ts';

/** One named check of `/readyz`. */
export interface ReadinessCheck {
  readonly name: string;
  /** Why the check fails. Undefined if it passes. */
  readonly problem: () => string | undefined;
  /** Information to show if the check passes. */
  readonly note?: () => string | undefined;
}

export interface OpsServer extends AsyncDisposable {
  readonly port: number;
}

export interface OpsServerOptions {
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  readonly checks: readonly ReadinessCheck[];
  readonly metrics: Metrics;
  /** The response to `/debug/state`, sent as JSON. */
  readonly debugState?: () => Promise<object>;
}

/**
 * - `GET /livez` succeeds while the event loop runs.
 * - `GET /readyz` returns one line per check, and status 503 if a check fails. The state of gateways is not a check: a
 *   gateway that is down must not remove the operator from its Service or cause a rollback.
 * - `GET /metrics` is for Prometheus.
 * - `GET /debug/state` is for debugging. Only with `debugState`.
 */
export async function startOpsServer(options: OpsServerOptions): Promise<OpsServer> {
  const server = createServer((request, response) => answer(options, request, response));
  await listen(server, options);
  // A connection that cannot be accepted must not end the process. The next probe detects the problem.
  server.on('error', () => undefined);
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

async function listen(server: Server, { host, port }: OpsServerOptions): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, resolve);
  });
}

function answer(
  { checks, metrics, debugState }: OpsServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): void {
  const path = request.method === 'GET' ? request.url?.split('?')[0] : undefined;
  response.setHeader('Content-Type', 'text/plain; charset=utf-8');
  if (path === '/livez') response.end('ok\n');
  else if (path === '/readyz') answerReadiness(response, checks);
  else if (path === '/metrics') answerLater(response, metrics.contentType, metrics.text());
  else if (path === '/debug/state' && debugState !== undefined) {
    answerLater(
      response,
      'application/json',
      debugState().then((state) => `${JSON.stringify(state)}\n`),
    );
  } else response.writeHead(404).end('not found: use /livez, /readyz or /metrics\n');
}

function answerLater(response: ServerResponse, contentType: string, body: Promise<string>): void {
  body.then(
    (text) => response.setHeader('Content-Type', contentType).end(text),
    (error: unknown) => response.writeHead(500).end(`${String(error)}\n`),
  );
}

function answerReadiness(response: ServerResponse, checks: readonly ReadinessCheck[]): void {
  const results = checks.map((check) => ({
    name: check.name,
    problem: problemOf(check),
    note: check.note?.(),
  }));
  const failed = results.some(({ problem }) => problem !== undefined);
  const lines = results.map(({ name, problem, note }) =>
    problem === undefined
      ? `[+]${name} ok${note === undefined ? '' : `: ${note}`}`
      : `[-]${name} failed: ${problem}`,
  );
  response.writeHead(failed ? 503 : 200).end(`${lines.join('\n')}\n`);
}

function problemOf({ problem }: ReadinessCheck): string | undefined {
  try {
    return problem();
  } catch (error) {
    return `cannot run this check: ${String(error)}`;
  }
}
