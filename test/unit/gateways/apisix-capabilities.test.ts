import { describe, expect, it } from 'vitest';
import { capabilities, unsupported } from '../../../src/gateways/apisix/capabilities.ts';
import type { Upstream } from '../../../src/model/upstream.ts';

const upstream: Upstream = {
  id: 'u1',
  labels: { 'gatewayupstream.dev/name': 'a'.repeat(64) },
  nodes: [{ host: 'fd00::1', port: 80, weight: 1, priority: 0 }],
  scheme: 'HTTPS',
  loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' },
  tls: { verify: false, clientCertificate: { certificate: 'C'.repeat(2000), key: 'K'.repeat(128) } },
  healthCheck: {
    active: {
      type: 'HTTP',
      timeoutMs: 1000,
      concurrency: 10,
      method: 'GET',
      path: '/',
      body: '',
      verifyCertificate: true,
      healthy: { intervalSeconds: 1, statuses: [200], successes: 2 },
      unhealthy: { intervalSeconds: 1, statuses: [500], httpFailures: 5, tcpFailures: 2, timeouts: 3 },
    },
  },
  overrides: { name: 'a'.repeat(100), discovery_args: {} },
};
const probing = (change: object): Partial<Upstream> => ({
  healthCheck: { active: { ...(upstream.healthCheck?.active as object), ...change } as never },
});
const certified = (certificate: string, key: string): Partial<Upstream> => ({
  tls: { verify: false, clientCertificate: { certificate, key } },
});

/** A field, the last version that does not support it, and the first version that does. */
const CASES: readonly (readonly [field: string, last: string, first: string, change: Partial<Upstream>])[] = [
  ['spec.labels[team]', '3.3.0', '3.4.0', { labels: { team: 'a'.repeat(65) } }],
  [
    'spec.loadBalancing.key',
    '3.3.0',
    '3.4.0',
    { loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'mqtt_client_id' } },
  ],
  ['spec.apisix.overrides.name', '3.14.1', '3.15.0', { overrides: { name: 'a'.repeat(101) } }],
  ['spec.tls.clientCertificateSecretRef', '3.16.0', '3.17.0', certified('C'.repeat(500), 'K'.repeat(119))],
  ['spec.healthCheck.active.method', '3.17.0', '3.18.0', probing({ method: 'POST' })],
  ['spec.healthCheck.active.body', '3.17.0', '3.18.0', probing({ body: 'ping' })],
  ['spec.tls.clientCertificateSecretRef', '3.17.0', '3.18.0', { scheme: 'TLS' }],
  ['spec.tls.verify', '3.18.0', '3.19.0', { tls: { verify: true } }],
  ['spec.apisix.overrides.warm_up_conf', '3.18.0', '3.19.0', { overrides: { warm_up_conf: {} } }],
  ['spec.apisix.overrides.invented', '3.18.0', '3.19.0', { overrides: { invented: 1 } }],
];

const fieldsOf = (change: Partial<Upstream>, version?: string) =>
  unsupported({ ...upstream, ...change }, version === undefined ? {} : { version }).map(({ field }) => field);

describe('unsupported fields', () => {
  it.each(['3.0.0', '3.2.0', '3.13.0', '3.14.1', '3.18.0', '3.19.0', '4.0.0', '3.100.0'])(
    '%s takes everything that is older than it',
    (version) => {
      expect(unsupported(upstream, { version })).toEqual([]);
    },
  );

  it.each(CASES)('reports %s up to APISIX %s, and not since %s', (field, last, first, change) => {
    expect(fieldsOf(change, last)).toEqual([field]);
    expect(fieldsOf(change, '3.2.0')).toContain(field);
    expect(fieldsOf(change, first)).toEqual([]);
    expect(fieldsOf(change)).toEqual([]);
  });

  it('supports a field in a release with a backport', () => {
    const change: Partial<Upstream> = {
      loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'mqtt_client_id' },
    };
    expect(['3.2.1', '3.2.2', '3.3.0'].map((version) => fieldsOf(change, version).length)).toEqual([1, 0, 1]);
  });

  it.each<[string, Partial<Upstream>]>([
    ['spec.tls.verify', { scheme: 'TLS', tls: { verify: true } }],
    ['spec.apisix.overrides.name', { overrides: { name: 'a'.repeat(257) } }],
    ['spec.tls.clientCertificateSecretRef', certified('C'.repeat(65_537), 'K'.repeat(200))],
    ['spec.tls.clientCertificateSecretRef', certified('C'.repeat(500), 'K'.repeat(65_537))],
  ])('reports %s for every version', (field, change) => {
    for (const version of ['3.19.0', undefined]) expect(fieldsOf(change, version)).toEqual([field]);
  });

  it('counts characters, as APISIX does', () => {
    expect(fieldsOf({ labels: { team: '😀'.repeat(64) } }, '3.2.0')).toEqual([]);
  });

  it('ignores HTTP settings of a TCP probe', () => {
    expect(fieldsOf(probing({ type: 'TCP', method: 'POST', body: 'ping' }), '3.2.0')).toEqual([]);
  });

  it('names the version, its behavior, and the version that changed it', () => {
    expect(unsupported({ ...upstream, tls: { verify: true } }, { version: '3.13.0' })).toEqual([
      {
        field: 'spec.tls.verify',
        message:
          'APISIX 3.13.0 ignores this field and does not verify the certificates of nodes (changed in 3.19.0)',
      },
    ]);
    expect(unsupported({ ...upstream, overrides: { invented: 1 } }, { version: '3.13.0' })).toEqual([
      {
        field: 'spec.apisix.overrides.invented',
        message: 'APISIX 3.13.0 does not know this field',
      },
    ]);
  });
});

describe('capabilities', () => {
  const lacking = (version: string) =>
    capabilities({ version }).flatMap(({ name, supported }) => (supported ? [] : [name]));

  it('are listed for a known version', () => {
    expect(lacking('3.2.0')).toEqual(capabilities({ version: '3.2.0' }).map(({ name }) => name));
    expect(lacking('3.8.0')).toEqual([
      'LongNames',
      'ShortPrivateKeys',
      'ProbeRequests',
      'StreamClientCertificates',
      'NodeVerification',
      'WarmUp',
    ]);
    expect(lacking('3.18.0')).toEqual(['NodeVerification', 'WarmUp']);
    expect(lacking('3.19.0')).toEqual([]);
    expect(capabilities({ version: '3.4.0' })).toContainEqual({
      name: 'ForcedDeletion',
      supported: false,
      since: '3.5.0',
    });
  });

  it('are empty for an unknown version', () => {
    expect(capabilities({})).toEqual([]);
  });

  it('have unique names, because the status lists them by name', () => {
    const names = capabilities({ version: '3.2.0' }).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^([A-Z][a-z]+)+$/);
  });
});
