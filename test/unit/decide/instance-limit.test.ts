import { describe, expect, it } from 'vitest';
import { withinInstanceLimit } from '../../../src/decide/instance-limit.ts';
import type { Discovered } from '../../../src/model/discovered.ts';
import type { RegistryServiceRef } from '../../../src/model/reference.ts';

/** What is read of services with these numbers of instances. */
function readOf(counts: Readonly<Record<string, number>>) {
  const targets = Object.keys(counts).map((service) => ({
    kind: 'registry' as const,
    ref: { source: 'Registry' as const, registry: 'vms', service, options: {} },
    choice: { metadata: {}, weights: 'Registry' as const },
    weight: 1,
  }));
  const read = ({ service }: RegistryServiceRef): Discovered => ({
    state: 'known',
    basis: '',
    endpoints: Array.from({ length: counts[service] ?? 0 }, () => ({
      address: '10.0.0.1',
      ready: true,
      serving: true,
      terminating: false,
    })),
  });
  const limited = withinInstanceLimit(read, targets);
  return Object.fromEntries(
    targets.map(({ ref }) => {
      const found = limited(ref);
      return [ref.service, found.state === 'unknown' ? found.reason : found.state];
    }),
  );
}

describe('the instances of all backends', () => {
  it('are used up to 20,000', () => {
    expect(readOf({ a: 10_000, b: 10_000 })).toEqual({ a: 'known', b: 'known' });
  });

  it('leave the largest backends unknown beyond that, so that the others can change', () => {
    expect(readOf({ huge: 10_000, large: 9000, web: 1500, api: 10 })).toEqual({
      huge: 'TooManyInstances',
      large: 'known',
      web: 'known',
      api: 'known',
    });
  });

  it('may be those of one service alone', () => {
    expect(readOf({ a: 10_000 })).toEqual({ a: 'known' });
  });
});
