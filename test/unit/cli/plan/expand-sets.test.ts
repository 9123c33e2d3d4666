import { describe, expect, it } from 'vitest';
import { expandSets } from '../../../../src/cli/plan/expand-sets.ts';
import { PlanError } from '../../../../src/cli/plan/plan-error.ts';
import { admit, storesOf } from '../../../support/catalog.ts';

const NOW = Date.parse('2026-03-01T00:00:00Z');

const service = (name: string, labels: object = {}) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'shop', labels },
  spec: { ports: [{ name: 'http', port: 80 }] },
});

const set = (spec: object = {}, metadata: object = {}) => ({
  apiVersion: 'gatewayupstream.dev/v1alpha1',
  kind: 'GatewayUpstreamSet',
  metadata: { name: 'all', uid: 'set-uid', ...metadata },
  spec: { namespaceSelector: { names: ['shop'] }, ...spec },
});

/** As created by the set `all`, but without the digest of its template. */
const made = (name: string, spec: object = {}) => ({
  apiVersion: 'gatewayupstream.dev/v1alpha1',
  kind: 'GatewayUpstream',
  metadata: {
    name: `${name}-http`,
    namespace: 'shop',
    labels: { 'gatewayupstream.dev/set': 'all' },
    ownerReferences: [
      {
        apiVersion: 'gatewayupstream.dev/v1alpha1',
        kind: 'GatewayUpstreamSet',
        name: 'all',
        uid: 'set-uid',
        controller: true,
      },
    ],
  },
  spec: { backends: [{ serviceRef: { name, port: 'http' } }], ...spec },
});

const expanded = (objects: readonly object[]) => {
  const documents = objects.map((value, index) => ({ where: `document ${index + 1}`, value }));
  const { upstreams } = expandSets(storesOf(admit(documents, NOW).objects), NOW);
  return [...upstreams.list()].map((object) => ({
    name: object.name,
    retries: object.spec.ok ? object.spec.value.retries : undefined,
    going: object.deletionTimestamp !== undefined,
    set: object.madeBy?.set,
  }));
};

const one = (name: string, extra: object = {}) => ({
  name: `${name}-http`,
  retries: undefined,
  going: false,
  set: 'all',
  ...extra,
});

describe('expandSets', () => {
  it('adds the GatewayUpstreams that the set would create', () => {
    expect(expanded([set(), service('web'), service('api')])).toEqual([one('web'), one('api')]);
  });

  it('applies the current template', () => {
    const spec = { template: { spec: { retries: 3 } } };
    expect(expanded([set(spec), service('web'), made('web', { retries: 1 })])).toEqual([
      one('web', { retries: 3 }),
    ]);
  });

  it('ignores GatewayUpstreams that the set does not own', () => {
    const { metadata, ...rest } = made('web', { retries: 1 });
    const { name, namespace } = metadata;
    expect(expanded([set(), service('web'), { ...rest, metadata: { name, namespace } }])).toEqual([
      one('web', { retries: 1, set: undefined }),
    ]);
  });

  it('deletes GatewayUpstreams together with their Services', () => {
    expect(expanded([set(), made('a'), made('b'), made('c')])).toEqual([
      one('a', { going: true }),
      one('b', { going: true }),
      one('c', { going: true }),
    ]);
  });

  const relabeled = [service('a'), service('b'), made('a'), made('b')];
  const selective = { serviceSelector: { matchLabels: { app: 'x' } } };

  it('keeps GatewayUpstreams when more than maxPrunePercent would be deleted', () => {
    expect(expanded([set(selective), ...relabeled])).toEqual([one('a'), one('b')]);
  });

  it('deletes them when the pruning is accepted or the limit allows it', () => {
    const going = [one('a', { going: true }), one('b', { going: true })];
    const accepted = { annotations: { 'gatewayupstream.dev/accept-prune': '2026-03-01T00:00:00Z' } };
    expect(expanded([set(selective, accepted), ...relabeled])).toEqual(going);
    expect(expanded([set({ ...selective, maxPrunePercent: 100 }), ...relabeled])).toEqual(going);
  });

  it('changes nothing while the set is being deleted', () => {
    const ending = { deletionTimestamp: '2026-03-01T00:00:00Z' };
    expect(expanded([set({}, ending), service('web'), made('a')])).toEqual([one('a')]);
  });

  it('rejects an invalid set', () => {
    expect(() => expanded([set({ template: { spec: { upstreamId: 'x' } } })])).toThrow(
      new PlanError('document 1, GatewayUpstreamSet all: spec.template.spec.upstreamId: unknown field'),
    );
  });
});
