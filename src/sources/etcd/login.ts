import { z } from 'zod';
import type { Clock } from '../../runtime/clock.ts';
import { HttpError } from '../../runtime/http/failures.ts';
import { jsonOf, registryErrorOf } from '../registry-source/http-client.ts';
import { type LoginRequest, Logins, type Token } from '../registry-source/logins.ts';
import { RegistryError } from '../registry-source/protocol.ts';

const answer = z.object({ token: z.string().regex(/^[!-~]{1,4096}$/) });

/** A server that rejects every token is asked for one at most this often. */
const NEW_TOKEN_MS = 1_000;

/** Tokens of etcd. Their life is a setting of the server that it does not report: it rejects a request whose token has expired. */
export function etcdLogins(clock: Clock): Logins<Token> {
  return new Logins({
    clock,
    login: (request, signal) => logIn(request, clock, signal),
    newTokenMs: NEW_TOKEN_MS,
  });
}

/** What to do about an HTTP status that etcd answers with. */
export function remedyOf(status: number): string {
  return status === 404
    ? 'check that the URL in servers is that of an etcd member, version 3.4 or later, and that --enable-grpc-gateway is not false'
    : 'check the log of etcd, and that its members have a leader';
}

async function logIn(
  { http, url, credentials, timeoutMs }: LoginRequest,
  clock: Clock,
  signal: AbortSignal,
): Promise<Token> {
  const { username: name, password } = credentials;
  const body = { name, password };
  const { status, text } = await http.send({ method: 'POST', url, body, timeoutMs }, signal);
  if (status === 400 || status === 401) {
    throw new RegistryError('Unauthorized', 'registry', {
      problem: `etcd at ${url.host} rejected the login (${status})`,
      remedy:
        'correct the Secrets of etcd.usernameSecretRef and etcd.passwordSecretRef, or remove both if etcd has no authentication',
    });
  }
  if (status !== 200) {
    throw new RegistryError('ServerError', 'server', {
      problem: `${url.host} answered the login with HTTP ${status}`,
      remedy: remedyOf(status),
    });
  }
  const json = jsonOf(text);
  if (json === undefined) throw registryErrorOf(new HttpError({ kind: 'NotJson', status }), url);
  const { data } = answer.safeParse(json);
  if (data !== undefined) return { value: data.token, sinceMs: clock.monotonic() };
  throw new RegistryError('InvalidAnswer', 'server', {
    problem: `${url.host} sent an invalid answer to the login`,
    remedy: 'check that the URL in servers is that of an etcd member',
  });
}
