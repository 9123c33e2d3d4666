import { orAborted } from '../../runtime/aborted.ts';
import type { Clock } from '../../runtime/clock.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import { RegistryError } from './protocol.ts';
import type { Credentials } from './user.ts';

/** After a server rejected a login, it is not asked to log in again for this long. */
const REJECTION_PAUSE_MS = 2_000;

export interface LoginRequest {
  readonly http: HttpClient;
  /** Of the login. */
  readonly url: URL;
  readonly credentials: Credentials;
  readonly timeoutMs: number;
}

export interface Token {
  readonly value: string;
  /** When the server issued it, monotonic. */
  readonly sinceMs: number;
}

/** The login of one user at one server. */
interface Session<T> {
  readonly key: string;
  token: T | undefined;
  underWay: Promise<T> | undefined;
  rejection: { readonly error: RegistryError; readonly untilMs: number } | undefined;
}

export interface LoginsOptions<T> {
  readonly clock: Clock;
  /** Rejects with `RegistryError`, or with another error that is passed on. */
  readonly login: (request: LoginRequest, signal: AbortSignal) => Promise<T>;
  /** A token that is rejected so soon after its login is not replaced: another one would not help. */
  readonly newTokenMs: number;
}

/** Keeps one token per server for all services. */
export class Logins<T extends Token> {
  readonly #options: LoginsOptions<T>;
  readonly #sessions = new Map<string, Session<T>>();
  readonly #stop = new AbortController();

  constructor(options: LoginsOptions<T>) {
    this.#options = options;
  }

  /** The last token for these credentials; undefined before the first login. */
  last(request: LoginRequest): T | undefined {
    return this.#session(request).token;
  }

  /**
   * A new token. Requests that come during a login share it. Rejects like `login`, or with the signal's reason: then the login
   * continues for the others.
   */
  async renew(request: LoginRequest, signal: AbortSignal): Promise<T> {
    return await orAborted(this.#renew(this.#session(request), request), signal);
  }

  /**
   * Another token after the server rejected `rejected`; undefined if none would help. Requests for other services keep the old
   * token until there is another one.
   */
  async after(rejected: string, request: LoginRequest, signal: AbortSignal): Promise<T | undefined> {
    const { token } = this.#session(request);
    if (token !== undefined && token.value !== rejected) return token;
    const { clock, newTokenMs } = this.#options;
    if (token !== undefined && clock.monotonic() - token.sinceMs < newTokenMs) return undefined;
    return await this.renew(request, signal);
  }

  /** The server may never accept this token again. */
  drop(rejected: string, request: LoginRequest): void {
    const session = this.#session(request);
    if (session.token?.value === rejected) session.token = undefined;
  }

  /** Ends logins that are under way. */
  close(): void {
    this.#stop.abort();
  }

  #session({ url, credentials }: LoginRequest): Session<T> {
    const key = JSON.stringify([credentials.username, credentials.password]);
    const known = this.#sessions.get(url.href);
    if (known?.key === key) return known;
    const session: Session<T> = { key, token: undefined, underWay: undefined, rejection: undefined };
    this.#sessions.set(url.href, session);
    return session;
  }

  async #renew(session: Session<T>, request: LoginRequest): Promise<T> {
    const { clock, login } = this.#options;
    const { rejection } = session;
    if (rejection !== undefined && clock.monotonic() < rejection.untilMs) throw rejection.error;
    // No single query ends it: other queries wait for the same login.
    session.underWay ??= login(request, this.#stop.signal).finally(() => {
      session.underWay = undefined;
    });
    try {
      session.token = await session.underWay;
      session.rejection = undefined;
      return session.token;
    } catch (error) {
      if (error instanceof RegistryError && error.reason === 'Unauthorized') {
        session.rejection = { error, untilMs: clock.monotonic() + REJECTION_PAUSE_MS };
      }
      throw error;
    }
  }
}
