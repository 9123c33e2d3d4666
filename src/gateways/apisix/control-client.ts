import { RequestError, type Response, TimeoutError } from 'got';
import { GatewayUnavailableError } from '../../core/errors.ts';
import { AnswerTooLargeError, createHttpClient, type HttpClientOptions } from './http-client.ts';

export interface ControlAnswer {
  readonly status: 200 | 404;
  readonly body: unknown;
}

/** The Control API of data planes, with one place where its answers become errors. */
export interface ControlClient {
  /**
   * `path` is below `/v1/`. Rejects with a `GatewayUnavailableError` that does not name the data plane, or the abort's
   * reason.
   */
  get(dataPlane: string, path: string, timeoutMs: number, signal: AbortSignal): Promise<ControlAnswer>;
  close(): void;
}

/** Each data plane is asked one thing after the other. */
const CONNECTIONS_PER_DATA_PLANE = 1;
const CONNECT_TIMEOUT_MS = 2000;
const LOOPBACK =
  'is apisix.enable_control true, and apisix.control.ip an address that can be reached? By default it is loopback';
const WRONG_ADDRESS = 'is this the Control API of APISIX (apisix.control.port, by default 9090)?';

export function createControlClient(tls: HttpClientOptions['tls']): ControlClient {
  // The name is that of the Admin API's certificate.
  const { serverName: _, ...ofDataPlanes } = tls;
  const client = createHttpClient({
    tls: ofDataPlanes,
    concurrency: CONNECTIONS_PER_DATA_PLANE,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });

  return {
    async get(dataPlane, path, timeoutMs, signal) {
      signal.throwIfAborted();
      const url = new URL(dataPlane);
      url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${path}`;
      let response: Response<string>;
      try {
        response = await client.send(url, { method: 'GET', timeoutMs }, signal);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        throw new GatewayUnavailableError(whyUnreachable(error));
      }
      return answerOf(response);
    },

    close: () => client.close(),
  };
}

function answerOf({ statusCode: status, body: text }: Response<string>): ControlAnswer {
  if (status >= 300 && status < 400) {
    throw new GatewayUnavailableError(
      `answered ${status}, a redirect, which is not followed: ${WRONG_ADDRESS}`,
    );
  }
  if (status !== 200 && status !== 404) {
    throw new GatewayUnavailableError(
      `answered ${status}: ${status < 500 ? WRONG_ADDRESS : 'look at its log'}`,
    );
  }
  try {
    return { status, body: JSON.parse(text) as unknown };
  } catch {
    throw new GatewayUnavailableError(`answered ${status} without JSON: ${WRONG_ADDRESS}`);
  }
}

/** got's own error is left behind. */
function whyUnreachable(error: unknown): string {
  if (error instanceof AnswerTooLargeError) return `sent an answer that is too large: ${WRONG_ADDRESS}`;
  if (error instanceof TimeoutError) {
    return error.event === 'request'
      ? 'did not answer in time: is it overloaded?'
      : 'could not be connected to in time: is the address right, or a NetworkPolicy in between?';
  }
  const code = error instanceof RequestError ? error.code : 'no code';
  switch (code) {
    case 'ECONNREFUSED':
      return `refused the connection: ${LOOPBACK}`;
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'is a name that does not resolve: correct spec.apisix.controlApi';
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return 'cannot be reached: is there a route, or a NetworkPolicy in between?';
    default:
      return `gave no answer that can be used (${code}): ${WRONG_ADDRESS}`;
  }
}
