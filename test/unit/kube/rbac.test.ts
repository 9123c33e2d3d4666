import { describe, expect, it } from 'vitest';
import { describePermission } from '../../../src/kube/permissions.ts';
import { permissionsOf, rbacObjects } from '../../support/catalog.ts';

interface RoleObject {
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
  readonly rules?: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly resourceNames?: readonly string[];
    readonly verbs: readonly string[];
  }[];
  readonly roleRef?: { readonly kind: string; readonly name: string };
  readonly subjects?: readonly object[];
}

const cases = [
  ['all namespaces', { namespace: 'own' }],
  ['no leader election', { namespace: 'own', leaderElection: false }],
  ['another lease name', { namespace: 'own', leaseName: 'lease' }],
  ['two namespaces', { namespace: 'own', namespaces: ['a', 'b'] }],
  ['its own namespace', { namespace: 'own', namespaces: ['own'] }],
  ['Secrets of two namespaces', { namespace: 'own', secretNamespaces: ['a', 'own', 'a'] }],
  ['Secrets of one of two namespaces', { namespace: 'own', namespaces: ['a', 'b'], secretNamespaces: ['b'] }],
  ['namespace default', { namespace: 'own', namespaces: ['default'] }],
  ['nodes and Endpoints', { namespace: 'own', watchNodes: true, readEndpoints: true }],
  [
    'nodes and Endpoints in two namespaces',
    { namespace: 'own', namespaces: ['a', 'b'], watchNodes: true, readEndpoints: true },
  ],
  ['no registries', { namespace: 'own', watchRegistries: false }],
] as const;

describe('RBAC', () => {
  it.each(cases)('grants exactly the needed permissions for %s', (_, options) => {
    const objects = rbacObjects(options) as readonly RoleObject[];
    const granted = objects.flatMap(({ kind, metadata, rules = [] }) =>
      rules.flatMap(({ apiGroups, resources, resourceNames = [''], verbs }) =>
        apiGroups.flatMap((group) =>
          resources.flatMap((resource) =>
            resourceNames.flatMap((name) =>
              verbs.map((verb) =>
                [kind, metadata.namespace, metadata.name, group, resource, name, verb].join(),
              ),
            ),
          ),
        ),
      ),
    );
    const asked = permissionsOf(options).map((permission) => {
      const { grantedBy, group, resource, subresource, name = '', verb, namespace } = permission;
      expect(namespace).toBe(grantedBy.namespace);
      const full = subresource === undefined ? resource : `${resource}/${subresource}`;
      return [grantedBy.kind, grantedBy.namespace, grantedBy.name, group, full, name, verb].join();
    });
    expect(new Set(asked).size).toBe(asked.length);
    expect(asked.toSorted()).toEqual(granted.toSorted());
  });

  it.each(cases)('binds every role to the ServiceAccount for %s', (_, options) => {
    const objects = rbacObjects(options) as readonly RoleObject[];
    const key = ({ kind, metadata: { namespace, name } }: RoleObject) => `${kind} ${namespace} ${name}`;
    expect(new Set(objects.map(key)).size).toBe(objects.length);
    const roles = objects.filter(({ rules }) => rules !== undefined);
    const bindings = objects.filter(({ roleRef }) => roleRef !== undefined);
    expect(
      bindings.map(({ metadata, roleRef }) => [metadata.namespace, roleRef?.kind, roleRef?.name]),
    ).toEqual(roles.map(({ kind, metadata }) => [metadata.namespace, kind, metadata.name]));
    for (const { subjects } of bindings) {
      expect(subjects).toEqual([
        { kind: 'ServiceAccount', name: 'gateway-upstream-operator', namespace: 'own' },
      ]);
    }
  });

  it('grants cluster-wide access only to cluster-scoped kinds if namespaces are configured', () => {
    const everywhere = permissionsOf({ namespace: 'own', namespaces: ['a', 'b'] }).filter(
      ({ namespace }) => namespace === undefined,
    );
    expect([...new Set(everywhere.map(({ resource }) => resource))]).toEqual([
      'gatewayconnections',
      'gatewayupstreamsets',
      'namespaces',
      'serviceregistries',
    ]);
  });

  it.each([
    [{ watchNodes: true }, ['nodes']],
    [{ readEndpoints: true }, ['endpoints']],
    [{ watchNodes: true, readEndpoints: true }, ['nodes', 'endpoints']],
  ])('adds only list and watch permissions for %o', (switches, resources) => {
    const options = { namespace: 'own', namespaces: ['a'] };
    const without = new Set(permissionsOf(options).map(describePermission));
    const more = permissionsOf({ ...options, ...switches }).filter(
      (permission) => !without.has(describePermission(permission)),
    );
    expect(more.map(describePermission)).toEqual(
      resources.flatMap((resource) => [`list ${resource}`, `watch ${resource}`]),
    );
    for (const { resource, namespace } of more) {
      expect(namespace).toBe(resource === 'nodes' ? undefined : 'a');
    }
  });

  it('grants no permission for registries if they are disabled', () => {
    const ofRegistries = (watchRegistries: boolean) =>
      permissionsOf({ namespace: 'own', watchRegistries }).filter(
        ({ resource }) => resource === 'serviceregistries',
      );
    expect(ofRegistries(true).map(({ verb, subresource }) => [verb, subresource])).toEqual([
      ['list', undefined],
      ['watch', undefined],
      ['patch', 'status'],
    ]);
    // CRDs of an older release lack the kind.
    expect(ofRegistries(true).every(({ optional }) => optional === true)).toBe(true);
    expect(ofRegistries(false)).toEqual([]);
  });

  it('grants access to Secrets only in configured namespaces, and writes only to its own kinds, Events and its Lease', () => {
    for (const [, options] of cases) {
      const permissions = permissionsOf(options);
      const secrets = permissions.filter(({ resource }) => resource === 'secrets');
      const named = 'secretNamespaces' in options ? [...new Set<string>(options.secretNamespaces)] : [];
      expect(
        secrets.map(({ grantedBy, namespace, verb }) => `${grantedBy.name} ${namespace} ${verb}`),
      ).toEqual(
        ['list', 'watch']
          .map((verb) => `gateway-upstream-operator own ${verb}`)
          .concat(
            named.flatMap((one) =>
              ['list', 'watch'].map((verb) => `gateway-upstream-operator-secrets ${one} ${verb}`),
            ),
          ),
      );
      const writes = permissions.filter(({ verb }) => !['get', 'list', 'watch'].includes(verb));
      expect(new Set(writes.map(describePermission))).toEqual(
        new Set([
          'patch gatewayconnections.gatewayupstream.dev',
          'patch gatewayconnections.gatewayupstream.dev/status',
          'patch gatewayupstreams.gatewayupstream.dev',
          'patch gatewayupstreams.gatewayupstream.dev/status',
          'create gatewayupstreams.gatewayupstream.dev',
          'delete gatewayupstreams.gatewayupstream.dev',
          'patch gatewayupstreamsets.gatewayupstream.dev/status',
          ...('watchRegistries' in options ? [] : ['patch serviceregistries.gatewayupstream.dev/status']),
          'create events.events.k8s.io',
          ...('leaderElection' in options
            ? []
            : [
                `update leases.coordination.k8s.io ${'leaseName' in options ? options.leaseName : 'gateway-upstream-operator'}`,
                'create leases.coordination.k8s.io',
              ]),
        ]),
      );
    }
  });
});
