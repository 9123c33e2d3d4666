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
    edited: false,
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
  model.checkpoint();
  return { model, judge, held, arrive, violationsOf };
}

describe('Judge', () => {
  it('rejects writes outside the nodes of an upstream with manage: Nodes', () => {
    const { model, judge, held, violationsOf } = given({ manage: 'Nodes' });
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toBe('');
    expect(model.upstreams.get('web')?.begun).toBe(true);
    expect(violationsOf('PATCH', 'web', { nodes: NODES })).toContain(
      'which changes more or less than this object manages',
    );
    expect(violationsOf('PUT', 'web', { nodes: NODES })).toContain(
      'which changes more or less than this object manages',
    );
    expect(violationsOf('DELETE', 'web')).toContain('which changes more or less than this object manages');
    expect(violationsOf('PATCH', 'web/nodes', [])).toContain('removed the last node of web');
    judge.violations.length = 0;
    judge.check();
    expect(judge.violations).toEqual([]);
    held['retries'] = 6;
    judge.check();
    expect(judge.violations.join()).toContain(
      'web changed outside its nodes to {"retries":6} from {"retries":5}',
    );
  });

  it('rejects writes to an upstream that was returned to its owner', () => {
    const { model, violationsOf } = given({ manage: 'Nodes' });
    model.kept.delete('web');
    model.foreign.set('web', JSON.stringify({ retries: 5, nodes: NODES }));
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toContain('which no object owns');
  });

  it('rejects the removal of instances that the registry lost before their hold ends', () => {
    const { model, violationsOf } = given({
      guarded: true,
      backends: [{ service: 'r', mode: 'Registry', weight: 1 }],
    });
    model.registered.write('r', [{ host: 'a', port: 8080, health: 'passing', weight: 1 }]);
    model.checkpoint();
    model.registered.lose(performance.now());
    expect(violationsOf('PUT', 'web', { nodes: NODES })).toBe('');
    expect(violationsOf('PUT', 'web', { nodes: [{ host: 'b', port: 8080, weight: 1 }] })).toContain(
      'removed a:8080 of web less than 5000 ms after the registry lost them',
    );
    model.registered.lose(performance.now() - 5001);
    expect(violationsOf('PUT', 'web', { nodes: [] })).toBe('');
  });

  it('accepts the write probe while it creates no upstream', () => {
    const { judge, violationsOf } = given();
    expect(violationsOf('PATCH', 'gateway-upstream-operator.write-probe', { labels: {} })).toBe('');
    judge.watch({ get: () => ({}) } as unknown as StandIn);
    judge.check();
    expect(judge.violations.join()).toContain('the write probe created an upstream');
  });

  it('rejects a write of only the nodes with manage: Object', () => {
    const { violationsOf } = given();
    expect(violationsOf('PUT', 'web', { nodes: NODES })).toBe('');
    expect(violationsOf('PATCH', 'web/nodes', NODES)).toContain(
      'which changes more or less than this object manages',
    );
  });

  it('accepts only certificates of the Secret, and only the current one after a checkpoint', () => {
    const { model, arrive, judge, violationsOf } = given({ secret: 'c' });
    const put = (client_cert?: string) =>
      violationsOf('PUT', 'web', {
        nodes: NODES,
        ...(client_cert === undefined ? {} : { tls: { client_cert } }),
      });
    expect(put('first')).toBe('');
    expect(put()).toContain('a certificate that its Secret never had');
    expect(put('strange')).toContain('a certificate that its Secret never had');
    model.writeSecret('apps', 'c', 'second');
    expect(put('first')).toBe('');
    expect(put('second')).toBe('');
    const late = arrive('PUT', 'web', { nodes: NODES, tls: { client_cert: 'first' } });
    model.checkpoint();
    expect(put('first')).toContain('an outdated certificate');
    // It was correct when it was sent.
    judge.violations.length = 0;
    late();
    expect(judge.violations).toEqual([]);
    model.writeSecret('apps', 'c', undefined);
    model.checkpoint();
    expect(put('second')).toContain('an outdated certificate');
  });

  it('rejects a certificate if the object has no Secret', () => {
    const { violationsOf } = given();
    const body = { nodes: NODES, tls: { client_cert: 'first' } };
    expect(violationsOf('PUT', 'web', body)).toContain('a certificate although the object has no Secret');
  });
});
