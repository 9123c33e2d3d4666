import { createHttpClient, type HttpClient } from '../../runtime/http/client.ts';
import { describeFailure, type FailureWording, HttpError } from '../../runtime/http/failures.ts';
import type { RegistryOptions, SecretKeyRef } from '../registry.ts';
import { RegistryError } from './protocol.ts';
import type { RegistryTls } from './schema.ts';

const CONNECT_TIMEOUT_MS = 5_000;
const CERTIFICATE = /-----BEGIN CERTIFICATE-----/;

export interface RegistryHttpOptions {
  readonly registry: Pick<RegistryOptions<unknown>, 'secret'>;
  readonly tls: RegistryTls | undefined;
  readonly maxConnections: number;
}

/** HTTP clients of one registry. A new certificate authority needs no restart. */
export class RegistryHttp {
  readonly #options: RegistryHttpOptions;
  #client: { readonly ca: string | undefined; readonly http: HttpClient } | undefined;

  constructor(options: RegistryHttpOptions) {
    this.#options = options;
  }

  /** Throws `RegistryError` where a Secret is missing. */
  client(): HttpClient {
    const { tls, maxConnections } = this.#options;
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
      maxConnections,
      connectTimeoutMs: CONNECT_TIMEOUT_MS,
      userAgent: 'gateway-upstream-operator',
    });
    this.#client = { ca, http };
    return http;
  }

  /** Throws `RegistryError` where the Secret or its entry is missing, or the entry is empty. */
  secret(ref: SecretKeyRef): string {
    const found = this.#options.registry.secret(ref);
    if (!found.ok) throw new RegistryError('SecretMissing', 'registry', { problem: found.message });
    const value = found.value.trim();
    if (value !== '') return value;
    throw new RegistryError('SecretMissing', 'registry', {
      problem: `Secret ${ref.name} has an empty entry ${ref.key}`,
      remedy: 'store the value in it',
    });
  }

  close(): void {
    this.#client?.http.close();
    this.#client = undefined;
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
    problem: `${server.host} ${problem}`,
    remedy,
  });
}
