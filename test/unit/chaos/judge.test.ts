import { describe, expect, it } from 'vitest';
import { Judge } from '../../../chaos/judge.ts';
import { Model, type Upstream } from '../../../chaos/model.ts';
import type { StandIn } from '../../support/apisix-stand-in/stand-in.ts';

const NODES = [{ host: 'a', port: 8080, weight: 1 }];
const FRONT = {
  shape: 'Headless',
  clusterIp: undefined,
  nodePort: undefined,
  balancers: [],
  isLocal: false,
} as const;

/** A gateway that holds `nodes` as id `web`, whose Service has been ready since the last quiet. */
function given(upstream: Partial<Upstream> = {}) {
  const model = new Model();
  model.services.set('apps/s', {
    namespace: 'apps',
    name: 's',
    exists: true,
    exposed: false,
    front: FRONT,
    slices: new Map([['s-0', { a: 'ready' }]]),
    steady: false,
    sameFront: false,
  });
  model.owned.add('web');
  model.upstreams.set('web', {
    namespace: 'apps',
    name: 'web',
    id: 'web',
    isMember: false,
    manage: 'Object',
    backends: [{ service: 's', weight: 1 }],
    retries: 1,
    syncPolicy: 'Sync',
    deletionPolicy: 'Delete',
    secret: undefined,
    guarded: false,
    state: 'live',
    referred: [],
    flapped: false,
    begun: false,
    settled: undefined,
    ...upstream,
  });
  if (upstream.manage === 'Nodes') model.kept.set('web', '{"retries":5}');
  if (upstream.secret !== undefined) model.writeSecret('apps', upstream.secret, 'first');
  const judge = new Judge({ model, leaseDurationMs: 1, isAwake: () => true, note: () => undefined });
  const held: Record<string, unknown> = { retries: 5, nodes: NODES };
  const gateway = { get: (_: string, id: string) => (id === 'web' ? held : undefined) };
  judge.watch(gateway as unknown as StandIn);
  let seq = 0;
  const arrive = (method: string, path: string, body?: object) => {
    seq += 1;
    const request = {
      seq,
      method,
      path: `/apisix/admin/upstreams/${path}`,
      headers: {},
      body: body && JSON.stringify(body),
    };
    judge.arrived(request);
    return () => {
      judge.carryingOut(request);
      judge.carriedOut(request, 200);
      judge.ended(request);
    };
  };
  const violationsOf = (method: string, path: string, body?: object) => {
    judge.violations.length = 0;
    arrive(method, path, body)();
    return judge.violations.join('\n');
  };
  model.quiet();
  return { model, judge, held, arrive, violationsOf };
}

describe('the judge', () => {
  it('lets nothing but nodes of an upstream be written that somebody else owns', () => {
    const { model, judge, held, violationsOf } = given({ manage: 'Nodes' });
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toBe('');
    expect(model.upstreams.get('web')?.begun).toBe(true);
    expect(violationsOf('PATCH', 'web', { nodes: NODES })).toContain('which is not what is ours of it');
    expect(violationsOf('PUT', 'web', { nodes: NODES })).toContain('which is not what is ours of it');
    expect(violationsOf('DELETE', 'web')).toContain('which is not what is ours of it');
    expect(violationsOf('PATCH', 'web/nodes', [])).toContain('took the last node of web');
    judge.violations.length = 0;
    judge.look();
    expect(judge.violations).toEqual([]);
    held['retries'] = 6;
    judge.look();
    expect(judge.violations.join()).toContain(
      'web, but for its nodes, is {"retries":6} and was {"retries":5}',
    );
  });

  it('lets nobody write what was given back to its owner', () => {
    const { model, violationsOf } = given({ manage: 'Nodes' });
    model.kept.delete('web');
    model.foreign.set('web', JSON.stringify({ retries: 5, nodes: NODES }));
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toContain('which is not ours');
  });

  it('allows the probe for writes as long as it creates nothing', () => {
    const { judge, violationsOf } = given();
    expect(violationsOf('PATCH', 'gateway-upstream-operator.write-probe', { labels: {} })).toBe('');
    judge.watch({ get: () => ({}) } as unknown as StandIn);
    judge.look();
    expect(judge.violations.join()).toContain('the probe for writes has created an upstream');
  });

  it('lets nodes alone be written of nothing that is ours as a whole', () => {
    const { violationsOf } = given();
    expect(violationsOf('PUT', 'web', { nodes: NODES })).toBe('');
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toContain('which is not what is ours of it');
  });

  it('wants a certificate of the Secret, and the last one where that is known', () => {
    const { model, arrive, judge, violationsOf } = given({ secret: 'c' });
    const put = (client_cert?: string) =>
      violationsOf('PUT', 'web', {
        nodes: NODES,
        ...(client_cert === undefined ? {} : { tls: { client_cert } }),
      });
    expect(put('first')).toBe('');
    expect(put()).toContain('none of the certificates of its Secret');
    expect(put('strange')).toContain('none of the certificates of its Secret');
    model.writeSecret('apps', 'c', 'second');
    expect(put('first')).toBe('');
    expect(put('second')).toBe('');
    const late = arrive('PUT', 'web', { nodes: NODES, tls: { client_cert: 'first' } });
    model.quiet();
    expect(put('first')).toContain('an old certificate');
    // It was right when it was sent.
    judge.violations.length = 0;
    late();
    expect(judge.violations).toEqual([]);
    model.writeSecret('apps', 'c', undefined);
    model.quiet();
    expect(put('second')).toContain('an old certificate');
  });

  it('wants no certificate where nobody asked for one', () => {
    const { violationsOf } = given();
    const body = { nodes: NODES, tls: { client_cert: 'first' } };
    expect(violationsOf('PUT', 'web', body)).toContain('a certificate that nobody asked for');
  });
});
