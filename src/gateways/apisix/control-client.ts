import { GatewayUnavailableError, OperatorError } from '../../model/errors.ts';
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
  'set apisix.enable_control to true, and apisix.control.ip, which is loopback by default, to an address that the operator can reach';
const WRONG_ADDRESS =
  'check that spec.apisix.controlApi leads to the Control API of APISIX (apisix.control.port, by default 9090)';
const READ_LOG = 'look at its log';
const CHECK_NETWORK = 'check the route to it, and the NetworkPolicies in between';

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
      if (error instanceof OperatorError) throw error;
      if (error instanceof NoObjectsError) throw foreignWords();
      if (error instanceof NoJsonError) throw withoutJson(200);
      const [problem, remedy] = whyUnreachable(error);
      throw new GatewayUnavailableError(problem, { remedy });
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
    throw new GatewayUnavailableError(`answered ${status}, a redirect, which the operator does not follow`, {
      remedy: WRONG_ADDRESS,
    });
  }
  if (status !== 200 && status !== 404) {
    throw new GatewayUnavailableError(`answered ${status}`, {
      remedy: status < 500 ? WRONG_ADDRESS : READ_LOG,
    });
  }
  try {
    return { status, body: JSON.parse(text) as unknown };
  } catch {
    throw withoutJson(status);
  }
}

function withoutJson(status: number): GatewayUnavailableError {
  return new GatewayUnavailableError(`answered ${status} without JSON`, { remedy: WRONG_ADDRESS });
}

/** The answer is JSON that the Control API of APISIX does not give. */
export function foreignWords(): GatewayUnavailableError {
  return new GatewayUnavailableError('answered in words that are not those of the Control API of APISIX', {
    remedy: 'correct spec.apisix.controlApi',
  });
}

function whyUnreachable(error: unknown): readonly [problem: string, remedy: string] {
  if (!(error instanceof NoAnswerError)) throw error;
  const { why } = error;
  if (why.kind === 'tooLarge') return ['sent an answer that is too large', WRONG_ADDRESS];
  if (why.kind === 'timeout') {
    return why.phase === 'answer'
      ? ['did not answer in time', 'check its load']
      : ['could not be connected to in time', 'check its address, and the NetworkPolicies in between'];
  }
  const { code } = why;
  switch (code) {
    case 'ECONNREFUSED':
      return ['refused the connection', LOOPBACK];
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return ['is a name that does not resolve', 'correct spec.apisix.controlApi'];
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
    case 'ETIMEDOUT':
      return ['cannot be reached', CHECK_NETWORK];
    default:
      return [`gave no usable answer (${code})`, WRONG_ADDRESS];
  }
}
