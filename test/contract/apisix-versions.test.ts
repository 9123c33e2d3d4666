import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apisixFormat } from '../../src/gateways/apisix/driver.ts';
import { GatewayRejectedError, UpstreamInUseError } from '../../src/model/errors.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { apisixDriver, apisixHarness, askAdminApi } from './apisix-harness.ts';
import { testGatewayDriver, upstreamWith } from './gateway-driver.ts';

const VERSIONS = ['3.2.0', '3.8.0', '3.13.0', '3.14.1', '3.18.0', '3.19.0'] as const;
const unused = new AbortController().signal;

const { certPem: certificate } = createCertificateAuthority().issue({
  commonName: 'client',
  hosts: [],
  usage: 'client',
});
/** A key of fewer than 128 characters. */
const shortKey = generateKeyPairSync('ed25519')
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();

/** A field that some versions support. */
const change: fc.Arbitrary<Partial<Upstream>> = fc.oneof(
  fc.constant({}),
  fc.constantFrom(64, 65, 256).map((length) => ({ labels: { team: 'a'.repeat(length) } })),
  fc.constant<Partial<Upstream>>({
    loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'mqtt_client_id' },
  }),
  fc.constantFrom(100, 101, 257).map((length) => ({ overrides: { name: 'a'.repeat(length) } })),
  fc.constant({ overrides: { discovery_args: { namespace_id: 'public' } } }),
  fc.constant({ overrides: { warm_up_conf: { slow_start_time_seconds: 30 } } }),
  fc
    .constantFrom(certificate, certificate.repeat(200))
    .map((chain) => ({ tls: { verify: false, clientCertificate: { certificate: chain, key: shortKey } } })),
);

const anyUpstream: fc.Arbitrary<Upstream> = fc
  .tuple(upstreamWith('any'), change)
  .map(([upstream, changed]) => ({ ...upstream, ...changed }));

describe.each(VERSIONS)('APISIX %s', (version) => {
  it('accepts all supported fields, and receives no other field', async () => {
    await using standIn = await startStandIn({ version });
    const driver = apisixDriver(standIn);
    const { info } = await driver.list(unused);
    expect(info).toEqual({ version });
    let taken = 0;
    let left = 0;
    await fc.assert(
      fc.asyncProperty(anyUpstream, async (desired) => {
        if (apisixFormat.unsupported(desired, info).length > 0) {
          left += 1;
          return;
        }
        taken += 1;
        const put = await driver.put(desired, unused);
        expect(put.canonical).toBe(driver.canonical(desired));
      }),
      { numRuns: 300 },
    );
    expect(taken).toBeGreaterThan(20);
    expect(left).toBeGreaterThan(20);
    expect(new Set(standIn.requests.map(({ status }) => status))).toEqual(new Set([200, 201]));
  });

  it('deletes an upstream with a route only from 3.5.0 on, and reports this before', async () => {
    await using standIn = await startStandIn({ version });
    const driver = apisixDriver(standIn);
    const nodes = [{ host: '10.0.0.1', port: 80, weight: 1 }];
    expect(await askAdminApi(standIn, 'PUT', 'upstreams/u', { nodes })).toBe(201);
    expect(await askAdminApi(standIn, 'PUT', 'routes/r', { uri: '/r', upstream_id: 'u' })).toBe(201);
    const deletion = driver.delete('u', { references: 'ignore' }, unused);
    if (version !== '3.2.0') {
      await deletion;
      expect(standIn.ids('upstreams')).toEqual([]);
      return;
    }
    await expect(deletion).rejects.toThrow(UpstreamInUseError);
    await expect(deletion).rejects.toThrow(
      'route [r] is still using it now; this gateway version does not support forced deletion, which requires APISIX 3.5.0 or later',
    );
    expect(standIn.ids('upstreams')).toEqual(['u']);
  });
});

/** The error of the gateway itself, without the table of versions. */
it.each<[string, string, Partial<Upstream>]>([
  ['3.3.0', '3.4.0', { labels: { team: 'a'.repeat(65) } }],
  ['3.3.0', '3.4.0', { loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'mqtt_client_id' } }],
  ['3.14.1', '3.15.0', { overrides: { name: 'a'.repeat(101) } }],
  ['3.16.0', '3.17.0', { tls: { verify: false, clientCertificate: { certificate, key: shortKey } } }],
  ['3.18.0', '3.19.0', { overrides: { warm_up_conf: { slow_start_time_seconds: 30 } } }],
])(
  'the stand-in rejects at %s and accepts at %s the field %o, like the table',
  async (last, first, change) => {
    await using standIn = await startStandIn({ version: last });
    const driver = apisixDriver(standIn);
    const upstream: Upstream = {
      id: 'u',
      labels: {},
      nodes: [],
      scheme: 'HTTPS',
      loadBalancing: { type: 'RoundRobin' },
      ...change,
    };
    expect(apisixFormat.unsupported(upstream, { version: last })).toHaveLength(1);
    await expect(driver.put(upstream, unused)).rejects.toThrow(GatewayRejectedError);
    standIn.setVersion(first);
    expect(apisixFormat.unsupported(upstream, { version: first })).toEqual([]);
    await driver.put(upstream, unused);
  },
);

testGatewayDriver({
  name: 'The APISIX driver on 3.8, which takes IPv6 addresses with and without brackets,',
  keepsBackendMarks: true,
  randomUpstreams: 100,
  mostUpstreams: 100,
  async create() {
    const standIn = await startStandIn({ version: '3.8.0' });
    return apisixHarness(standIn, async () => standIn[Symbol.asyncDispose]());
  },
});
