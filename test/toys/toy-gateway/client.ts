import {
  GatewayAuthError,
  GatewayUnavailableError,
  OperatorError,
  WriteForbiddenError,
} from '../../../src/model/errors.ts';

/** Resolves to what the server answered; undefined for a 404. Rejects with `OperatorError`s, or the abort's reason. */
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
        if (response.status === 401) throw new GatewayAuthError('the configuration server refused the token');
        if (response.status === 404) return undefined;
        if (!response.ok)
          throw new GatewayUnavailableError(`the configuration server answered ${response.status}`);
        return answer;
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (error instanceof OperatorError) throw error;
        throw new GatewayUnavailableError('the configuration server cannot be reached', {
          remedy: 'check spec.toy.url',
        });
      }
    },
  };
}
