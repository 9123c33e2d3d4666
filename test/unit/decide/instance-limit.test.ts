import { describe, expect, it } from 'vitest';
import { withinInstanceLimit } from '../../../src/decide/instance-limit.ts';
import type { Discovered } from '../../../src/model/discovered.ts';
import type { RegistryServiceRef } from '../../../src/model/reference.ts';

/** What is read of services with these numbers of instances. `before`: how many of them the last answers had. */
function readOf(
  counts: Readonly<Record<string, number>>,
  { before = {}, address = '10.0.0.1' }: { before?: Readonly<Record<string, number>>; address?: string } = {},
) {
  const targets = Object.keys(counts).map((service) => ({
    kind: 'registry' as const,
    ref: { source: 'Registry' as const, registry: 'vms', service, options: {} },
    choice: { metadata: {}, weights: 'Registry' as const },
    weight: 1,
  }));
  const answer = (count = 0) => ({
    state: 'known' as const,
    basis: '',
    endpoints: Array.from({ length: count }, () => ({
      address,
      ready: true,
      serving: true,
      terminating: false,
    })),
  });
  const read = ({ service }: RegistryServiceRef): Discovered => answer(counts[service]);
  const lastAnswers = targets.flatMap(({ ref }) =>
    before[ref.service] === undefined ? [] : [{ ref, answer: answer(before[ref.service]) }],
  );
  const limited = withinInstanceLimit(read, targets, lastAnswers);
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

  it('leave the backend unknown that grew, since one that did not keeps its nodes anyway', () => {
    const before = { a: 10_000, b: 9000, c: 10, d: 900 };
    expect(readOf({ a: 9999, b: 9001, c: 9000, d: 950 }, { before })).toEqual({
      a: 'known',
      b: 'known',
      c: 'TooManyInstances',
      d: 'known',
    });
  });

  it('fit into one request to a gateway', () => {
    const address = 'fd00:1234:5678:9abc:def0:1234:5678:9abc';
    expect(readOf({ a: 10_000, b: 3000 }, { address })).toEqual({ a: 'known', b: 'known' });
    expect(readOf({ a: 10_000, b: 9000 }, { address })).toEqual({ a: 'TooManyInstances', b: 'known' });
    expect(readOf({ names: 10_000 }, { address: `${'a'.repeat(60)}.`.repeat(4) })).toEqual({
      names: 'TooManyInstances',
    });
  });

  it('count once in the request if backends select from the same service', () => {
    const endpoints = (count: number) =>
      Array.from({ length: count }, (_, n) => ({
        address: `10.100.${100 + Math.floor(n / 100)}.${100 + (n % 100)}`,
        ready: true,
        serving: true,
        terminating: false,
      }));
    const answerOf = (count: number) => ({ state: 'known' as const, basis: '', endpoints: endpoints(count) });
    const refOf = () => ({ source: 'Registry' as const, registry: 'vms', service: 'web', options: {} });
    const choice = { metadata: {}, weights: 'Registry' as const };
    const targets = [1, 2].map((weight) => ({ kind: 'registry' as const, ref: refOf(), choice, weight }));
    const now = answerOf(10_000);
    const limited = withinInstanceLimit(() => now, targets, [{ ref: refOf(), answer: answerOf(9900) }]);
    expect(targets.map(({ ref }) => limited(ref).state)).toEqual(['known', 'known']);
  });
});
