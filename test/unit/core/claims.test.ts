import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Claimant, keeperOf } from '../../../src/core/claims.ts';
import type { ObservedUpstream } from '../../../src/core/model.ts';
import { ownerLabels } from '../../../src/core/ownership.ts';

const claimant = (key: string, creationTimestamp: string): Claimant => {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name, creationTimestamp };
};
const labelled = (namespace: string, name: string): ObservedUpstream => ({
  id: 'x',
  labels: ownerLabels({ cluster: 'c1', connection: 'default', namespace, name }, { orphan: false }),
  nodes: [],
  canonical: '',
});
const unlabelled: ObservedUpstream = { id: 'x', labels: {}, nodes: [], canonical: '' };

const OLD = '2026-01-01T00:00:00Z';
const NEW = '2026-01-01T00:00:01Z';
const long = 'x'.repeat(200);

describe('keeperOf', () => {
  it.each<[string, readonly Claimant[], ObservedUpstream | undefined, string | undefined]>([
    ['nobody', [], undefined, undefined],
    ['the only one', [claimant('b/b', NEW)], undefined, 'b/b'],
    ['the older', [claimant('a/a', NEW), claimant('b/b', OLD)], undefined, 'b/b'],
    ['of one age, by namespace', [claimant('b/a', OLD), claimant('a/b', OLD)], undefined, 'a/b'],
    ['of one age and namespace, by name', [claimant('a/b', OLD), claimant('a/a', OLD)], undefined, 'a/a'],
    [
      'the one that the gateway names, though younger and later by name',
      [claimant('a/a', OLD), claimant('b/b', NEW)],
      labelled('b', 'b'),
      'b/b',
    ],
    [
      'the one that the gateway names by the hash of a long name',
      [claimant('a/a', OLD), claimant(`b/${long}`, NEW)],
      labelled('b', long),
      `b/${long}`,
    ],
    [
      'the older, where the gateway names one that wants it no more',
      [claimant('a/a', NEW), claimant('b/b', OLD)],
      labelled('c', 'c'),
      'b/b',
    ],
    [
      'the older, where the gateway names nobody',
      [claimant('undefined/undefined', NEW), claimant('b/b', OLD)],
      unlabelled,
      'b/b',
    ],
  ])('%s', (_, claimants, observed, expected) => {
    const keeper = keeperOf(claimants, { kind: 'listed', observed });
    expect(keeper && `${keeper.namespace}/${keeper.name}`).toBe(expected);
  });

  it('is the same one for every order', () => {
    const claimants = ['a/a', 'a/b', 'b/a', 'b/b'].flatMap((key) => [claimant(key, key > 'a/b' ? OLD : NEW)]);
    fc.assert(
      fc.property(fc.shuffledSubarray(claimants, { minLength: 4 }), (order) => {
        expect(keeperOf(order, { kind: 'listed', observed: undefined })).toBe(claimants[2]);
      }),
    );
  });
});
