import { describe, expect, it } from 'vitest';
import type { GatewayUpstreamSpec } from '../../../src/api/gateway-upstream.ts';
import { trafficOf } from '../../../src/decide/traffic.ts';
import { gatewayUpstreamSpec } from '../../support/catalog.ts';

type Traffic = ReturnType<typeof trafficOf>;

const backends = [{ serviceRef: { name: 'web', port: 80 } }];
const specOf = (fields: object): GatewayUpstreamSpec => gatewayUpstreamSpec.parse({ backends, ...fields });

const DEFAULTS: Traffic = { scheme: 'HTTP', loadBalancing: { type: 'RoundRobin' } };
const ACTIVE = {
  type: 'HTTP',
  timeoutMs: 1000,
  concurrency: 10,
  method: 'GET',
  path: '/',
  body: '',
  verifyCertificate: true,
  healthy: { intervalSeconds: 1, statuses: [200, 302], successes: 2 },
  unhealthy: {
    intervalSeconds: 1,
    statuses: [429, 404, 500, 501, 502, 503, 504, 505],
    httpFailures: 5,
    tcpFailures: 2,
    timeouts: 3,
  },
} as const;

describe('trafficOf', () => {
  it.each<[string, object, Partial<Traffic>]>([
    ['an empty spec', {}, {}],
    ['scheme', { scheme: 'GRPCS' }, { scheme: 'GRPCS' }],
    ['the default of loadBalancing', { loadBalancing: {} }, {}],
    ['EWMA', { loadBalancing: { type: 'EWMA' } }, { loadBalancing: { type: 'EWMA' } }],
    [
      'ConsistentHash on a variable by default',
      { loadBalancing: { type: 'ConsistentHash', key: 'uri' } },
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'uri' } },
    ],
    [
      'ConsistentHash without key',
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Consumer' } },
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Consumer' } },
    ],
    ['hostHeader Pass as an absent setting', { hostHeader: {} }, {}],
    ['hostHeader Node', { hostHeader: { type: 'Node' } }, { hostHeader: { type: 'Node' } }],
    [
      'hostHeader Rewrite',
      { hostHeader: { type: 'Rewrite', value: 'a.example' } },
      { hostHeader: { type: 'Rewrite', value: 'a.example' } },
    ],
    [
      'timeouts in milliseconds, with a default of 60 s',
      { timeouts: { read: '1m30.5s' } },
      { timeouts: { connectMs: 60_000, sendMs: 60_000, readMs: 90_500 } },
    ],
    ['retries of 0', { retries: 0 }, { retries: 0 }],
    ['retryTimeout of 0', { retryTimeout: '0s' }, { retryTimeoutMs: 0 }],
    [
      'the defaults of keepalive',
      { keepalive: {} },
      { keepalive: { size: 320, idleTimeoutMs: 60_000, requests: 1000 } },
    ],
    ['the defaults of an active check', { healthCheck: { active: {} } }, { healthCheck: { active: ACTIVE } }],
    [
      'an active check with the fields without defaults',
      {
        healthCheck: {
          active: { host: 'a.example', port: 81, headers: ['A: b'], healthy: { interval: '1m30s' } },
        },
      },
      {
        healthCheck: {
          active: {
            ...ACTIVE,
            host: 'a.example',
            port: 81,
            headers: ['A: b'],
            healthy: { ...ACTIVE.healthy, intervalSeconds: 90 },
          },
        },
      },
    ],
    [
      'a passive check, in which 0 disables a counter',
      { healthCheck: { active: {}, passive: { healthy: { successes: 0 }, unhealthy: { statuses: [500] } } } },
      {
        healthCheck: {
          active: ACTIVE,
          passive: {
            type: 'HTTP',
            healthy: { statuses: expect.arrayContaining([200, 308]), successes: 0 },
            unhealthy: { statuses: [500], httpFailures: 5, tcpFailures: 2, timeouts: 7 },
          },
        },
      },
    ],
    ['tls', { tls: { verify: true } }, { tls: { verify: true } }],
    ['an empty description', { description: '' }, { description: '' }],
    ['overrides', { apisix: { overrides: { name: 'a' } } }, { overrides: { name: 'a' } }],
    ['apisix without overrides', { apisix: {} }, {}],
  ])('%s', (_, fields, traffic) => {
    expect(trafficOf(specOf(fields), 'apisix', undefined)).toStrictEqual({ ...DEFAULTS, ...traffic });
  });

  it('uses the certificate that spec.tls references', () => {
    const pair = { certificate: 'CERTIFICATE', key: 'KEY' };
    const spec = specOf({ tls: { clientCertificateSecretRef: { name: 'web' } } });
    expect(trafficOf(spec, 'apisix', pair).tls).toStrictEqual({ clientCertificate: pair, verify: false });
    expect(trafficOf(specOf({}), 'apisix', pair).tls).toBeUndefined();
  });
});
