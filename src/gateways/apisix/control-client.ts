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

/** HTTP client for the Control API of data planes. */
export interface ControlClient {
  /**
   * `path` is relative to `/v1/`. Rejects with a `GatewayUnavailableError` that does not name the data plane, or with the
   * reason of the abort.
   */
  get(dataPlane: string, path: string, timeoutMs: number, signal: AbortSignal): Promise<ControlAnswer>;
  /** Like `get`, for a list. Passes each item as JSON to `take` while it arrives. The body is the list without its items. */
  list(
    dataPlane: string,
    path: string,
    timeoutMs: number,
    take: (item: Buffer) => void,
    signal: AbortSignal,
  ): Promise<ControlAnswer>;
  close(): void;
}

/** The operator sends one request at a time to each data plane. */
const CONNECTIONS_PER_DATA_PLANE = 1;
const CONNECT_TIMEOUT_MS = 2000;
const CORRECT_ADDRESSES = 'correct spec.apisix.controlApi';
const WRONG_ADDRESS =
  'check that spec.apisix.controlApi is the address of the Control API of APISIX (apisix.control.port, by default 9090)';
const READ_LOG = 'check the log of the data plane';

const unusable = ({ code }: { readonly code: string }) => `gave no usable answer (${code})`;
const tooLarge = () => 'sent an answer that is too large';

/** Shorter than the shared table, because the status repeats it for each data plane. Most failures have the same cause: a wrong address. */
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
    NotObjects: () => 'sent an answer that is not from the Control API of APISIX',
  },
  remedies: {
    NameUnknown: CORRECT_ADDRESSES,
    DnsUnavailable: CORRECT_ADDRESSES,
    ConnectionRefused:
      'set apisix.enable_control to true, and set apisix.control.ip (by default 127.0.0.1) to an address that the operator can reach',
    ConnectionClosed: WRONG_ADDRESS,
    ResponseTruncated: WRONG_ADDRESS,
    TlsRefused: WRONG_ADDRESS,
    CertificateExpired: WRONG_ADDRESS,
    CertificateUntrusted: WRONG_ADDRESS,
    TlsFailed: WRONG_ADDRESS,
    NotHttp: WRONG_ADDRESS,
    Unusable: WRONG_ADDRESS,
    ResponseTimeout: 'check the load of the data plane',
    ResponseTooLarge: WRONG_ADDRESS,
    ListTooLarge: WRONG_ADDRESS,
    NotJson: WRONG_ADDRESS,
    NotObjects: CORRECT_ADDRESSES,
  },
};

export function createControlClient(tls: TlsSettings): ControlClient {
  // serverName applies only to the certificate of the Admin API.
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
    throw new GatewayUnavailableError(
      `answered with a redirect (${status}), which the operator does not follow`,
      {
        remedy: WRONG_ADDRESS,
      },
    );
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

/** The answer is JSON, but not from the Control API of APISIX. */
export function notControlApi(): GatewayUnavailableError {
  return unavailable({ kind: 'NotObjects' });
}

function unavailable(failure: HttpFailure): GatewayUnavailableError {
  const { problem, remedy } = describeFailure(failure, WORDING);
  return new GatewayUnavailableError(problem, { remedy });
}
