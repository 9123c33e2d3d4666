import { z } from 'zod';
import { shorten } from '../../decide/status.ts';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  ListTooLargeError,
  type OperatorError,
  UpstreamInUseError,
} from '../../model/errors.ts';
import { describeFailure, type FailureWording, type HttpFailure } from '../../runtime/http/failures.ts';
import type { HttpResponse } from '../../runtime/http/messages.ts';
import { retryAfterMs } from '../../runtime/http/retry-after.ts';

export type ApisixMethod = 'GET' | 'PUT' | 'PATCH' | 'DELETE';

/** APISIX 3.18, measured. */
const OVERTAKEN = 'value changed before overwritten';
const MAX_REASON_LENGTH = 512;
const CORRECT_URL = 'correct spec.apisix.adminUrl';
const EXPECT_ADMIN_API = 'check that spec.apisix.adminUrl is the address of the Admin API of APISIX';
const READ_LOG = 'check the log of the gateway';

const WORDING: FailureWording = {
  problems: {
    ListTooLarge: ({ maxBytes }) =>
      `has more than ${maxBytes / (1024 * 1024)} MiB of upstreams, which exceeds the limit of the operator`,
  },
  remedies: {
    NameUnknown: CORRECT_URL,
    ConnectionClosed: 'check the port, and whether spec.apisix.adminUrl must start with https://',
    ResponseTruncated: READ_LOG,
    TlsRefused:
      'if the gateway requires a client certificate, set spec.apisix.tls.clientCertificateSecretRef',
    CertificateExpired: 'renew the certificate, or the certificate authority in spec.apisix.tls.caSecretRef',
    CertificateUntrusted:
      'set caSecretRef to the CA of the gateway, or serverName to a name in its certificate, in spec.apisix.tls of the GatewayConnection',
    TlsFailed: 'check that the gateway uses TLS on this port, or use http:// in spec.apisix.adminUrl',
    NotHttp: CORRECT_URL,
    Unusable: READ_LOG,
    ResponseTimeout:
      'check the load of the gateway, or increase requestTimeout in the configuration of the operator',
    ResponseTooLarge: EXPECT_ADMIN_API,
    ListTooLarge: 'delete unused upstreams, or distribute the upstreams over several gateways',
    NotJson: EXPECT_ADMIN_API,
    NotObjects: EXPECT_ADMIN_API,
  },
};

const TLS_WORDING: FailureWording = {
  ...WORDING,
  remedies: {
    ...WORDING.remedies,
    ConnectionClosed:
      'check the port, and whether the gateway accepts the client certificate of spec.apisix.tls.clientCertificateSecretRef',
  },
};

/** The error for a request to the Admin API that got no usable response. */
export function adminUnavailable(failure: HttpFailure, base: URL): GatewayUnavailableError {
  if (failure.kind === 'NotObjects') return noList();
  const wording = base.protocol === 'https:' ? TLS_WORDING : WORDING;
  const { problem, remedy } = describeFailure(failure, wording);
  const where = base.origin;
  const sentence =
    failure.kind === 'TlsFailed' ? `TLS with ${where} failed (${failure.code})` : `${where} ${problem}`;
  return failure.kind === 'ListTooLarge'
    ? new ListTooLargeError(sentence, { remedy })
    : new GatewayUnavailableError(sentence, { remedy });
}

export function noList(): GatewayUnavailableError {
  const { problem, remedy } = describeFailure({ kind: 'NotObjects' }, WORDING);
  return new GatewayUnavailableError(`the gateway ${problem}`, { remedy });
}

const words = z.string().optional().catch(undefined);
const refusalBody = z.object({ error_msg: words, message: words, description: words });

/** A response with a status that the caller does not expect. */
interface Refusal {
  readonly method: ApisixMethod;
  readonly status: number;
  readonly text: string;
  /** The origin of the Admin API. */
  readonly where: string;
  /** Undefined: the body is not a JSON object. */
  readonly body: z.infer<typeof refusalBody> | undefined;
  /** The reason that the gateway gives. */
  readonly given: string;
  /** Prepares text of the gateway for a condition: one line, bounded, without the key. */
  readonly clean: (text: string) => string;
}

/** The error for a response with a status that the caller does not expect. */
export function adminRefusal(
  method: ApisixMethod,
  { status, headers, text }: HttpResponse,
  parsed: unknown,
  { base, key }: { readonly base: URL; readonly key: string },
): OperatorError {
  const { data: body } = refusalBody.safeParse(parsed);
  // A server that is not the gateway may echo the request, and with it the key.
  const clean = (words: string) => oneLine(words.replaceAll(key, '[redacted]'));
  const given = body?.error_msg ?? body?.message ?? 'no reason given';
  const where = base.origin;
  const refusal: Refusal = { method, status, text, where, body, given, clean };
  const known = notAllowed(refusal) ?? anotherServer(refusal) ?? rejection(refusal);
  if (known !== undefined) return known;
  // APISIX uses compare-and-set: another client wrote the same upstream in between.
  if (status === 503 && given === OVERTAKEN) {
    return new GatewayUnavailableError(
      'Another client changed the upstream in the gateway at the same time. The operator retries the write',
    );
  }
  const pause = retryAfterMs(headers['retry-after']);
  return body === undefined
    ? new GatewayUnavailableError(`${where} answered ${status} without JSON`, {
        remedy: status < 500 ? EXPECT_ADMIN_API : READ_LOG,
        retryAfterMs: pause,
      })
    : new GatewayUnavailableError(`${where} answered ${status} (${clean(given)})`, {
        remedy: READ_LOG,
        retryAfterMs: pause,
      });
}

/** The gateway rejects the key or the address of the operator. */
function notAllowed({ method, status, where, body, given, clean }: Refusal): GatewayAuthError | undefined {
  if (status === 401) {
    const why = body?.description ?? given;
    const problem = `The gateway rejected the admin key (401, ${clean(why)})`;
    return why.includes('role viewer')
      ? new GatewayAuthError(`${problem}, which is read-only`, {
          remedy: 'use a key with role admin',
          status,
        })
      : new GatewayAuthError(problem, {
          remedy: 'correct the key in the Secret of spec.apisix.adminKeySecretRef in the GatewayConnection',
          status,
        });
  }
  if (status !== 403) return undefined;
  // APISIX checks allow_admin before the method: an address that may read may also write.
  return method === 'GET'
    ? new GatewayAuthError('The gateway rejected the address of the operator (403)', {
        remedy: 'add it to deployment.admin.allow_admin in the configuration of APISIX',
        status,
      })
    : new GatewayAuthError(`${where} rejected the ${method} request (403)`, {
        remedy:
          'allow GET, PUT, PATCH and DELETE requests from the operator in the proxy or firewall in front of the Admin API',
        status,
      });
}

/** The server at the URL is not the Admin API. */
function anotherServer({ status, text, where }: Refusal): GatewayUnavailableError | undefined {
  if (status >= 300 && status < 400) {
    return new GatewayUnavailableError(
      `${where} answered with a redirect (${status}), which the operator does not follow, because the request contains the admin key`,
      { remedy: CORRECT_URL },
    );
  }
  if (status === 404) {
    return new GatewayUnavailableError(
      `${where} answered 404, so it is not the Admin API of APISIX on etcd`,
      { remedy: CORRECT_URL },
    );
  }
  if (status === 400 && text.includes('plain HTTP request was sent to HTTPS port')) {
    return new GatewayUnavailableError(`${where} requires TLS`, {
      remedy: 'use https:// in spec.apisix.adminUrl',
    });
  }
  return undefined;
}

/** The gateway rejects the object. A read sends none. */
function rejection({ method, status, body, given, clean }: Refusal): OperatorError | undefined {
  if (method === 'GET') return undefined;
  const reason = clean(given);
  if (status === 413) {
    return new GatewayRejectedError(
      `The gateway rejected the upstream because it is too large (413, ${reason})`,
      {
        remedy: 'remove backends, labels or overrides, or increase the size limit of the gateway',
      },
    );
  }
  if (body === undefined) return undefined;
  if (method === 'DELETE' && status === 400 && given.startsWith('can not delete')) {
    return new UpstreamInUseError(reason);
  }
  if (status !== 400 && status !== 422) return undefined;
  return new GatewayRejectedError(`The gateway rejected the upstream (${status}, ${reason})`, {
    remedy: 'correct the spec',
  });
}

/** Text from outside as it may appear in a condition: one line, bounded. */
function oneLine(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Cf}\s]+/gu, ' ').trim();
  return shorten(line, MAX_REASON_LENGTH).toWellFormed();
}
