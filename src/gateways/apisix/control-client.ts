import { GatewayUnavailableError, OperatorError } from '../../core/errors.ts';
import { closeHttpAgents, createHttpAgents } from './http-agents.ts';
import { type HttpAnswer, NoAnswerError, type TlsSettings } from './http-answer.ts';
import { createHttpClient } from './http-client.ts';
import { ItemScanner, NoJsonError, NoObjectsError } from './item-scanner.ts';

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
  /** Like `get`, for a list: its items are given to `take` as JSON while they arrive, and the body is the list with none. */
  list(
    dataPlane: string,
    path: string,
    timeoutMs: number,
    take: (item: Buffer) => void,
    signal: AbortSignal,
  ): Promise<ControlAnswer>;
  close(): void;
}

/** Each data plane is asked one thing after the other. */
const CONNECTIONS_PER_DATA_PLANE = 1;
const CONNECT_TIMEOUT_MS = 2000;
const LOOPBACK =
  'is apisix.enable_control true, and apisix.control.ip an address that can be reached? By default it is loopback';
export const FOREIGN_WORDS =
  'answered in words that are not those of the Control API of APISIX: correct spec.apisix.controlApi';
const WRONG_ADDRESS = 'is this the Control API of APISIX (apisix.control.port, by default 9090)?';

export function createControlClient(tls: TlsSettings): ControlClient {
  // The name is that of the Admin API's certificate.
  const { serverName: _, ...ofDataPlanes } = tls;
  const agents = createHttpAgents(ofDataPlanes, CONNECTIONS_PER_DATA_PLANE);
  const client = createHttpClient(agents, CONNECT_TIMEOUT_MS);

  const send = async <T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> => {
    signal.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      throw error instanceof OperatorError ? error : new GatewayUnavailableError(whyUnreachable(error));
    }
  };

  return {
    async get(dataPlane, path, timeoutMs, signal) {
      const url = urlOf(dataPlane, path);
      return answerOf(await send(() => client.send(url, { method: 'GET', timeoutMs }, signal), signal));
    },

    async list(dataPlane, path, timeoutMs, take, signal) {
      const url = urlOf(dataPlane, path);
      const scanner = new ItemScanner('root', take);
      const response = await send(() => client.list(url, { timeoutMs }, scanner, signal), signal);
      return 'body' in response ? answerOf(response) : { status: 200, body: response.rest };
    },

    close: () => closeHttpAgents(agents),
  };
}

function urlOf(dataPlane: string, path: string): URL {
  const url = new URL(dataPlane);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${path}`;
  return url;
}

function answerOf({ statusCode: status, body: text }: HttpAnswer): ControlAnswer {
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
    throw new GatewayUnavailableError(withoutJson(status));
  }
}

function withoutJson(status: number): string {
  return `answered ${status} without JSON: ${WRONG_ADDRESS}`;
}

function whyUnreachable(error: unknown): string {
  if (error instanceof NoObjectsError) return FOREIGN_WORDS;
  if (error instanceof NoJsonError) return withoutJson(200);
  if (!(error instanceof NoAnswerError)) throw error;
  const { why } = error;
  if (why.kind === 'tooLarge') return `sent an answer that is too large: ${WRONG_ADDRESS}`;
  if (why.kind === 'timeout') {
    return why.phase === 'answer'
      ? 'did not answer in time: is it overloaded?'
      : 'could not be connected to in time: is the address right, or a NetworkPolicy in between?';
  }
  const { code } = why;
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
