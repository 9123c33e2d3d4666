import { describe, expect, it } from 'vitest';
import { UPSTREAM_FINALIZER } from '../../../../src/api/group.ts';
import { builtInCatalog } from '../../../../src/catalog.ts';
import { parseListings } from '../../../../src/cli/plan/gateway-listings.ts';
import { makePlan } from '../../../../src/cli/plan/make-plan.ts';
import type { GatewayListing, Plan, PlannedUpstream } from '../../../../src/cli/plan/planned.ts';
import { planExitCode, renderPlan } from '../../../../src/cli/plan/render.ts';
import type { ObservedUpstream } from '../../../../src/model/upstream.ts';
import { admit, gatewayFormat, storesOf, vendorOf } from '../../../support/catalog.ts';
import { createCertificateAuthority } from '../../../support/control-plane/certificates.ts';
import { ownerLabels } from '../../../support/owner-labels.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const { listed, canonical, read } = gatewayFormat('APISIX');
const group = 'gatewayupstream.dev/v1alpha1';

const connection = (spec: object = {}, name = 'default') => ({
  apiVersion: group,
  kind: 'GatewayConnection',
  metadata: { name },
  spec: {
    type: 'APISIX',
    apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'key' } },
    allowedNamespaces: { all: true },
    ...spec,
  },
});
const upstream = (name: string, spec: object = {}, metadata: object = {}, status?: object) => ({
  apiVersion: group,
  kind: 'GatewayUpstream',
  metadata: { namespace: 'shop', name, ...metadata },
  spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec },
  ...(status === undefined ? {} : { status }),
});
const service = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { namespace: 'shop', name: 'web' },
  spec: { ports: [{ name: 'http', port: 80 }] },
};
const slice = (endpoints: Readonly<Record<string, object>>) => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { namespace: 'shop', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  ports: [{ name: 'http', port: 8080 }],
  endpoints: Object.entries(endpoints).map(([address, conditions]) => ({ addresses: [address], conditions })),
});
const ready = { ready: true };

/** An upstream in the format of APISIX. */
const held = (id: string, nodes: readonly string[], value: object = {}, owner: object = {}) => ({
  key: `/apisix/upstreams/${id}`,
  value: {
    id,
    type: 'roundrobin',
    scheme: 'http',
    nodes: nodes.map((host) => ({ host, port: 8080, weight: 1 })),
    labels: ownerLabels(
      { cluster: 'c1', connection: 'default', namespace: 'shop', name: 'web', ...owner },
      { orphan: false },
    ),
    ...value,
  },
});

interface Given {
  readonly objects: readonly object[];
  readonly gateway?: readonly object[] | GatewayListing;
  readonly only?: readonly string[];
  readonly secretNamespaces?: readonly string[];
  readonly version?: string;
  /** Spec of GatewayConnection default. */
  readonly settings?: object;
}

function plan({ objects, gateway = [], only = [], secretNamespaces = [], version, settings }: Given): Plan {
  const info = version === undefined ? {} : { version };
  const documents = [connection(settings), service, ...objects].map((value, index) => ({
    where: `${index}`,
    value,
  }));
  const listing: GatewayListing =
    'kind' in gateway
      ? gateway
      : {
          kind: 'listed',
          canonical,
          read,
          info,
          upstreams: listed({ list: gateway, total: gateway.length }),
        };
  return makePlan({
    catalog: builtInCatalog,
    stores: storesOf(admit(documents, NOW).objects, secretNamespaces),
    onlyNamespaces: [],
    clusterId: 'c1',
    gateways: new Map([['default', listing]]),
    only,
    now: NOW,
  });
}

function only(given: Given): PlannedUpstream {
  const [entry, ...others] = plan(given).upstreams;
  expect(others).toEqual([]);
  if (entry === undefined) throw new Error('no entry');
  return entry;
}

const lines = (given: Given) => renderPlan(plan(given), 'text', false).split('\n');

describe('a GatewayConnection with a pattern that is too large for RE2', () => {
  it('changes nothing in the gateway, although the pattern could exclude the namespace', () => {
    const settings = { allowedNamespaces: { all: true, notMatch: ['(x{1,30}){1,30}'] } };
    const gateway = [held('shop.web', ['10.0.0.9'])];
    const entry = only({ settings, objects: [slice({ '10.0.0.1': ready }), upstream('web')], gateway });
    expect(entry).toMatchObject({
      action: 'None',
      nodes: [],
      conditions: [{ type: 'Accepted', status: 'False', reason: 'ConnectionNotFound' }],
    });
  });
});

describe('an object whose Namespace is unknown', () => {
  const settings = {
    allowedNamespaces: {
      selector: { matchExpressions: [{ key: 'restricted', operator: 'DoesNotExist' }] },
    },
  };
  const endpoints = slice({ '10.0.0.1': ready });
  const accepted = { type: 'Accepted', status: 'Unknown', reason: 'Pending' };

  it('creates nothing while a namespace label could forbid it', () => {
    const entry = only({ settings, objects: [endpoints, upstream('web')] });
    expect(entry).toMatchObject({ action: 'None', conditions: [accepted] });
  });

  it('keeps the nodes in the gateway', () => {
    const gateway = [held('shop.web', ['10.0.0.9'])];
    const entry = only({ settings, objects: [endpoints, upstream('web')], gateway });
    expect(entry).toMatchObject({ action: 'None', nodes: [], conditions: [accepted] });
  });

  it('is decided when the Namespace is known', () => {
    const namespace = (labels: object) => ({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'shop', labels },
    });
    const gateway = [held('shop.web', ['10.0.0.9'])];
    const objects = [endpoints, upstream('web')];
    expect(only({ settings, objects: [...objects, namespace({})] })).toMatchObject({ action: 'Create' });
    expect(
      only({ settings, objects: [...objects, namespace({ restricted: 'yes' })], gateway }),
    ).toMatchObject({ action: 'Update', conditions: [{ reason: 'NamespaceNotAllowed' }] });
  });
});

describe('a plan for an upstream of another client', () => {
  const adopting = { tenantPolicy: { upstreamIds: 'Any', adoption: 'Allow' } };
  const foreign = (nodes: readonly string[], value: object = {}) =>
    held('shop.web', nodes, { labels: undefined, ...value });
  const endpoints = slice({ '10.0.0.1': ready });
  const given = (spec: object, gateway: readonly object[], finalizers: readonly string[] = []): Given => ({
    settings: adopting,
    objects: [endpoints, upstream('web', spec, { finalizers })],
    gateway,
  });

  it('shows the changes of nodes but no fields', () => {
    const nodes = only(given({ manage: 'Nodes' }, [foreign(['10.0.0.9'], { retries: 7 })]));
    expect(nodes).toMatchObject({ action: 'Update', fields: [], conditions: [] });
    expect(nodes.why).toContain('manage Nodes');
    expect(nodes.nodes.map(({ kind, node }) => `${kind} ${node.host}`)).toEqual([
      'add 10.0.0.1',
      'remove 10.0.0.9',
    ]);
    expect(only(given({ manage: 'Nodes' }, [foreign(['10.0.0.1'], { retries: 7 })]))).toMatchObject({
      action: 'None',
      why: 'The gateway already has this configuration',
    });
  });

  it('shows missing upstreams and fields that prevent a take-over', () => {
    const programmed = (entry: PlannedUpstream) => [entry.action, entry.conditions[0]?.reason];
    expect(programmed(only(given({ manage: 'Nodes' }, [])))).toEqual(['None', 'UpstreamNotFound']);
    const discovered = foreign([], { nodes: undefined, service_name: 'a/b:c', discovery_type: 'kubernetes' });
    expect(programmed(only(given({ manage: 'Nodes' }, [discovered])))).toEqual(['None', 'UsesDiscovery']);
    const unstated = foreign(['10.0.0.1'], { retries: 7 });
    expect(programmed(only(given({ adoptionPolicy: 'IfUnowned' }, [unstated])))).toEqual([
      'None',
      'NotOwned',
    ]);
    expect(programmed(only(given({}, [foreign(['10.0.0.1'])])))).toEqual(['None', 'NotOwned']);
  });

  it('shows the changes of a take-over', () => {
    const entry = only(
      given({ adoptionPolicy: 'IfUnowned', retries: 2 }, [foreign(['10.0.0.1'], { retries: 7 })]),
    );
    expect(entry).toMatchObject({ action: 'Update', nodes: [], conditions: [] });
    expect(entry.why).toContain('takes it over');
    expect(entry.fields.map(({ field }) => field)).toEqual(['labels', 'retries']);
  });

  it('keeps guarded nodes of the operator but none of another client', () => {
    const gone = [foreign(['10.0.0.1', '10.0.0.7', '10.0.0.8', '10.0.0.9'])];
    expect(only(given({ manage: 'Nodes' }, gone)).held).toBeUndefined();
    expect(only(given({ manage: 'Nodes' }, gone, [UPSTREAM_FINALIZER])).held?.nodes).toHaveLength(3);
  });

  it('does not change the upstream of a deleted object', () => {
    const deleted = upstream(
      'web',
      { manage: 'Nodes' },
      { finalizers: [UPSTREAM_FINALIZER], deletionTimestamp: '2026-01-01T11:59:00Z' },
    );
    expect(
      only({ settings: adopting, objects: [endpoints, deleted], gateway: [foreign(['10.0.0.9'])] }),
    ).toMatchObject({
      action: 'None',
      why: 'The object is being deleted, and its upstream is retained: manage is Nodes',
    });
  });
});

describe('makePlan', () => {
  it('lists the nodes and fields of a new upstream', () => {
    const given = {
      objects: [slice({ '10.0.0.1': ready, '10.0.0.2': { ready: false } }), upstream('web', { retries: 2 })],
    };
    expect(only(given)).toMatchObject({
      connection: 'default',
      upstreamId: 'shop.web',
      object: { namespace: 'shop', name: 'web' },
      action: 'Create',
      nodes: [
        {
          kind: 'add',
          node: { host: '10.0.0.1', port: 8080, weight: 1, priority: 0 },
          why: 'ready in Service shop/web',
        },
      ],
      fields: [{ field: 'labels' }, { field: 'retries', before: undefined, after: 2 }],
      conditions: [],
    });
    expect(planExitCode(plan(given))).toBe(2);
  });

  describe('for a gateway that cannot reach Pods', () => {
    const ports = [{ name: 'http', port: 80, nodePort: 30080, appProtocol: 'https' }];
    const reached = (name: string, spec: object) => ({
      ...service,
      metadata: { namespace: 'shop', name },
      spec: { ports, ...spec },
    });
    const node = (name: string, address: string, status: 'True' | 'False') => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name },
      status: {
        conditions: [{ type: 'Ready', status }],
        addresses: [{ type: 'InternalIP', address }],
      },
    });
    const by = (name: string, addressing: object) =>
      upstream('web', { backends: [{ serviceRef: { name, port: 80 }, addressing }] });
    const endpoints = {
      ...slice({ '10.0.0.1': ready }),
      metadata: { namespace: 'shop', name: 'edge-1', labels: { 'kubernetes.io/service-name': 'edge' } },
    };
    const nodes = [node('n1', '192.0.2.1', 'True'), node('n2', '192.0.2.2', 'False')];
    const edge = reached('edge', { type: 'NodePort', clusterIP: '10.96.0.1' });

    it('explains for each node which Service uses it or why no Service does', () => {
      const byNodes = by('edge', { mode: 'Node' });
      const before = held('shop.web', ['192.0.2.2']);
      const gateway = [
        { ...before, value: { ...before.value, nodes: [{ host: '192.0.2.2', port: 30080, weight: 1 }] } },
      ];
      expect(only({ objects: [edge, endpoints, ...nodes, byNodes], gateway }).nodes).toMatchObject([
        { kind: 'add', node: { host: '192.0.2.1', port: 30080 }, why: 'node n1, for Service shop/edge' },
        { kind: 'remove', node: { host: '192.0.2.2' }, why: 'node n2 is not ready' },
      ]);
    });

    it('treats nodes as unknown when the files contain none', () => {
      expect(only({ objects: [edge, endpoints, by('edge', { mode: 'Node' })] })).toMatchObject({
        action: 'None',
        conditions: [{ type: 'ResolvedRefs', status: 'Unknown', reason: 'SourceUnavailable' }],
      });
    });

    it('names the Service of a DNS name and its protocol', () => {
      const { nodes: added, fields } = only({ objects: [edge, endpoints, by('edge', { mode: 'DNS' })] });
      expect(added).toMatchObject([
        { node: { host: 'edge.shop.svc.cluster.local', port: 80 }, why: 'address of Service shop/edge' },
      ]);
      expect(fields).toContainEqual({ field: 'scheme', before: undefined, after: 'https' });
    });

    it('names the ExternalName Service of a host that the connection allows', () => {
      const objects = [
        reached('outside', { type: 'ExternalName', externalName: 'db.example.com', ports: null }),
        upstream('web', {
          connectionRef: { name: 'open' },
          backends: [{ serviceRef: { name: 'outside', port: 3306 } }],
        }),
        connection({ tenantPolicy: { staticAddresses: 'Allow' } }, 'open'),
      ];
      const documents = [connection(), ...objects].map((value, index) => ({ where: `${index}`, value }));
      const { upstreams } = makePlan({
        catalog: builtInCatalog,
        stores: storesOf(admit(documents, NOW).objects),
        onlyNamespaces: [],
        clusterId: 'c1',
        gateways: new Map([['open', { kind: 'listed', canonical, read, info: {}, upstreams: new Map() }]]),
        only: [],
        now: NOW,
      });
      expect(upstreams[0]?.nodes).toMatchObject([
        {
          node: { host: 'db.example.com', port: 3306 },
          why: 'external name of Service shop/outside',
        },
      ]);
    });
  });

  it('is empty when the gateway already has the configuration', () => {
    const given = {
      objects: [slice({ '10.0.0.1': ready }), upstream('web')],
      gateway: [held('shop.web', ['10.0.0.1'])],
    };
    expect(only(given)).toMatchObject({
      action: 'None',
      why: 'The gateway already has this configuration',
      nodes: [],
      fields: [],
    });
    expect(planExitCode(plan(given))).toBe(0);
    expect(lines(given)).toEqual(['Plan: 0 to create, 0 to update, 0 to delete, 1 unchanged.', '']);
  });

  it('explains why each node is removed', () => {
    const entry = only({
      objects: [
        slice({
          '10.0.0.1': ready,
          '10.0.0.2': { ready: false },
          '10.0.0.3': { ready: false, terminating: true },
        }),
        upstream('web', { removalGuard: { maxRemovalPercent: 100 } }),
      ],
      gateway: [held('shop.web', ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.4'])],
    });
    expect(entry.nodes.map(({ kind, why }) => `${kind} ${why}`)).toEqual([
      'remove not ready in Service shop/web',
      'remove terminating in Service shop/web',
      'remove not listed by Service shop/web',
    ]);
  });

  it('shows the nodes that the removal guard keeps, with start and end', () => {
    const status = {
      conditions: [
        {
          type: 'RemovalHeld',
          status: 'True',
          reason: 'RemovalHeld',
          message: 'm',
          lastTransitionTime: '2026-01-01T11:58:00Z',
        },
      ],
    };
    const given = {
      objects: [slice({ '10.0.0.2': { ready: false } }), upstream('web', {}, {}, status)],
      gateway: [held('shop.web', ['10.0.0.1', '10.0.0.2'])],
    };
    expect(only(given)).toMatchObject({
      action: 'None',
      held: {
        nodes: [
          // When it vanished is not known, so its time begins now.
          { host: '10.0.0.1', why: 'not listed by Service shop/web' },
          { host: '10.0.0.2', why: 'not ready in Service shop/web' },
        ],
        since: '2026-01-01T11:58:00Z',
        until: '2026-01-01T12:00:30Z',
      },
    });
    expect(lines(given)).toContain(
      '    = 10.0.0.2:8080 is kept by the removal guard until 2026-01-01T12:00:30Z: not ready in Service shop/web',
    );
  });

  it('treats missing endpoints as vanished, because it has no history', () => {
    const { action, held: kept } = only({
      objects: [slice({}), upstream('web')],
      gateway: [held('shop.web', ['10.0.0.1'])],
    });
    expect(action).toBe('None');
    expect(kept).toMatchObject({ nodes: [{ host: '10.0.0.1' }], until: '2026-01-01T12:00:30Z' });
  });

  it('shows the changes of Sync for syncPolicy Observe but does not count them', () => {
    const given = { objects: [slice({ '10.0.0.1': ready }), upstream('web', { syncPolicy: 'Observe' })] };
    expect(only(given)).toMatchObject({ action: 'Observe', nodes: [{ kind: 'add' }] });
    expect(planExitCode(plan(given))).toBe(0);
  });

  it.each<[string, Given, object]>([
    [
      'not accepted',
      { objects: [upstream('web', { upstreamId: 'other' })] },
      { action: 'None', conditions: [{ type: 'Accepted', reason: 'IdNotAllowed' }] },
    ],
    [
      'not resolved',
      { objects: [upstream('web', { backends: [{ serviceRef: { name: 'none', port: 80 } }] })] },
      { action: 'None', conditions: [{ type: 'ResolvedRefs', reason: 'ServiceNotFound' }] },
    ],
    [
      'not the owner of its upstream',
      {
        objects: [slice({ '10.0.0.1': ready }), upstream('web')],
        gateway: [held('shop.web', [], { labels: {} })],
      },
      { action: 'None', conditions: [{ type: 'Programmed', reason: 'NotOwned' }] },
    ],
  ])('reports the condition of an object that is %s without an error', (_, given, expected) => {
    expect(only(given)).toMatchObject(expected);
    expect(plan(given).summary.problems).toBe(1);
    expect(planExitCode(plan(given))).toBe(0);
  });

  it('stops the traffic of an object that is no longer accepted', () => {
    const entry = only({
      objects: [slice({ '10.0.0.1': ready }), upstream('web', { upstreamId: 'other' })],
      gateway: [held('other', ['10.0.0.1'])],
    });
    expect(entry).toMatchObject({
      action: 'Update',
      why: 'The object is no longer accepted, so the operator removes all nodes from its upstream',
      nodes: [{ kind: 'remove', why: 'the object is not accepted' }],
    });
  });

  it('repairs an upstream without ownership labels despite an id conflict with an older object', () => {
    const own = upstream('web', { upstreamId: 'shop.x' }, {}, { upstreamCreateTime: '2026-01-01T00:00:00Z' });
    const older = upstream('older', { upstreamId: 'shop.x' }, { creationTimestamp: '2025-01-01T00:00:00Z' });
    const { upstreams } = plan({
      objects: [slice({ '10.0.0.1': ready }), own, older],
      gateway: [
        held('shop.x', ['10.0.0.1'], { labels: {}, create_time: Date.parse('2026-01-01T00:00:00Z') / 1000 }),
      ],
    });
    expect(upstreams).toMatchObject([
      { object: { name: 'older' }, action: 'None', conditions: [{ reason: 'IdTaken' }] },
      { object: { name: 'web' }, action: 'Update', nodes: [], fields: [{ field: 'labels' }] },
    ]);
  });

  const leaving = { deletionTimestamp: '2026-01-01T11:00:00Z', finalizers: [UPSTREAM_FINALIZER] };
  it.each<[string, object, object, object]>([
    ['Delete', {}, leaving, { action: 'Delete', nodes: [{ kind: 'remove' }] }],
    ['Force', { deletionPolicy: 'Force' }, leaving, { action: 'Delete', nodes: [{ kind: 'remove' }] }],
    [
      'Orphan',
      { deletionPolicy: 'Orphan' },
      leaving,
      { action: 'Update', nodes: [], fields: [{ field: 'labels' }] },
    ],
    ['UpsertOnly', { syncPolicy: 'UpsertOnly' }, leaving, { action: 'Update', nodes: [] }],
    ['Observe', { syncPolicy: 'Observe' }, leaving, { action: 'None' }],
    ['no finalizer', {}, { ...leaving, finalizers: [] }, { action: 'None' }],
  ])('plans the deletion of an object with %s', (_, spec, metadata, expected) => {
    const entry = only({
      objects: [upstream('web', spec, metadata)],
      gateway: [held('shop.web', ['10.0.0.1'])],
    });
    expect(entry).toMatchObject(expected);
  });

  it('deletes orphaned upstreams unless they are retained', () => {
    const gateway = [
      held('shop.gone', ['10.0.0.1'], {}, { name: 'gone' }),
      held('theirs', [], { labels: {} }),
    ];
    expect(only({ objects: [], gateway })).toMatchObject({
      upstreamId: 'shop.gone',
      object: { namespace: 'shop', name: 'gone' },
      action: 'Delete',
      nodes: [{ kind: 'remove', node: { host: '10.0.0.1' } }],
    });
    const stores = storesOf(
      admit([{ where: '', value: { ...connection(), status: { leftBehind: ['shop.gone'] } } }], NOW).objects,
    );
    const gateways = new Map([
      [
        'default',
        {
          kind: 'listed' as const,
          canonical,
          info: {},
          read,
          upstreams: listed({ list: gateway, total: gateway.length }),
        },
      ],
    ]);
    expect(
      makePlan({
        catalog: builtInCatalog,
        stores,
        onlyNamespaces: [],
        clusterId: 'c1',
        gateways,
        only: [],
        now: NOW,
      }).upstreams,
    ).toEqual([]);
  });

  it('has exit code 1 if a gateway cannot be listed', () => {
    const given: Given = { objects: [upstream('web')], gateway: { kind: 'failed', message: 'it is down' } };
    expect(only(given)).toMatchObject({ action: 'Unknown' });
    expect(plan(given).gateways).toEqual([{ connection: 'default', known: false, message: 'it is down' }]);
    expect(planExitCode(plan(given))).toBe(1);
    expect(lines(given)[0]).toBe('! GatewayConnection default: it is down');
  });

  it('shows only the selected objects, sorted', () => {
    const objects = [upstream('web'), upstream('api'), upstream('web', {}, { namespace: 'bank' })];
    const names = (...asked: readonly string[]) =>
      plan({ objects, only: asked }).upstreams.map(({ object }) => `${object.namespace}/${object.name}`);
    expect(names()).toEqual(['bank/web', 'shop/api', 'shop/web']);
    expect(names('shop')).toEqual(['shop/api', 'shop/web']);
    expect(names('shop/web', 'bank/web')).toEqual(['bank/web', 'shop/web']);
  });
});

describe('renderPlan', () => {
  const secret = {
    tls: { client_key: 'hush', ticket_key: 'hush', client_cert: 'cert' },
    checks: { active: { req_headers: ['Authorization: hush'], http_path: '/live' } },
    desc: 'a\u001b[31m\nb',
  };
  const given = {
    objects: [slice({ '10.0.0.1': ready, '10.0.0.9': ready }), upstream('web', { retries: 3 })],
    gateway: [held('shop.web', ['10.0.0.1'], { retries: 1, ...secret })],
  };

  it.each(['text', 'json', 'yaml'] as const)('shows no secret as %s', (output) => {
    const printed = renderPlan(plan(given), output, false);
    expect(printed).not.toContain('hush');
    expect(printed).toContain('(not shown)');
    expect(printed).toContain('/live');
  });

  it('prints a sign per change as text and escapes control characters', () => {
    expect(lines(given)).toEqual([
      'shop/web (connection default, upstream shop.web)',
      '  ~ update: The upstream in the gateway differs',
      '    + 10.0.0.9:8080 weight 1  (ready in Service shop/web)',
      '    - checks: {"active":{"http_path":"/live","req_headers":"(not shown)"}}',
      '    - desc: "a\\u001b[31m\\nb"',
      '    ~ retries: 1 -> 3',
      '    - tls: {"client_cert":"cert","ticket_key":"(not shown)"}',
      'Plan: 0 to create, 1 to update, 0 to delete, 0 unchanged.',
      '',
    ]);
    const strange = held('shop.gone', ['10.0.0.1\u001b[2J'], {}, { name: 'gone' });
    expect(renderPlan(plan({ objects: [], gateway: [strange] }), 'text', false)).not.toContain('\u001b');
  });

  it('prints colors if enabled', () => {
    const colored = renderPlan(plan(given), 'text', true);
    expect(colored).toContain('\u001b[32m    + 10.0.0.9:8080');
    expect(colored).toContain('\u001b[31m    - tls');
    expect(renderPlan(plan(given), 'json', true)).toBe(renderPlan(plan(given), 'json', false));
  });

  it('prints the documented JSON', () => {
    const parsed = JSON.parse(renderPlan(plan(given), 'json', false)) as Plan;
    expect(Object.keys(parsed)).toEqual(['summary', 'gateways', 'registries', 'upstreams']);
    expect(parsed.summary).toEqual({
      create: 0,
      update: 1,
      delete: 0,
      none: 0,
      observe: 0,
      unknown: 0,
      problems: 0,
    });
    expect(Object.keys(parsed.upstreams[0] ?? {})).toEqual([
      'connection',
      'upstreamId',
      'object',
      'action',
      'why',
      'nodes',
      'fields',
      'conditions',
    ]);
  });
});

describe('a reference into another namespace', () => {
  const elsewhere = upstream('cross', {
    backends: [{ serviceRef: { name: 'web', namespace: 'bank', port: 80 } }],
  });
  const grant = (version: string) => ({
    apiVersion: `gateway.networking.k8s.io/${version}`,
    kind: 'ReferenceGrant',
    metadata: { name: 'shop', namespace: 'bank' },
    spec: {
      from: [{ group: 'gatewayupstream.dev', kind: 'GatewayUpstream', namespace: 'shop' }],
      to: [{ group: '', kind: 'Service' }],
    },
  });

  it('is not permitted without a ReferenceGrant', () => {
    expect(only({ objects: [elsewhere] }).conditions).toContainEqual(
      expect.objectContaining({ type: 'ResolvedRefs', reason: 'RefNotPermitted' }),
    );
  });

  it.each(['v1', 'v1beta1'])('is permitted by a ReferenceGrant of version %s', (version) => {
    expect(only({ objects: [elsewhere, grant(version)] }).conditions).toContainEqual(
      expect.objectContaining({ type: 'ResolvedRefs', reason: 'ServiceNotFound' }),
    );
  });
});

describe('a client certificate', () => {
  const authority = createCertificateAuthority();
  const { certPem, keyPem } = authority.issue({ commonName: 'client', hosts: [], usage: 'client' });
  const secret = (data: object = { 'tls.crt': certPem, 'tls.key': keyPem }) => ({
    apiVersion: 'v1',
    kind: 'Secret',
    type: 'kubernetes.io/tls',
    metadata: { namespace: 'shop', name: 'client' },
    stringData: data,
  });
  const spec = { scheme: 'HTTPS', tls: { clientCertificateSecretRef: { name: 'client' } } };
  const secretNamespaces = ['shop'];
  const before = held('shop.web', ['10.0.0.1'], { tls: { client_cert: 'old', client_key: 'encrypted' } });

  it('is planned without showing its key', () => {
    const made = plan({ objects: [upstream('web', spec), slice({}), secret()], secretNamespaces });
    expect(made.upstreams[0]).toMatchObject({ action: 'Create' });
    const tls = made.upstreams[0]?.fields.find(({ field }) => field === 'tls');
    expect(tls?.after).toEqual({ client_cert: certPem, verify: false });
    const shown = (['text', 'json', 'yaml'] as const).map((output) => renderPlan(made, output, false)).join();
    expect(shown).toContain(certPem.split('\n')[1]);
    expect(shown).not.toContain(keyPem.split('\n')[1]);
  });

  it.each<[string, Partial<Given>, object]>([
    [
      'a Secret in a namespace that secretNamespaces does not list',
      { objects: [secret()], secretNamespaces: ['blog'] },
      {
        reason: 'RefNotPermitted',
        message: expect.stringContaining(
          "Secret shop/client cannot be read because secretNamespaces in the operator's configuration does not include shop",
        ),
      },
    ],
    [
      'a missing Secret',
      {},
      {
        reason: 'SecretNotFound',
        message: expect.stringContaining('Secret shop/client of type kubernetes.io/tls does not exist'),
      },
    ],
    [
      'a Secret without a key',
      { objects: [secret({ 'tls.crt': certPem })] },
      { reason: 'SecretNotFound', message: expect.stringContaining('Secret shop/client has no tls.key') },
    ],
  ])('leaves the gateway unchanged with %s', (_, given, condition) => {
    const objects = [upstream('web', spec), slice({ '10.0.0.2': ready }), ...(given.objects ?? [])];
    const { action, why, conditions } = only({
      secretNamespaces,
      ...given,
      objects,
      gateway: [before],
    });
    expect([action, why]).toEqual(['None', "The gateway's current configuration is unchanged"]);
    expect(conditions).toEqual([
      expect.objectContaining({ type: 'ResolvedRefs', status: 'False', ...condition }),
    ]);
  });

  it('is unchanged on a retained upstream', () => {
    const leaving = upstream(
      'web',
      { ...spec, deletionPolicy: 'Orphan' },
      { finalizers: [UPSTREAM_FINALIZER], deletionTimestamp: '2026-01-01T00:00:00Z' },
    );
    // Only the labels are written, so the other fields of the spec may be unknown.
    for (const objects of [[leaving, secret()], [leaving]]) {
      const { action, nodes, fields } = only({ objects, secretNamespaces, gateway: [before] });
      expect({ action, nodes, fields: fields.map(({ field }) => field) }).toEqual({
        action: 'Update',
        nodes: [],
        fields: ['labels'],
      });
    }
  });
});

describe('a field that the version of the gateway does not support', () => {
  const labeled = upstream('web', { labels: { team: 'a'.repeat(65) } });
  const endpoints = slice({ '10.0.0.2': ready });

  it.each(['3.4.0', undefined])('is written to %s', (version) => {
    expect(
      only({ objects: [labeled, endpoints], ...(version === undefined ? {} : { version }) }),
    ).toMatchObject({ action: 'Create', conditions: [] });
  });

  it.each([
    ['an existing upstream', [held('shop.web', ['10.0.0.1'])], 'The object is not accepted'],
    ['no upstream', [], 'The object is not accepted'],
    ['an upstream without an owner', [held('shop.web', [], { labels: {} })], 'The object is not accepted'],
  ])('changes nothing in an older version with %s', (_, gateway, why) => {
    expect(only({ objects: [labeled, endpoints], gateway, version: '3.3.0' })).toMatchObject({
      action: 'None',
      why,
      conditions: [
        {
          type: 'Accepted',
          status: 'False',
          reason: 'UnsupportedField',
          message:
            "spec.labels[team] cannot be used because APISIX 3.3.0 accepts label values of at most 64 characters (changed in 3.4.0): change the spec, or upgrade the gateway; until then, the gateway's current configuration is unchanged, including its nodes",
        },
      ],
    });
  });

  it('does not prevent the removal of traffic that is no longer allowed', () => {
    const { action, nodes, fields, conditions } = only({
      objects: [labeled, endpoints],
      settings: { allowedNamespaces: { names: ['blog'] } },
      gateway: [held('shop.web', ['10.0.0.1'])],
      version: '3.3.0',
    });
    expect(conditions[0]).toMatchObject({ type: 'Accepted', reason: 'NamespaceNotAllowed' });
    expect(action).toBe('Update');
    expect(nodes).toMatchObject([{ kind: 'remove', node: { host: '10.0.0.1' } }]);
    expect(fields).toEqual([]);
  });
});

describe('--gateway-state', () => {
  const connectionsOf = (...names: readonly string[]) => [
    ...storesOf(
      admit(
        names.map((name) => ({ where: name, value: connection({}, name) })),
        NOW,
      ).objects,
    ).connections.list(),
  ];
  const ids = (listing: GatewayListing | undefined) =>
    listing?.kind === 'listed'
      ? [...listing.upstreams.values()].map(({ id }: ObservedUpstream) => id)
      : listing;

  it('assigns a list to the only GatewayConnection', () => {
    const listings = parseListings(vendorOf, { list: [held('a', [])], total: 1 }, 'f', connectionsOf('blue'));
    expect(ids(listings.get('blue'))).toEqual(['a']);
    expect(
      ids(parseListings(vendorOf, { list: {}, total: 0 }, 'f', connectionsOf('blue')).get('blue')),
    ).toEqual([]);
  });

  it('accepts one list per GatewayConnection and treats a missing list as unknown', () => {
    const listings = parseListings(
      vendorOf,
      { blue: { list: [held('a', [])], total: 1 } },
      'f',
      connectionsOf('blue', 'list'),
    );
    expect(ids(listings.get('blue'))).toEqual(['a']);
    expect(listings.get('list')).toEqual({
      kind: 'failed',
      message: 'f contains no list for this GatewayConnection: add one under the key list',
    });
    expect(
      ids(
        parseListings(
          vendorOf,
          { list: { list: [held('b', [])], total: 1 } },
          'f',
          connectionsOf('list'),
        ).get('list'),
      ),
    ).toEqual(['b']);
  });

  it.each<[unknown, readonly string[], string]>([
    [[], ['blue'], 'f contains no list of upstreams: expected the response of GET /apisix/admin/upstreams'],
    [
      { list: [] },
      ['blue', 'green'],
      'f contains the list of one gateway, but there are 2 GatewayConnections',
    ],
    [{ red: { list: [] } }, ['blue'], 'f contains a list for GatewayConnection red, which does not exist'],
    [{ blue: { error: 1 } }, ['blue'], 'f, list of blue: '],
    [{ list: [held('a', [])], total: 12 }, ['blue'], 'The list of the gateway contains only 1 of 12 objects'],
  ])('rejects %j', (state, names, message) => {
    expect(() => parseListings(vendorOf, state, 'f', connectionsOf(...names))).toThrow(message);
  });
});
