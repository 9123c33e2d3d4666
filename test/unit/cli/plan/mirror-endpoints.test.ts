import { describe, expect, it } from 'vitest';
import { withMirrored } from '../../../../src/cli/plan/mirror-endpoints.ts';

const service = (spec: object = {}) => ({ metadata: { namespace: 'shop', name: 'db' }, spec });
const endpoints = (subsets: readonly object[], metadata: object = {}) => ({
  metadata: { namespace: 'shop', name: 'db', ...metadata },
  subsets,
});
const ports = [{ name: 'sql', port: 5432 }];
const ips = (...all: readonly string[]) => all.map((ip) => ({ ip }));

/** `family address ready` for each endpoint. */
function listed(slices: ReturnType<typeof withMirrored>): readonly string[] {
  return slices.flatMap((slice) => {
    const list = slice['endpoints'] as { addresses: string[]; conditions: { ready: boolean } }[];
    return list.map(
      ({ addresses, conditions }) => `${slice['addressType']} ${addresses} ${conditions.ready}`,
    );
  });
}

describe('withMirrored', () => {
  it('creates a slice per subset and address family and keeps readiness', () => {
    const slices = withMirrored(
      [],
      [
        endpoints([
          { addresses: ips('192.0.2.1', '2001:db8::1'), notReadyAddresses: ips('192.0.2.2'), ports },
          { addresses: ips('192.0.2.9'), ports: [{ port: 80 }] },
        ]),
      ],
      [service()],
    );
    expect(listed(slices)).toEqual([
      'IPv4 192.0.2.1 true',
      'IPv4 192.0.2.2 false',
      'IPv6 2001:db8::1 true',
      'IPv4 192.0.2.9 true',
    ]);
    expect(slices.map((slice) => slice['ports'])).toEqual([ports, ports, [{ port: 80 }]]);
    expect(slices[0]?.['metadata']).toMatchObject({
      namespace: 'shop',
      labels: { 'kubernetes.io/service-name': 'db' },
    });
  });

  it.each([
    ['without a Service', [], {}],
    ['of a Service with a selector', [service({ selector: { app: 'db' } })], {}],
    ['that say so', [service()], { labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } }],
    [
      'of a leader election',
      [service()],
      { annotations: { 'control-plane.alpha.kubernetes.io/leader': '' } },
    ],
  ])('does not mirror %s', (_, services, metadata) => {
    const made = withMirrored([], [endpoints([{ addresses: ips('192.0.2.1'), ports }], metadata)], services);
    expect(made).toEqual([]);
  });

  it('mirrors at most 1000 valid addresses per subset, ready ones first', () => {
    const many = Array.from({ length: 999 }, (_, index) => `10.0.${index >> 8}.${index & 255}`);
    const made = withMirrored(
      [],
      [
        endpoints([
          {
            notReadyAddresses: ips('192.0.2.2'),
            addresses: ips('db.example.com', ...many, '192.0.2.1'),
            ports,
          },
        ]),
      ],
      [service()],
    );
    expect(listed(made)).toHaveLength(1000);
    expect(listed(made)).toContain('IPv4 192.0.2.1 true');
    expect(listed(made)).not.toContain('IPv4 192.0.2.2 false');
  });

  it('replaces only slices that were mirrored before', () => {
    const slice = (name: string, manager: string) => ({
      metadata: {
        namespace: 'shop',
        name,
        labels: {
          'kubernetes.io/service-name': 'db',
          'endpointslice.kubernetes.io/managed-by': manager,
        },
      },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['198.51.100.1'], conditions: { ready: true } }],
    });
    const mirrored = slice('db-old', 'endpointslicemirroring-controller.k8s.io');
    const own = slice('db-own', 'me');
    const byHand = endpoints([{ addresses: ips('192.0.2.1'), ports }]);
    expect(withMirrored([mirrored, own], [], [service()])).toEqual([mirrored, own]);
    const made = withMirrored([mirrored, own], [byHand], [service()]);
    expect(made).toContain(own);
    expect(made).not.toContain(mirrored);
    expect(listed(made)).toEqual(['IPv4 198.51.100.1 true', 'IPv4 192.0.2.1 true']);
  });
});
