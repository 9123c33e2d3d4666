import {
  GatewayAuthError,
  GatewayUnavailableError,
  OperatorError,
  WriteForbiddenError,
} from '../../../src/model/errors.ts';

/** Resolves to the response body, or undefined for a 404. Rejects with an `OperatorError` or the reason of the abort. */
export interface ToyClient {
  ask(method: string, path: string, body: object | undefined, signal: AbortSignal): Promise<unknown>;
}

export function createToyClient(options: {
  readonly url: string;
  readonly token: string;
  readonly requestTimeoutMs: number;
  readonly mayWrite: () => boolean;
}): ToyClient {
  const headers = { authorization: `Bearer ${options.token}` };
  return {
    async ask(method, path, body, signal) {
      signal.throwIfAborted();
      if (method !== 'GET' && !options.mayWrite()) throw new WriteForbiddenError();
      try {
        const response = await fetch(`${options.url}/${path}`, {
          method,
          headers,
          ...(body === undefined ? {} : { body: JSON.stringify(body) }),
          signal: AbortSignal.any([signal, AbortSignal.timeout(options.requestTimeoutMs)]),
        });
        const answer = (await response.json()) as unknown;
        if (response.status === 401)
          throw new GatewayAuthError('the configuration server rejected the token');
        if (response.status === 404) return undefined;
        if (!response.ok)
          throw new GatewayUnavailableError(`the configuration server answered ${response.status}`);
        return answer;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof OperatorError) throw error;
        throw new GatewayUnavailableError('the configuration server is unreachable', {
          remedy: 'check spec.toy.url',
        });
      }
    },
  };
}
