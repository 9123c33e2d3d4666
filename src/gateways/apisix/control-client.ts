import { OPERATOR } from '../../api/group.ts';
import { GatewayUnavailableError } from '../../model/errors.ts';
import type { TlsSettings } from '../../runtime/http/agents.ts';
import { createHttpClient } from '../../runtime/http/client.ts';
import {
  describeFailure,
  type FailureWording,
  HttpError,
  type HttpFailure,
} from '../../runtime/http/failures.ts';
import type { HttpResponse } from '../../runtime/http/messages.ts';

export interface ControlAnswer {
  readonly status: 200 | 404;
  readonly body: unknown;
}

/** The Control API of data planes, with one place where its answers become errors. */
export interface ControlClient {
  /**
   * `path` is below `/v1/`. Rejects with a `GatewayUnavailableError` that does not name the data plane, or the abort's
   * reason.
   */
  get(dataPlane: string, path: string, timeoutMs: number, signal: AbortSignal): Promise<ControlAnswer>;
  /** Like `get`, for a list: its items are given to `take` as JSON while they arrive, and the body is the list with none. */
  list(
    dataPlane: string,
    path: string,
    timeoutMs: number,
    take: (item: Buffer) => void,
    signal: AbortSignal,
  ): Promise<ControlAnswer>;
  close(): void;
}

/** Each data plane is asked one thing after the other. */
const CONNECTIONS_PER_DATA_PLANE = 1;
const CONNECT_TIMEOUT_MS = 2000;
const CORRECT_ADDRESSES = 'correct spec.apisix.controlApi';
const WRONG_ADDRESS =
  'check that spec.apisix.controlApi leads to the Control API of APISIX (apisix.control.port, by default 9090)';
const READ_LOG = 'look at its log';

const unusable = ({ code }: { readonly code: string }) => `gave no usable answer (${code})`;
const tooLarge = () => 'sent an answer that is too large';

/** Shorter than the table, because the status repeats it for each data plane. Most failures have one cause: a wrong address. */
const WORDING: FailureWording = {
  problems: {
    DnsUnavailable: () => 'has a host name that does not resolve',
    ConnectionClosed: unusable,
    ResponseTruncated: unusable,
    TlsRefused: unusable,
    CertificateExpired: unusable,
    CertificateUntrusted: unusable,
    TlsFailed: unusable,
    NotHttp: unusable,
    ConnectTimeout: () => 'did not accept a connection in time',
    ResponseTimeout: () => 'did not answer in time',
    ResponseTooLarge: tooLarge,
    ListTooLarge: tooLarge,
    NotObjects: () => 'answered in words that are not those of the Control API of APISIX',
  },
  remedies: {
    NameUnknown: CORRECT_ADDRESSES,
    DnsUnavailable: CORRECT_ADDRESSES,
    ConnectionRefused:
      'set apisix.enable_control to true, and apisix.control.ip, which is loopback by default, to an address that the operator can reach',
    ConnectionClosed: WRONG_ADDRESS,
    ResponseTruncated: WRONG_ADDRESS,
    TlsRefused: WRONG_ADDRESS,
    CertificateExpired: WRONG_ADDRESS,
    CertificateUntrusted: WRONG_ADDRESS,
    TlsFailed: WRONG_ADDRESS,
    NotHttp: WRONG_ADDRESS,
    Unusable: WRONG_ADDRESS,
    ResponseTimeout: 'check its load',
    ResponseTooLarge: WRONG_ADDRESS,
    ListTooLarge: WRONG_ADDRESS,
    NotJson: WRONG_ADDRESS,
    NotObjects: CORRECT_ADDRESSES,
  },
};

export function createControlClient(tls: TlsSettings): ControlClient {
  // The name is that of the Admin API's certificate.
  const { serverName: _, ...ofDataPlanes } = tls;
  const http = createHttpClient({
    tls: ofDataPlanes,
    maxConnections: CONNECTIONS_PER_DATA_PLANE,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    userAgent: OPERATOR,
  });
  const failed = (error: unknown) => {
    throw error instanceof HttpError ? unavailable(error.failure) : error;
  };

  return {
    async get(dataPlane, path, timeoutMs, signal) {
      const url = urlOf(dataPlane, path);
      return answerOf(await http.send({ method: 'GET', url, timeoutMs }, signal).catch(failed));
    },

    async list(dataPlane, path, timeoutMs, take, signal) {
      const url = urlOf(dataPlane, path);
      const response = await http.list({ url, timeoutMs, take }, signal).catch(failed);
      return 'text' in response ? answerOf(response) : { status: response.status, body: response.rest };
    },

    close: () => http.close(),
  };
}

function urlOf(dataPlane: string, path: string): URL {
  const url = new URL(dataPlane);
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/v1/${path}`;
  return url;
}

function answerOf({ status, text }: HttpResponse): ControlAnswer {
  if (status >= 300 && status < 400) {
    throw new GatewayUnavailableError(`answered ${status}, a redirect, which the operator does not follow`, {
      remedy: WRONG_ADDRESS,
    });
  }
  if (status !== 200 && status !== 404) {
    throw new GatewayUnavailableError(`answered ${status}`, {
      remedy: status < 500 ? WRONG_ADDRESS : READ_LOG,
    });
  }
  try {
    return { status, body: JSON.parse(text) as unknown };
  } catch {
    throw unavailable({ kind: 'NotJson', status });
  }
}

/** The answer is JSON that the Control API of APISIX does not give. */
export function foreignWords(): GatewayUnavailableError {
  return unavailable({ kind: 'NotObjects' });
}

function unavailable(failure: HttpFailure): GatewayUnavailableError {
  const { problem, remedy } = describeFailure(failure, WORDING);
  return new GatewayUnavailableError(problem, { remedy });
}
