import { describe, expect, it } from 'vitest';
import {
  describeFailure,
  type FailureWording,
  failureOfCode,
  type HttpFailure,
} from '../../../../src/runtime/http/failures.ts';

describe('failureOfCode', () => {
  it.each([
    ['ENOTFOUND', 'NameUnknown'],
    ['EAI_AGAIN', 'DnsUnavailable'],
    ['ECONNREFUSED', 'ConnectionRefused'],
    ['EHOSTUNREACH', 'Unreachable'],
    ['ENETUNREACH', 'Unreachable'],
    ['ETIMEDOUT', 'Unreachable'],
    ['ECONNRESET', 'ConnectionClosed'],
    ['EPIPE', 'ConnectionClosed'],
    ['CERT_HAS_EXPIRED', 'CertificateExpired'],
    ['CERT_NOT_YET_VALID', 'CertificateUntrusted'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', 'CertificateUntrusted'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'CertificateUntrusted'],
    ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'CertificateUntrusted'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', 'CertificateUntrusted'],
    ['ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', 'TlsRefused'],
    ['ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED', 'TlsRefused'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', 'TlsFailed'],
    ['EPROTO', 'TlsFailed'],
    ['HPE_INVALID_CONSTANT', 'NotHttp'],
    ['HPE_HEADER_OVERFLOW', 'NotHttp'],
    ['Z_DATA_ERROR', 'Unusable'],
    ['no code', 'Unusable'],
  ])('maps %s to %s', (code, kind) => {
    expect(failureOfCode(code)).toEqual({ kind, code });
  });
});

describe('describeFailure', () => {
  const own = 'do what this API needs';
  const remedies: FailureWording['remedies'] = {
    NameUnknown: own,
    ConnectionClosed: own,
    ResponseTruncated: own,
    TlsRefused: own,
    CertificateExpired: own,
    CertificateUntrusted: own,
    TlsFailed: own,
    NotHttp: own,
    Unusable: own,
    ResponseTimeout: own,
    ResponseTooLarge: own,
    ListTooLarge: own,
    NotJson: own,
    NotObjects: own,
  };

  it.each<[HttpFailure, string]>([
    [{ kind: 'NameUnknown', code: 'ENOTFOUND' }, 'has a host name that does not resolve'],
    [{ kind: 'CertificateExpired', code: 'CERT_HAS_EXPIRED' }, 'has a certificate that has expired'],
    [{ kind: 'TlsFailed', code: 'EPROTO' }, 'failed to speak TLS (EPROTO)'],
    [{ kind: 'ResponseTimeout', ms: 250 }, 'did not answer within 250 ms'],
    [{ kind: 'ResponseTooLarge', maxBytes: 16 * 1024 * 1024 }, 'sent an answer larger than 16 MiB'],
    [{ kind: 'ListTooLarge', maxBytes: 48 * 1024 * 1024 }, 'lists more than 48 MiB'],
    [{ kind: 'NotJson', status: 200 }, 'answered 200 without JSON'],
  ])('returns the general problem and the remedy of the API for %o', (failure, problem) => {
    expect(describeFailure(failure, { remedies })).toEqual({ problem, remedy: own });
  });

  it('returns the general remedy unless the API has its own', () => {
    const refused: HttpFailure = { kind: 'ConnectionRefused', code: 'ECONNREFUSED' };
    expect(describeFailure(refused, { remedies }).remedy).toBe(
      'check that the server runs and that the port is correct',
    );
    const wording = { remedies: { ...remedies, ConnectionRefused: own } };
    expect(describeFailure(refused, wording).remedy).toBe(own);
  });

  it('returns the problem of the API if it has its own', () => {
    const wording: FailureWording = {
      remedies,
      problems: { ConnectTimeout: ({ ms, phase }) => `took more than ${ms} ms for ${phase}` },
    };
    const failure: HttpFailure = { kind: 'ConnectTimeout', ms: 100, phase: 'lookup' };
    expect(describeFailure(failure, wording)).toEqual({
      problem: 'took more than 100 ms for lookup',
      remedy: 'check its address and the NetworkPolicies in between',
    });
  });
});
