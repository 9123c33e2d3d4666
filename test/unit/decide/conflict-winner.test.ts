import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Contender, winnerOf } from '../../../src/decide/conflict-winner.ts';
import type { ObservedUpstream } from '../../../src/model/upstream.ts';
import { observedLabels, ownerLabels } from '../../support/owner-labels.ts';

const contender = (key: string, creationTimestamp: string): Contender => {
  const [namespace = '', name = ''] = key.split('/');
  return { namespace, name, creationTimestamp };
};
const labeled = (namespace: string, name: string): ObservedUpstream => ({
  id: 'x',
  ...observedLabels(
    ownerLabels({ cluster: 'c1', connection: 'default', namespace, name }, { orphan: false }),
  ),
  nodes: [],
  canonical: '',
});
const unlabeled: ObservedUpstream = { id: 'x', labels: {}, nodes: [], canonical: '' };

const OLD = '2026-01-01T00:00:00Z';
const NEW = '2026-01-01T00:00:01Z';
const long = 'x'.repeat(200);

describe('keeperOf', () => {
  it.each<[string, readonly Contender[], ObservedUpstream | undefined, string | undefined]>([
    ['nobody', [], undefined, undefined],
    ['the only one', [contender('b/b', NEW)], undefined, 'b/b'],
    ['the older', [contender('a/a', NEW), contender('b/b', OLD)], undefined, 'b/b'],
    ['of one age, by namespace', [contender('b/a', OLD), contender('a/b', OLD)], undefined, 'a/b'],
    ['of one age and namespace, by name', [contender('a/b', OLD), contender('a/a', OLD)], undefined, 'a/a'],
    [
      'the one that the gateway names, though younger and later by name',
      [contender('a/a', OLD), contender('b/b', NEW)],
      labeled('b', 'b'),
      'b/b',
    ],
    [
      'the one that the gateway names by the hash of a long name',
      [contender('a/a', OLD), contender(`b/${long}`, NEW)],
      labeled('b', long),
      `b/${long}`,
    ],
    [
      'the older, where the gateway names one that wants it no more',
      [contender('a/a', NEW), contender('b/b', OLD)],
      labeled('c', 'c'),
      'b/b',
    ],
    [
      'the older, where the gateway names nobody',
      [contender('undefined/undefined', NEW), contender('b/b', OLD)],
      unlabeled,
      'b/b',
    ],
  ])('%s', (_, contenders, observed, expected) => {
    const keeper = winnerOf(contenders, { kind: 'listed', observed });
    expect(keeper && `${keeper.namespace}/${keeper.name}`).toBe(expected);
  });

  it('is the same one for every order', () => {
    const contenders = ['a/a', 'a/b', 'b/a', 'b/b'].flatMap((key) => [
      contender(key, key > 'a/b' ? OLD : NEW),
    ]);
    fc.assert(
      fc.property(fc.shuffledSubarray(contenders, { minLength: 4 }), (order) => {
        expect(winnerOf(order, { kind: 'listed', observed: undefined })).toBe(contenders[2]);
      }),
    );
  });
});
