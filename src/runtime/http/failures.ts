/** A failure that is identified by an error code of Node.js or got. */
type CodedKind =
  | 'NameUnknown'
  | 'DnsUnavailable'
  | 'ConnectionRefused'
  | 'Unreachable'
  | 'ConnectionClosed'
  | 'ResponseTruncated'
  | 'TlsRefused'
  | 'CertificateExpired'
  | 'CertificateUntrusted'
  | 'TlsFailed'
  | 'NotHttp'
  | 'Unusable';

/** Why a request has no usable response. */
export type HttpFailure =
  | { [K in CodedKind]: { readonly kind: K; readonly code: string } }[CodedKind]
  /** `phase`: `lookup`, `connect` or `secureConnect`. */
  | { readonly kind: 'ConnectTimeout'; readonly ms: number; readonly phase: string }
  | { readonly kind: 'ResponseTimeout'; readonly ms: number }
  | { readonly kind: 'ResponseTooLarge'; readonly maxBytes: number }
  | { readonly kind: 'ListTooLarge'; readonly maxBytes: number }
  | { readonly kind: 'NotJson'; readonly status: number }
  | { readonly kind: 'NotObjects' };

type Kind = HttpFailure['kind'];
type FailureOf<K extends Kind> = Extract<HttpFailure, { readonly kind: K }>;
type Problem<K extends Kind> = (failure: FailureOf<K>) => string;

/**
 * A request without a usable response. It does not keep the error of Node.js or got, which contains headers and bodies, and
 * so keys.
 */
export class HttpError extends Error {
  override readonly name = 'HttpError';
  readonly failure: HttpFailure;

  constructor(failure: HttpFailure) {
    super(`the request failed: ${failure.kind}`);
    this.failure = failure;
  }
}

/**
 * The description of each failure, with the server as the subject of the sentence, and the remedy if it is the same for
 * every server.
 */
const FAILURES = {
  NameUnknown: { problem: () => 'has a host name that does not resolve' },
  DnsUnavailable: {
    problem: () => 'has a host name that cannot be resolved at the moment',
    remedy: 'check the cluster DNS',
  },
  ConnectionRefused: {
    problem: () => 'refused the connection',
    remedy: 'check that the server runs and that the port is correct',
  },
  Unreachable: {
    problem: () => 'cannot be reached',
    remedy: 'check the route to it and the NetworkPolicies in between',
  },
  ConnectionClosed: { problem: () => 'closed the connection without an answer' },
  ResponseTruncated: { problem: () => 'closed the connection in the middle of its answer' },
  TlsRefused: { problem: ({ code }) => `rejected the TLS handshake (${code})` },
  CertificateExpired: { problem: () => 'has a certificate that has expired' },
  CertificateUntrusted: { problem: ({ code }) => `has a certificate that is not trusted (${code})` },
  TlsFailed: { problem: ({ code }) => `failed to speak TLS (${code})` },
  NotHttp: { problem: ({ code }) => `gave an answer that is not HTTP (${code})` },
  Unusable: { problem: ({ code }) => `gave no usable answer (${code})` },
  ConnectTimeout: {
    problem: ({ ms, phase }) => `did not accept a connection within ${ms} ms (${phase})`,
    remedy: 'check its address and the NetworkPolicies in between',
  },
  ResponseTimeout: { problem: ({ ms }) => `did not answer within ${ms} ms` },
  ResponseTooLarge: { problem: ({ maxBytes }) => `sent an answer larger than ${mebibytes(maxBytes)}` },
  ListTooLarge: { problem: ({ maxBytes }) => `lists more than ${mebibytes(maxBytes)}` },
  NotJson: { problem: ({ status }) => `answered ${status} without JSON` },
  NotObjects: { problem: () => 'answered with an invalid list' },
} satisfies { readonly [K in Kind]: { readonly problem: Problem<K>; readonly remedy?: string } };

type KindWithRemedy = {
  [K in Kind]: (typeof FAILURES)[K] extends { readonly remedy: string } ? K : never;
}[Kind];

/** What a particular API adds: remedies that depend on its configuration, and its own descriptions of problems. */
export interface FailureWording {
  readonly remedies: Readonly<Record<Exclude<Kind, KindWithRemedy>, string>> &
    Readonly<Partial<Record<KindWithRemedy, string>>>;
  readonly problems?: { readonly [K in Kind]?: Problem<K> };
}

/** `problem` has no subject. The caller adds the server. */
export function describeFailure(
  failure: HttpFailure,
  { remedies, problems = {} }: FailureWording,
): { readonly problem: string; readonly remedy: string | undefined } {
  const { kind } = failure;
  const row: { readonly problem: unknown; readonly remedy?: string } = FAILURES[kind];
  // Each kind has a function for its own failures.
  const problem = (problems[kind] ?? row.problem) as (failure: HttpFailure) => string;
  return { problem: problem(failure), remedy: remedies[kind] ?? row.remedy };
}

const KINDS: Readonly<Record<string, CodedKind>> = {
  ENOTFOUND: 'NameUnknown',
  EAI_AGAIN: 'DnsUnavailable',
  ECONNREFUSED: 'ConnectionRefused',
  EHOSTUNREACH: 'Unreachable',
  ENETUNREACH: 'Unreachable',
  ETIMEDOUT: 'Unreachable',
  ECONNRESET: 'ConnectionClosed',
  EPIPE: 'ConnectionClosed',
  CERT_HAS_EXPIRED: 'CertificateExpired',
};

/** Patterns for the codes of OpenSSL, Node.js and the HTTP parser, which are too many to list. The first match counts. */
const PATTERNS: readonly (readonly [RegExp, CodedKind])[] = [
  [/ALERT/, 'TlsRefused'],
  [/CERT|SELF_SIGNED|ISSUER|VERIFY|ALTNAME/, 'CertificateUntrusted'],
  [/SSL|TLS|EPROTO/, 'TlsFailed'],
  [/^HPE_/, 'NotHttp'],
];

/** The failure for an error code of Node.js or got. */
export function failureOfCode(code: string): HttpFailure {
  const kind = KINDS[code] ?? PATTERNS.find(([pattern]) => pattern.test(code))?.[1] ?? 'Unusable';
  return { kind, code };
}

function mebibytes(bytes: number): string {
  return `${bytes / (1024 * 1024)} MiB`;
}
