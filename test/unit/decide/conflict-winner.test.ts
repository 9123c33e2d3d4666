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

describe('winnerOf', () => {
  it.each<[string, readonly Contender[], ObservedUpstream | undefined, string | undefined]>([
    ['nothing without contenders', [], undefined, undefined],
    ['the only contender', [contender('b/b', NEW)], undefined, 'b/b'],
    ['the oldest', [contender('a/a', NEW), contender('b/b', OLD)], undefined, 'b/b'],
    [
      'the first by namespace at the same age',
      [contender('b/a', OLD), contender('a/b', OLD)],
      undefined,
      'a/b',
    ],
    [
      'the first by name at the same age and namespace',
      [contender('a/b', OLD), contender('a/a', OLD)],
      undefined,
      'a/a',
    ],
    [
      'the object that the gateway names, even if it is younger',
      [contender('a/a', OLD), contender('b/b', NEW)],
      labeled('b', 'b'),
      'b/b',
    ],
    [
      'the object that the gateway names by the hash of a long name',
      [contender('a/a', OLD), contender(`b/${long}`, NEW)],
      labeled('b', long),
      `b/${long}`,
    ],
    [
      'the oldest if the gateway names an object that no longer asks for the id',
      [contender('a/a', NEW), contender('b/b', OLD)],
      labeled('c', 'c'),
      'b/b',
    ],
    [
      'the oldest if the gateway names no object',
      [contender('undefined/undefined', NEW), contender('b/b', OLD)],
      unlabeled,
      'b/b',
    ],
  ])('is %s', (_, contenders, observed, expected) => {
    const keeper = winnerOf(contenders, { kind: 'listed', observed });
    expect(keeper && `${keeper.namespace}/${keeper.name}`).toBe(expected);
  });

  it('does not depend on the order', () => {
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
