import type { Reason } from '../../api/reasons.ts';
import { GatewayAuthError, GatewayUnavailableError, OperatorError } from '../../model/errors.ts';

export interface RequestsOptions {
  /** Runs a request within the connection's requests per second. */
  readonly limit: <T>(request: () => Promise<T>) => Promise<T>;
  /** A request failed. */
  readonly onError?: ((reason: Reason) => void) | undefined;
  /** A request failed in a way that may mean that the gateway is lost. */
  readonly onSuspicion: () => void;
}

/** Sends the requests of a session, until it is closed. */
export class Requests {
  readonly #options: RequestsOptions;
  readonly #closed: AbortSignal;
  #composed: { readonly signal: AbortSignal; readonly both: AbortSignal } | undefined;

  constructor(options: RequestsOptions, closed: AbortSignal) {
    this.#options = options;
    this.#closed = closed;
  }

  /** The signal of `request` aborts with `signal` and with the session. */
  async send<T>(signal: AbortSignal, request: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const both = this.#orClosed(signal);
    try {
      return await this.#options.limit(() => {
        both.throwIfAborted();
        return request(both);
      });
    } catch (error) {
      if (error instanceof OperatorError) this.#options.onError?.(error.reason);
      // One failed request may concern one object only, and a key may read though it must not write: a cheap probe tells
      // whether the gateway is lost.
      if (error instanceof GatewayAuthError || error instanceof GatewayUnavailableError) {
        this.#options.onSuspicion();
      }
      throw error;
    }
  }

  /** Kept, since one caller makes many requests with one signal. */
  #orClosed(signal: AbortSignal): AbortSignal {
    if (this.#composed?.signal !== signal) {
      this.#composed = { signal, both: AbortSignal.any([signal, this.#closed]) };
    }
    return this.#composed.both;
  }
}
