import { createHttpClient, type HttpClient } from '../../runtime/http/client.ts';
import { describeFailure, type FailureWording, HttpError } from '../../runtime/http/failures.ts';
import { parseJson } from '../../runtime/http/item-scanner.ts';
import { createRateLimit, type RateLimit } from '../../runtime/rate-limit.ts';
import type { RegistryLimits, RegistryObserver, RegistryOptions, SecretKeyRef } from '../registry.ts';
import { RegistryError } from './protocol.ts';
import type { RegistryTls } from './schema.ts';
import { type Credentials, credentialsOf, secretValue, type UserRefs } from './user.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----/;
const HEADER_VALUE = /^[!-~]+$/;

export interface RegistryHttpOptions {
  readonly registry: Pick<RegistryOptions<unknown>, 'secret'>;
  readonly tls: RegistryTls | undefined;
  readonly limits: Pick<RegistryLimits, 'concurrentQueries' | 'requestsPerSecond'>;
  /** Absent for a single probe. */
  readonly observer?: Pick<RegistryObserver, 'requested'> | undefined;
}

/** HTTP clients of one registry. A new certificate authority needs no restart. Each request counts, also that of a login. */
export class RegistryHttp {
  readonly #options: RegistryHttpOptions;
  readonly #limitRate: RateLimit;
  #client: { readonly ca: string | undefined; readonly http: HttpClient } | undefined;

  constructor(options: RegistryHttpOptions) {
    this.#options = options;
    this.#limitRate = createRateLimit(options.limits.requestsPerSecond);
  }

  /**
   * Throws `RegistryError` where a Secret is missing. The requests of the client reject with `RegistryError`, with the signal's
   * reason, or with what `take` throws.
   */
  client(): HttpClient {
    const { tls, limits } = this.#options;
    const ca = tls?.caSecretRef === undefined ? undefined : this.secret(tls.caSecretRef);
    if (this.#client !== undefined && this.#client.ca === ca) return this.#client.http;
    if (ca !== undefined && !CERTIFICATE.test(ca)) {
      throw new RegistryError('SecretMissing', 'registry', {
        problem: `Secret ${tls?.caSecretRef?.name} contains no PEM certificate`,
        remedy: 'store the certificate of the authority in it',
      });
    }
    this.close();
    const { serverName, insecureSkipVerify = false } = tls ?? {};
    const http = createHttpClient({
      tls: {
        insecureSkipVerify,
        ...(ca === undefined ? {} : { ca }),
        ...(serverName === undefined ? {} : { serverName }),
      },
      // The query that finds out whether the registry answers waits for no other.
      maxConnections: limits.concurrentQueries + 1,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      userAgent: 'gateway-upstream-operator',
    });
    const limited = this.#limited(http);
    this.#client = { ca, http: limited };
    return limited;
  }

  /** Throws `RegistryError` where the Secret or its entry is missing, or the entry is empty. */
  secret(ref: SecretKeyRef): string {
    return secretValue(this.#options.registry.secret, ref);
  }

  /** Undefined: requests are anonymous. Throws like `secret`. */
  credentials(user: UserRefs): Credentials | undefined {
    return credentialsOf(user, (ref) => this.secret(ref));
  }

  /** A secret that is sent as a header, in which only visible ASCII characters can be. */
  headerSecret(ref: SecretKeyRef): string {
    const value = this.secret(ref);
    if (HEADER_VALUE.test(value)) return value;
    throw new RegistryError('SecretMissing', 'registry', {
      problem: `Secret ${ref.name} has an entry ${ref.key} that contains spaces, line breaks or characters outside ASCII`,
      remedy: 'store only the token in it',
    });
  }

  close(): void {
    this.#client?.http.close();
    this.#client = undefined;
  }

  #limited(http: HttpClient): HttpClient {
    const { observer } = this.#options;
    const limited = async <T>(url: URL, send: () => Promise<T>, signal: AbortSignal) => {
      try {
        return await this.#limitRate(() => {
          observer?.requested();
          return send();
        }, signal);
      } catch (error) {
        throw signal.aborted ? (signal.reason as Error) : registryErrorOf(error, url);
      }
    };
    return {
      send: (request, signal) => limited(request.url, () => http.send(request, signal), signal),
      list: (request, signal) => limited(request.url, () => http.list(request, signal), signal),
      lines: (request, signal) => limited(request.url, () => http.lines(request, signal), signal),
      close: () => http.close(),
    };
  }
}

/** The URL of a path below the base URL of a server. */
export function urlBelow(server: URL, path: string): URL {
  const url = new URL(server);
  url.pathname = `${url.pathname.replace(/\/$/, '')}${path}`;
  return url;
}

/** Undefined for what is not JSON. */
export function jsonOf(text: string): unknown {
  try {
    return parseJson(Buffer.from(text));
  } catch {
    return undefined;
  }
}

const WORDING: FailureWording = {
  remedies: {
    NameUnknown: 'correct the URL in servers',
    ConnectionClosed: 'check that the URL in servers is that of the registry, http or https',
    ResponseTruncated: 'check the registry and proxies in front of it',
    TlsRefused: 'check the TLS settings of the registry',
    CertificateExpired: 'renew the certificate',
    CertificateUntrusted: 'set tls.caSecretRef or tls.serverName',
    TlsFailed: 'check that the URL in servers uses the right scheme, http or https',
    NotHttp: 'check that the URL in servers is that of the registry, http or https',
    Unusable: 'check the URL in servers',
    ResponseTimeout: 'check the registry, or raise requestTimeout',
    ResponseTooLarge: 'register fewer instances under this service',
    ListTooLarge: 'register fewer instances under this service',
    NotJson: 'check that the URL in servers is that of the registry, not that of a web page in front of it',
    NotObjects: 'check that the URL in servers is that of the registry',
  },
};

/** What an `HttpError` means for a registry; any other error is returned as it is. */
export function registryErrorOf(error: unknown, server: URL): unknown {
  if (!(error instanceof HttpError)) return error;
  const { kind } = error.failure;
  const { problem, remedy } = describeFailure(error.failure, WORDING);
  // Every server would send the same instances. Another server must not be tried for them: one tenant could move all others.
  const isTooLarge = kind === 'ListTooLarge' || kind === 'ResponseTooLarge';
  const isContent = isTooLarge || kind === 'NotJson' || kind === 'NotObjects';
  return new RegistryError(isContent ? 'InvalidAnswer' : 'Unreachable', isTooLarge ? 'service' : 'server', {
    // The status of tenants shows it, who need not know the servers.
    problem: `${isTooLarge ? 'the registry' : server.host} ${problem}`,
    remedy,
  });
}
