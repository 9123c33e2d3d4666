import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import type { HttpClient } from '../../runtime/http/client.ts';
import { registryErrorOf } from '../registry-source/http-client.ts';
import { RegistryError } from '../registry-source/protocol.ts';

const answer = z.object({ accessToken: z.string().min(1), tokenTtl: z.number().positive() });

/** A token is renewed after this part of its life. */
const RENEW_AFTER = 0.8;
/** Nacos signs tokens for hours. A shorter life must not make every request log in. */
const SHORTEST_LIFE_MS = 1_000;

export interface Credentials {
  readonly username: string;
  readonly password: string;
}

interface Session {
  readonly key: string;
  readonly token: Promise<string>;
  renewAtMs: number;
}

/** Keeps one access token per server, and logs in again before it expires. */
export class Login {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Requests that come during a login share it. Rejects with `RegistryError`. */
  async token(http: HttpClient, url: URL, credentials: Credentials, timeoutMs: number): Promise<string> {
    const key = JSON.stringify(credentials);
    const known = this.#sessions.get(url.href);
    if (known?.key === key && this.#clock.monotonic() < known.renewAtMs) return await known.token;
    const session: Session = {
      key,
      renewAtMs: Number.POSITIVE_INFINITY,
      token: this.#login(http, url, credentials, timeoutMs).then(({ accessToken, tokenTtl }) => {
        const lifeMs = Math.max(SHORTEST_LIFE_MS, tokenTtl * 1000 * RENEW_AFTER);
        session.renewAtMs = this.#clock.monotonic() + lifeMs;
        return accessToken;
      }),
    };
    this.#sessions.set(url.href, session);
    try {
      return await session.token;
    } catch (error) {
      this.forget(url);
      throw error;
    }
  }

  /** The server rejected the token: the next request logs in again. */
  forget(url: URL): void {
    this.#sessions.delete(url.href);
  }

  async #login(http: HttpClient, url: URL, credentials: Credentials, timeoutMs: number) {
    const body = new URLSearchParams({ ...credentials });
    // Of no single query: other queries wait for the same login.
    const never = new AbortController().signal;
    const response = await http
      .send({ method: 'POST', url, body, timeoutMs }, never)
      .catch((error: unknown) => {
        throw registryErrorOf(error, url);
      });
    const parsed = response.status === 200 ? answer.safeParse(jsonOf(response.text)) : undefined;
    if (parsed?.success === true) return parsed.data;
    // A wrong password is answered with status 500.
    const isRejected = [400, 401, 403, 500].includes(response.status);
    throw new RegistryError(isRejected ? 'Unauthorized' : 'ServerError', isRejected ? 'registry' : 'server', {
      problem: `Nacos at ${url.host} rejected the login (${response.status})`,
      remedy:
        'correct user name and password in the Secrets of nacos.usernameSecretRef and nacos.passwordSecretRef',
    });
  }
}

export function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
