import { describe, expect, it } from 'vitest';
import { Model, type Slice, type Upstream } from '../../../chaos/model.ts';

function given(
  services: Readonly<Record<string, readonly Slice[]>>,
  upstream: Partial<Upstream> = {},
): { readonly model: Model; readonly upstream: Upstream } {
  const model = new Model();
  for (const [name, slices] of Object.entries(services)) {
    model.services.set(`apps/${name}`, {
      namespace: 'apps',
      name,
      exists: true,
      slices: new Map(slices.map((slice, index) => [`${name}-${index}`, slice])),
      steady: false,
    });
  }
  return {
    model,
    upstream: {
      namespace: 'apps',
      name: 'web',
      id: 'apps.web',
      backends: [{ service: 's', weight: 1 }],
      retries: 1,
      syncPolicy: 'Sync',
      deletionPolicy: 'Delete',
      guarded: false,
      state: 'live',
      referred: new Set(['s']),
      settled: undefined,
      ...upstream,
    },
  };
}

const held = (...nodes: readonly (readonly [host: string, weight: number])[]) => ({
  retries: 1,
  nodes: nodes.map(([host, weight]) => ({ host, port: 8080, weight })),
});

describe('the model', () => {
  it.each<
    [
      string,
      Readonly<Record<string, readonly Slice[]>>,
      Partial<Upstream>,
      object | undefined,
      string | undefined,
    ]
  >([
    [
      'ready ones of all slices',
      { s: [{ a: 'ready' }, { b: 'ready', c: 'sick' }] },
      {},
      held(['a', 1], ['b', 1]),
      undefined,
    ],
    ['one that is missing', { s: [{ a: 'ready', b: 'ready' }] }, {}, held(['a', 1]), 'lacks b'],
    ['one too many', { s: [{ a: 'ready', b: 'draining' }] }, {}, held(['a', 1], ['b', 1]), 'still has b'],
    [
      'one too many that is held',
      { s: [{ a: 'ready' }] },
      { guarded: true },
      held(['a', 1], ['b', 1]),
      undefined,
    ],
    ['those that still serve', { s: [{ a: 'draining', b: 'ending' }] }, {}, held(['a', 1]), undefined],
    ['a wrong weight', { s: [{ a: 'ready' }] }, {}, held(['a', 2]), 'has nodes that do not weigh 1'],
    ['no upstream', { s: [{ a: 'ready' }] }, {}, undefined, 'is missing'],
    ['no upstream, and no Service', {}, {}, undefined, undefined],
    [
      'no upstream that is observed',
      { s: [{ a: 'ready' }] },
      { syncPolicy: 'Observe' },
      undefined,
      undefined,
    ],
    ['another field', { s: [{ a: 'ready' }] }, { retries: 2 }, held(['a', 1]), 'has 1 retries instead of 2'],
    [
      'shares',
      { s: [{ a: 'ready' }], t: [{ b: 'ready', c: 'ready' }] },
      {
        backends: [
          { service: 's', weight: 1 },
          { service: 't', weight: 1 },
        ],
      },
      held(['a', 2], ['b', 1], ['c', 1]),
      undefined,
    ],
    [
      'a wrong share',
      { s: [{ a: 'ready' }], t: [{ b: 'ready', c: 'ready' }] },
      {
        backends: [
          { service: 's', weight: 1 },
          { service: 't', weight: 1 },
        ],
      },
      held(['a', 1], ['b', 1], ['c', 1]),
      `gives a backend ${1 / 3 / 0.5} of its share`,
    ],
  ])('judges %s', (_, services, changes, upstream, expected) => {
    const { model, upstream: object } = given(services, changes);
    const problem = model.problemOf(object, upstream as Record<string, unknown> | undefined, {
      mayHold: true,
    });
    expect(problem).toBe(expected);
  });

  it('calls an upstream steady from a quiet until its Service has nothing ready', () => {
    const { model, upstream } = given({ s: [{ a: 'ready' }, {}] });
    const service = model.service('apps', 's');
    if (service === undefined) throw new Error('the Service is there');
    expect(model.isSteady(upstream)).toBe(false);
    model.quiet();
    expect(model.isSteady(upstream)).toBe(true);
    model.writeSlice(service, 's-1', { a: 'ready' });
    model.writeSlice(service, 's-0', {});
    expect(model.isSteady(upstream)).toBe(true);
    model.writeSlice(service, 's-1', { a: 'sick' });
    model.writeSlice(service, 's-1', { a: 'ready' });
    expect(model.isSteady(upstream)).toBe(false);
  });
});
