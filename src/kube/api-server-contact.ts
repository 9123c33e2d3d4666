import type { Clock } from '../runtime/clock.ts';
import type { Logger } from '../runtime/logger.ts';
import type { KubeApiError } from './kube-error.ts';

/** When the API server last answered one reflector, and the error since then. Logs each error once. */
export class ApiServerContact {
  readonly #name: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  #lastAt: number | undefined;
  #lastError: string | undefined;
  /** The last logged error. It is not logged again until the reflector has recovered. */
  #logged: string | undefined;

  constructor(name: string, clock: Clock, log: Logger) {
    this.#name = name;
    this.#clock = clock;
    this.#log = log;
  }

  /** On the monotonic clock. */
  get lastAt(): number | undefined {
    return this.#lastAt;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** The API server sent a successful response or an event. */
  succeeded(): void {
    this.#lastAt = this.#clock.monotonic();
    this.#lastError = undefined;
  }

  recovered(): void {
    if (this.#logged === undefined) return;
    this.#logged = undefined;
    this.#log.info({}, 'the API server answers again');
  }

  failed(error: KubeApiError): void {
    this.note(error);
    if (this.#logged === error.message) return;
    this.#logged = error.message;
    this.#log.warn({ status: error.status }, `cannot watch ${this.#name}: ${error.message}`);
  }

  /** Records an error without logging a warning. */
  note(error: KubeApiError): void {
    this.#lastError = error.message;
  }
}
