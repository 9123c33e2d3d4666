import {
  CUSTOM_RESOURCES,
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
} from '../api/crd.ts';
import { GROUP, OPERATOR } from '../api/group.ts';
import type { FollowedKind } from '../model/followed-resource.ts';
import type { Permission, RoleName } from './permissions.ts';

export interface RbacOptions {
  /** Namespace of the operator, and of the Secrets that GatewayConnections refer to. */
  readonly namespace: string;
  /** The watched namespaces. Empty, the default: all. */
  readonly namespaces?: readonly string[];
  /** Namespaces in which GatewayUpstreams may refer to Secrets. Empty, the default: none. */
  readonly secretNamespaces?: readonly string[];
  /** `leaderElection.enabled` of the configuration; true by default. */
  readonly leaderElection?: boolean;
  /** `leaderElection.leaseName` of the configuration; the default is the same. */
  readonly leaseName?: string;
  /** `watchNodes` of the configuration; false by default. */
  readonly watchNodes?: boolean;
  /** `readEndpoints` of the configuration; false by default. */
  readonly readEndpoints?: boolean;
  /** `watchRegistries` of the configuration; true by default. */
  readonly watchRegistries?: boolean;
  /** Name of the ClusterRole and the Roles, if they were not created by `install`. */
  readonly roleName?: string;
}

export interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

interface Rule {
  readonly policy: PolicyRule;
  /** What may be out of date without the permission. */
  readonly affects: Permission['affects'];
  readonly optional?: true;
}

interface Role extends RoleName {
  readonly rules: readonly Rule[];
}

/** Namespace in which Kubernetes stores Events about cluster-scoped objects. */
const EVENTS_NAMESPACE = 'default';

const rule = (
  group: string,
  resource: string,
  verbs: readonly string[],
  affects: Rule['affects'] = 'everything',
): Rule => ({ policy: { apiGroups: [group], resources: [resource], verbs }, affects });

const EVENTS = rule('events.k8s.io', 'events', ['create'], 'connections');

/** The rules for watched kinds. */
function rulesFor(kinds: readonly FollowedKind[]): readonly Rule[] {
  return kinds.flatMap(({ group, plural, optional, permissions }) =>
    permissions.map(
      ({ subresource, verbs, affects }): Rule => ({
        ...rule(group, subresource === undefined ? plural : `${plural}/${subresource}`, verbs, affects),
        ...(optional === undefined ? {} : { optional }),
      }),
    ),
  );
}

/** The rules for the kinds that a boolean field of the configuration enables. */
export function switchedRules(
  kinds: readonly FollowedKind[],
  enabledBy: NonNullable<FollowedKind['enabledBy']>,
): readonly PolicyRule[] {
  return rulesFor(kinds.filter((kind) => kind.enabledBy === enabledBy)).map(({ policy }) => policy);
}

/**
 * The rules for the kinds of one scope: `always` for the kinds that are always watched, `switched` for those that `options`
 * enable.
 */
function scopeRules(
  kinds: readonly FollowedKind[],
  scope: FollowedKind['scope'],
  options: RbacOptions,
): { readonly always: readonly Rule[]; readonly switched: readonly Rule[] } {
  const found = kinds.filter((kind) => kind.scope === scope && kind.within === undefined);
  const { watchRegistries = true, ...switches } = options;
  const enabled = { watchRegistries, ...switches };
  return {
    always: rulesFor(found.filter(({ enabledBy }) => enabledBy === undefined)),
    switched: rulesFor(
      found.filter(({ enabledBy }) => enabledBy !== undefined && enabled[enabledBy] === true),
    ),
  };
}

/** The rules for the operator's own namespace: Secrets with admin keys and certificates, and its Lease. */
function ownRules(
  kinds: readonly FollowedKind[],
  { leaderElection = true, leaseName = OPERATOR }: RbacOptions,
): readonly Rule[] {
  const secrets = rulesFor(kinds.filter(({ within }) => within === 'operatorNamespace'));
  if (!leaderElection) return secrets;
  const lease = (verbs: readonly string[]) => rule('coordination.k8s.io', 'leases', verbs, 'connections');
  const named = lease(['get', 'update']);
  return [
    ...secrets,
    { ...named, policy: { ...named.policy, resourceNames: [leaseName] } },
    // RBAC cannot restrict `create` to an object name.
    lease(['create']),
  ];
}

function rolesOf(kinds: readonly FollowedKind[], options: RbacOptions): readonly Role[] {
  const { namespace, namespaces = [], secretNamespaces = [], roleName: name = OPERATOR } = options;
  const own: Role = { kind: 'Role', name, namespace, rules: ownRules(kinds, options) };
  const certificateRules = rulesFor(kinds.filter(({ within }) => within === 'secretNamespaces'));
  const certificates = [...new Set(secretNamespaces)].map(
    (one): Role => ({ kind: 'Role', name: `${name}-secrets`, namespace: one, rules: certificateRules }),
  );
  const cluster = scopeRules(kinds, 'Cluster', options);
  const namespaced = scopeRules(kinds, 'Namespaced', options);
  if (namespaces.length === 0) {
    // Switched rules come last, in the same order as in the chart.
    const rules = [
      ...cluster.always,
      ...namespaced.always,
      EVENTS,
      ...cluster.switched,
      ...namespaced.switched,
    ];
    return [{ kind: 'ClusterRole', name, rules }, own, ...certificates];
  }
  const watched = [...new Set(namespaces)];
  const roles: Role[] = [
    { kind: 'ClusterRole', name, rules: [...cluster.always, ...cluster.switched] },
    own,
    ...certificates,
    // A separate name, because the operator's namespace may be among them and has a Role already.
    ...watched.map(
      (one): Role => ({
        kind: 'Role',
        name: `${name}-namespace`,
        namespace: one,
        rules: [...namespaced.always, EVENTS, ...namespaced.switched],
      }),
    ),
  ];
  if (!watched.includes(EVENTS_NAMESPACE)) {
    roles.push({ kind: 'Role', name: `${name}-events`, namespace: EVENTS_NAMESPACE, rules: [EVENTS] });
  }
  return roles;
}

/** The operator's ServiceAccount, roles and bindings, in the order in which `install` applies them. */
export function rbacObjects(kinds: readonly FollowedKind[], options: RbacOptions): readonly object[] {
  const labels = { 'app.kubernetes.io/name': OPERATOR, 'app.kubernetes.io/managed-by': OPERATOR };
  const subjects = [{ kind: 'ServiceAccount', name: OPERATOR, namespace: options.namespace }];
  const apiGroup = 'rbac.authorization.k8s.io';
  const apiVersion = `${apiGroup}/v1`;
  return [
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: OPERATOR, namespace: options.namespace, labels },
    },
    ...rolesOf(kinds, options).flatMap(({ kind, name, namespace, rules }) => {
      const metadata = { name, ...(namespace === undefined ? {} : { namespace }), labels };
      return [
        { apiVersion, kind, metadata, rules: rules.map(({ policy }) => policy) },
        { apiVersion, kind: `${kind}Binding`, metadata, roleRef: { apiGroup, kind, name }, subjects },
      ];
    }),
  ];
}

/** All permissions that the operator needs, each with the role that should grant it. */
export function permissionsOf(kinds: readonly FollowedKind[], options: RbacOptions): readonly Permission[] {
  return rolesOf(kinds, options).flatMap(({ kind, name, namespace, rules }) =>
    rules.flatMap(({ policy, affects, optional }) =>
      policy.apiGroups.flatMap((group) =>
        policy.resources.flatMap((path) =>
          (policy.resourceNames ?? [undefined]).flatMap((objectName) =>
            policy.verbs.map((verb): Permission => {
              const [resource = '', subresource] = path.split('/');
              const where = namespace === undefined ? {} : { namespace };
              return {
                verb,
                group,
                resource,
                ...(subresource === undefined ? {} : { subresource }),
                ...(objectName === undefined ? {} : { name: objectName }),
                ...where,
                affects,
                ...(optional === undefined ? {} : { optional }),
                grantedBy: { kind, name, ...where },
              };
            }),
          ),
        ),
      ),
    ),
  );
}

/** The settings of the operator's configuration that determine which permissions it needs. */
export interface OperatorSettings {
  readonly operatorNamespace: string;
  readonly namespaces: readonly string[];
  readonly secretNamespaces: readonly string[];
  readonly leaderElection: { readonly enabled: boolean; readonly leaseName: string };
  readonly roleName: string;
  readonly watchNodes: boolean;
  readonly readEndpoints: boolean;
  readonly watchRegistries: boolean;
}

/** All permissions that an operator with this configuration needs. */
export function permissionsNeeded(
  kinds: readonly FollowedKind[],
  { operatorNamespace: namespace, leaderElection, ...settings }: OperatorSettings,
): readonly Permission[] {
  const { namespaces, secretNamespaces, roleName, watchNodes, readEndpoints, watchRegistries } = settings;
  return permissionsOf(kinds, {
    namespace,
    leaderElection: leaderElection.enabled,
    leaseName: leaderElection.leaseName,
    namespaces,
    secretNamespaces,
    roleName,
    watchNodes,
    readEndpoints,
    watchRegistries,
  });
}

/** Cluster-wide permissions that `install --crds-only` needs. */
export const CRDS_ONLY_RULES: readonly PolicyRule[] = [
  {
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    resourceNames: CUSTOM_RESOURCES.map(({ plural }) => `${plural}.${GROUP}`),
    verbs: ['get', 'patch'],
  },
  // Server-side apply creates missing CRDs.
  { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: ['create'] },
];

/** Permissions that `uninstall` needs in the operator's namespace to take over its Lease. */
export function leaseRules(leaseName: string): readonly PolicyRule[] {
  return [
    {
      apiGroups: ['coordination.k8s.io'],
      resources: ['leases'],
      resourceNames: [leaseName],
      verbs: ['get', 'update', 'patch', 'delete'],
    },
  ];
}

/** Cluster-wide permissions that `uninstall --keep-crds --keep-rbac` needs, for every way to handle finalizers. */
export const RELEASE_RULES: readonly PolicyRule[] = [
  {
    apiGroups: [GROUP],
    resources: [GATEWAY_UPSTREAM.plural],
    verbs: ['get', 'list', 'patch', 'delete'],
  },
  { apiGroups: [GROUP], resources: [GATEWAY_CONNECTION.plural], verbs: ['get', 'list', 'patch'] },
  { apiGroups: [GROUP], resources: [GATEWAY_UPSTREAM_SET.plural], verbs: ['list', 'patch', 'delete'] },
  { apiGroups: [GROUP], resources: [SERVICE_REGISTRY.plural], verbs: ['list'] },
  // `uninstall` sets a condition on each object: the operator is uninstalled.
  {
    apiGroups: [GROUP],
    resources: CUSTOM_RESOURCES.map(({ plural }) => `${plural}/status`),
    verbs: ['patch'],
  },
];
