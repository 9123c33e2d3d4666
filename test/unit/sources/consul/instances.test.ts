import { describe, expect, it } from 'vitest';
import { endpointsOf, healthEntry, instanceOf } from '../../../../src/sources/consul/instances.ts';
import type { ConsulBackend } from '../../../../src/sources/consul/schema.ts';

const OPTIONS: ConsulBackend = { healthy: 'Passing', address: 'Service' };

function endpointOf(service: object, options: Partial<ConsulBackend> = {}) {
  const entry = healthEntry.parse({
    Node: { Node: 'vm-1', Address: '192.0.2.1', TaggedAddresses: { lan: '192.0.2.1', wan: '203.0.113.1' } },
    Service: { ID: 'web-1', Service: 'web', Address: '198.51.100.1', Port: 8080, ...service },
    Checks: null,
  });
  return endpointsOf([instanceOf(entry)], { ...OPTIONS, ...options })[0];
}

describe('a Consul instance', () => {
  it.each([70_000, -1, 1.5])('has no port where the catalog has port %d', (Port) => {
    expect(endpointOf({ Port })).toMatchObject({ address: '198.51.100.1', port: undefined });
  });

  it('has no port where the answer leaves it out', () => {
    expect(endpointOf({ Port: undefined })?.port).toBeUndefined();
  });

  it('has no negative weight', () => {
    expect(endpointOf({ Weights: { Passing: -5, Warning: 1 } })?.weight).toBe(0);
  });

  it.each([
    ['Service', '192.0.2.1'],
    ['Lan', '192.0.2.1'],
    ['Wan', '203.0.113.1'],
  ] as const)('without an address, with address %s, has that of its node: %s', (address, expected) => {
    expect(endpointOf({ Address: '' }, { address })?.address).toBe(expected);
  });

  it('keeps its own address where it has no tagged one', () => {
    expect(endpointOf({}, { address: 'Wan' })?.address).toBe('198.51.100.1');
  });
});
