import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import { jsonOf, urlBelow } from '../registry-source/http-client.ts';
import { RegistryError } from '../registry-source/protocol.ts';

const answer = z.object({ token: z.string().regex(/^[!-~]{1,4096}$/) });

/** After a server rejected a login, it is not asked to log in again for this long. */
const REJECTION_PAUSE_MS = 2_000;

export interface LoginRequest {
  readonly http: HttpClient;
  /** Base URL of the server. */
  readonly server: URL;
  readonly credentials: { readonly name: string; readonly password: string };
  readonly timeoutMs: number;
}

/** The login of one user at one server. */
interface Session {
  readonly key: string;
  token: string | undefined;
  underWay: Promise<string> | undefined;
  rejection: { readonly error: RegistryError; readonly untilMs: number } | undefined;
}

/** Keeps one token per server for all services. etcd does not tell when a token expires: it rejects the request. */
export class EtcdLogin {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();
  readonly #stop = new AbortController();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * A token other than `rejected`. Requests that come during a login share it. Rejects with `RegistryError`, or with the
   * signal's reason: then the login continues for the others.
   */
  async token(request: LoginRequest, rejected: string | undefined, signal: AbortSignal): Promise<string> {
    const session = this.#session(request);
    if (session.token !== undefined && session.token !== rejected) return session.token;
    return await orAborted(this.#renew(session, request), signal);
  }

  /** Ends logins that are under way. */
  close(): void {
    this.#stop.abort();
  }

  #session({ server, credentials }: LoginRequest): Session {
    const key = JSON.stringify([credentials.name, credentials.password]);
    const known = this.#sessions.get(server.href);
    if (known?.key === key) return known;
    const session: Session = { key, token: undefined, underWay: undefined, rejection: undefined };
    this.#sessions.set(server.href, session);
    return session;
  }

  async #renew(session: Session, request: LoginRequest): Promise<string> {
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

  async #login({ http, server, credentials, timeoutMs }: LoginRequest): Promise<string> {
    const url = urlBelow(server, '/v3/auth/authenticate');
    // No single query ends it: other queries wait for the same login.
    const { status, text } = await http.send(
      { method: 'POST', url, body: credentials, timeoutMs },
      this.#stop.signal,
    );
    if (status === 400 || status === 401) {
      throw new RegistryError('Unauthorized', 'registry', {
        problem: `etcd at ${server.host} rejected the login (${status})`,
        remedy:
          'correct the Secrets of etcd.usernameSecretRef and etcd.passwordSecretRef, or remove both if etcd has no authentication',
      });
    }
    if (status !== 200) {
      throw new RegistryError('ServerError', 'server', {
        problem: `${server.host} answered the login with HTTP ${status}`,
        remedy: 'check the log of etcd, and that its members have a leader',
      });
    }
    const parsed = answer.safeParse(jsonOf(text));
    if (parsed.success) return parsed.data.token;
    throw new RegistryError('InvalidAnswer', 'server', {
      problem: `${server.host} sent an invalid answer to the login`,
      remedy: 'check that the URL in servers is that of an etcd member',
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
