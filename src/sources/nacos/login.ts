import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import { HttpError } from '../../runtime/http/failures.ts';
import { jsonOf, registryErrorOf } from '../registry-source/http-client.ts';
import { type LoginRequest, Logins, type Token } from '../registry-source/logins.ts';
import { RegistryError } from '../registry-source/protocol.ts';
import { ApiMissingError, isMissingApi } from './api-missing.ts';

const answer = z.object({ accessToken: z.string().min(1), tokenTtl: z.number().positive() });

/** A token is renewed after this part of its life. */
const RENEW_AFTER = 0.8;
/** Nacos signs tokens for hours. A shorter life must not make every request log in. */
const SHORTEST_LIFE_MS = 1_000;
/** A token that is rejected so soon lacks the permission: another one would not help. */
const NEW_TOKEN_MS = 10_000;

interface TimedToken extends Token {
  readonly renewAtMs: number;
  readonly expiresAtMs: number;
}

/** Keeps one access token per server for all services, and logs in again before it expires. */
export class Login {
  readonly #clock: Clock;
  readonly #logins: Logins<TimedToken>;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#logins = new Logins({
      clock,
      login: (request, signal) => logIn(request, clock, signal),
      newTokenMs: NEW_TOKEN_MS,
    });
  }

  /**
   * Requests that come during a login share it. Rejects with `RegistryError` or `ApiMissingError`, or with the signal's reason:
   * then the login continues for the others.
   */
  async token(request: LoginRequest, signal: AbortSignal): Promise<string> {
    const last = this.#logins.last(request);
    const now = this.#clock.monotonic();
    const valid = last !== undefined && now < last.expiresAtMs ? last : undefined;
    if (valid === undefined) return (await this.#logins.renew(request, signal)).value;
    // Until the old token expires, requests wait for no renewal, and outlive one that fails.
    if (now >= valid.renewAtMs) this.#logins.renew(request, signal).catch(() => undefined);
    return valid.value;
  }

  /** Another token after the server rejected `rejected`; undefined if none would help. */
  async tokenAfter(
    rejected: string,
    request: LoginRequest,
    signal: AbortSignal,
  ): Promise<string | undefined> {
    return (await this.#logins.after(rejected, request, signal))?.value;
  }

  /** Ends logins that are under way. */
  close(): void {
    this.#logins.close();
  }
}

async function logIn(
  { http, url, credentials, timeoutMs }: LoginRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<TimedToken> {
  const { username, password } = credentials;
  const form = new URLSearchParams({ username, password });
  const { status, text } = await http.send({ method: 'POST', url, body: form, timeoutMs }, signal);
  if (isMissingApi(status)) throw new ApiMissingError();
  if (status !== 200) throw rejectedLogin(status, url);
  const body = jsonOf(text);
  if (body === undefined) throw registryErrorOf(new HttpError({ kind: 'NotJson', status }), url);
  const parsed = answer.safeParse(body);
  if (parsed.success) return tokenOf(parsed.data, clock.monotonic());
  throw new RegistryError('InvalidAnswer', 'server', {
    problem: `${url.host} sent an invalid answer to the login`,
    remedy: 'check that the URL in servers is that of a Nacos server with its own users',
  });
}

function tokenOf({ accessToken, tokenTtl }: z.output<typeof answer>, now: number): TimedToken {
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
