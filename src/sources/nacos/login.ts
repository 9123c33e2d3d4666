import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import { HttpError } from '../../runtime/http/failures.ts';
import { jsonOf, registryErrorOf } from '../registry-source/http-client.ts';
import { RegistryError } from '../registry-source/protocol.ts';
import { ApiMissingError, isMissingApi } from './api-missing.ts';

const answer = z.object({ accessToken: z.string().min(1), tokenTtl: z.number().positive() });

/** A token is renewed after this part of its life. */
const RENEW_AFTER = 0.8;
/** Nacos signs tokens for hours. A shorter life must not make every request log in. */
const SHORTEST_LIFE_MS = 1_000;
/** After a server rejected a login, it is not asked to log in again for this long. */
const REJECTION_PAUSE_MS = 2_000;
/** A token that is rejected so soon lacks the permission: another one would not help. */
const NEW_TOKEN_MS = 10_000;

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

export interface LoginRequest {
  readonly http: HttpClient;
  /** Of the login. */
  readonly url: URL;
  readonly credentials: Credentials;
  readonly timeoutMs: number;
}

interface Token {
  readonly value: string;
  readonly sinceMs: number;
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
}

/** The login of one user at one server. */
interface Session {
  readonly key: string;
  token: Token | undefined;
  underWay: Promise<Token> | undefined;
  rejection: { readonly error: RegistryError; readonly untilMs: number } | undefined;
}

/** Keeps one access token per server for all services, and logs in again before it expires. */
export class Login {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  readonly #stop = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Requests that come during a login share it. Rejects with `RegistryError` or `ApiMissingError`, or with the signal's reason:
   * then the login continues for the others.
   */
  async token(request: LoginRequest, signal: AbortSignal): Promise<string> {
    const session = this.#session(request);
    const now = this.#clock.monotonic();
    const valid = session.token !== undefined && now < session.token.expiresAtMs ? session.token : undefined;
    if (valid !== undefined && now < valid.renewAtMs) return valid.value;
    const renewal = this.#renew(session, request);
    // Until the old token expires, requests wait for no renewal, and outlive one that fails.
    if (valid === undefined) return (await orAborted(renewal, signal)).value;
    renewal.catch(() => undefined);
    return valid.value;
  }

  /**
   * Another token after the server rejected `rejected`; undefined if none would help: a new token that is rejected lacks the
   * permission. Requests for other services keep the old token until there is another one.
   */
  async tokenAfter(
    rejected: string,
    request: LoginRequest,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    const session = this.#session(request);
    if (session.token !== undefined && session.token.value !== rejected) return session.token.value;
    const sinceMs = session.token?.sinceMs ?? Number.NEGATIVE_INFINITY;
    if (this.#clock.monotonic() - sinceMs < NEW_TOKEN_MS) return undefined;
    return (await orAborted(this.#renew(session, request), signal)).value;
  }

  /** Ends logins that are under way. */
  close(): void {
    this.#stop.abort();
  }

  #session({ url, credentials }: LoginRequest): Session {
    const key = JSON.stringify([credentials.username, credentials.password]);
    const known = this.#sessions.get(url.href);
    if (known?.key === key) return known;
    const session: Session = { key, token: undefined, underWay: undefined, rejection: undefined };
    this.#sessions.set(url.href, session);
    return session;
  }

  async #renew(session: Session, request: LoginRequest): Promise<Token> {
    const { rejection } = session;
    if (rejection !== undefined && this.#clock.monotonic() < rejection.untilMs) throw rejection.error;
    session.underWay ??= this.#login(request).finally(() => {
      session.underWay = undefined;
    });
    try {
      session.token = await session.underWay;
      session.rejection = undefined;
      return session.token;
    } catch (error) {
      if (error instanceof RegistryError && error.reason === 'Unauthorized') {
        session.rejection = { error, untilMs: this.#clock.monotonic() + REJECTION_PAUSE_MS };
      }
      throw error;
    }
  }

  async #login({ http, url, credentials, timeoutMs }: LoginRequest): Promise<Token> {
    const { username, password } = credentials;
    const form = new URLSearchParams({ username, password });
    // No single query ends it: other queries wait for the same login.
    const { status, text } = await http.send(
      { method: 'POST', url, body: form, timeoutMs },
      this.#stop.signal,
    );
    if (isMissingApi(status)) throw new ApiMissingError();
    if (status !== 200) throw rejectedLogin(status, url);
    const body = jsonOf(text);
    if (body === undefined) throw registryErrorOf(new HttpError({ kind: 'NotJson', status }), url);
    const parsed = answer.safeParse(body);
    if (parsed.success) return tokenOf(parsed.data, this.#clock.monotonic());
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${url.host} sent an invalid answer to the login`,
      remedy: 'check that the URL in servers is that of a Nacos server with its own users',
    });
  }
}

/** The result of `work`; rejects with the signal's reason if the signal aborts first. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason as Error);
  if (signal.aborted) stop();
  signal.addEventListener('abort', stop, { once: true });
  try {
    return await Promise.race([promise, work]);
  } finally {
    signal.removeEventListener('abort', stop);
  }
}

function tokenOf({ accessToken, tokenTtl }: z.output<typeof answer>, now: number): Token {
  const lifeMs = Math.max(SHORTEST_LIFE_MS, tokenTtl * 1000);
  return {
    value: accessToken,
    sinceMs: now,
    renewAtMs: now + lifeMs * RENEW_AFTER,
    expiresAtMs: now + lifeMs,
  };
}

function rejectedLogin(status: number, url: URL): RegistryError {
  const secrets = 'in the Secrets of nacos.usernameSecretRef and nacos.passwordSecretRef';
  if (status === 500) {
    return new RegistryError('Unauthorized', 'server', {
      problem: `${url.host} answered the login with HTTP 500, as Nacos does for a wrong password`,
      remedy: `correct the user name and password ${secrets}, or check the server`,
    });
  }
  if ([400, 401, 403].includes(status)) {
    return new RegistryError('Unauthorized', 'registry', {
      problem: `Nacos at ${url.host} rejected the login (${status})`,
      remedy: `correct the user name and password ${secrets}`,
    });
  }
  return new RegistryError('ServerError', 'server', {
    problem: `${url.host} answered the login with HTTP ${status}`,
  });
}
