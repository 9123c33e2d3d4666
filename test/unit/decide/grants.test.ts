import { describe, expect, it } from 'vitest';
import { type KnownGrants, referenceProblem } from '../../../src/decide/grants.ts';
import type { ReferenceGrant } from '../../../src/model/objects.ts';
import type { ServicePortRef } from '../../../src/model/reference.ts';

const ref: ServicePortRef = {
  source: 'Kubernetes',
  namespace: 'blog',
  name: 'web',
  port: { by: 'servicePort', port: 80 },
  protocol: 'TCP',
};
const upstreams = { group: 'gatewayupstream.dev', kind: 'GatewayUpstream' };
const service = { group: '', kind: 'Service' };
const shop = { ...upstreams, namespace: 'shop' };

const listed = (...grants: readonly ReferenceGrant[]): KnownGrants => ({ kind: 'listed', grants });

describe('a reference from namespace shop to Service web in another namespace', () => {
  it.each<[string, readonly ReferenceGrant[], boolean]>([
    ['no grant', [], false],
    ['every Service', [{ from: [shop], to: [service] }], true],
    ['this Service', [{ from: [shop], to: [{ ...service, name: 'web' }] }], true],
    ['another Service', [{ from: [shop], to: [{ ...service, name: 'web-2' }] }], false],
    ['a Service with an empty name', [{ from: [shop], to: [{ ...service, name: '' }] }], false],
    ['one of several targets', [{ from: [shop], to: [{ ...service, name: 'a' }, service] }], true],
    ['one of several origins', [{ from: [{ ...shop, namespace: 'a' }, shop], to: [service] }], true],
    [
      'one of several grants',
      [
        { from: [shop], to: [{ ...service, name: 'a' }] },
        { from: [shop], to: [{ ...service, name: 'web' }] },
      ],
      true,
    ],
    [
      'two grants that match only in combination',
      [
        { from: [shop], to: [{ ...service, name: 'a' }] },
        { from: [{ ...shop, namespace: 'a' }], to: [service] },
      ],
      false,
    ],
    ['another namespace', [{ from: [{ ...shop, namespace: 'a' }], to: [service] }], false],
    ['an empty namespace', [{ from: [{ ...shop, namespace: '' }], to: [service] }], false],
    ['another kind', [{ from: [{ ...shop, kind: 'HTTPRoute' }], to: [service] }], false],
    ['another group', [{ from: [{ ...shop, group: 'gateway.networking.k8s.io' }], to: [service] }], false],
    ['another target kind', [{ from: [shop], to: [{ group: '', kind: 'Secret' }] }], false],
    ['another target group', [{ from: [shop], to: [{ ...service, group: 'core' }] }], false],
    ['no origin', [{ from: [], to: [service] }], false],
    ['no target', [{ from: [shop], to: [] }], false],
  ])('with a grant for %s', (_, grants, isPermitted) => {
    expect(referenceProblem(ref, 'shop', listed(...grants)) === undefined).toBe(isPermitted);
  });

  it('shows the required grant and its namespace', () => {
    const problem = referenceProblem(ref, 'shop', listed());
    expect(problem).toEqual({
      state: 'notPermitted',
      reason: 'RefNotPermitted',
      message:
        'Service blog/web is in another namespace, and no ReferenceGrant there permits the reference: create one in namespace blog with the spec {"from":[{"group":"gatewayupstream.dev","kind":"GatewayUpstream","namespace":"shop"}],"to":[{"group":"","kind":"Service","name":"web"}]}',
    });
    const spec = JSON.parse(/the spec (.*)$/.exec(problem?.message ?? '')?.[1] ?? '') as ReferenceGrant;
    expect(referenceProblem(ref, 'shop', listed(spec))).toBeUndefined();
  });

  it('asks for the Gateway API CRDs if they are not installed', () => {
    expect(referenceProblem(ref, 'shop', { kind: 'notInstalled' })?.message).toMatch(
      /install the Gateway API CRDs, then create one in namespace blog /,
    );
  });

  it('names the configuration key if the operator does not watch the namespace', () => {
    expect(referenceProblem(ref, 'shop', { kind: 'notWatched' })?.message).toMatch(
      /: add blog to namespaces in the operator's configuration$/,
    );
  });
});
