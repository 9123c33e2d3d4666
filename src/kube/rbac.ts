import { CUSTOM_RESOURCES, GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET } from '../api/crd.ts';
import { GROUP, OPERATOR } from '../api/group.ts';
import type { FollowedKind } from '../model/followed-resource.ts';
import type { Permission, RoleName } from './permissions.ts';

export interface RbacOptions {
  /** Namespace of the operator and of the Secrets that connections refer to. */
  readonly namespace: string;
  /** The only namespaces that the operator looks at. Empty, the default: all. */
  readonly namespaces?: readonly string[];
  /** The namespaces whose Secrets GatewayUpstreams may refer to. Empty, the default: none. */
  readonly secretNamespaces?: readonly string[];
  /** `leaderElection.enabled` of the configuration; true by default. */
  readonly leaderElection?: boolean;
  /** `leaderElection.leaseName` of the configuration; by default what that is by default. */
  readonly leaseName?: string;
  /** `watchNodes` of the configuration; false by default. */
  readonly watchNodes?: boolean;
  /** `readEndpoints` of the configuration; false by default. */
  readonly readEndpoints?: boolean;
  /** Of ClusterRole and Roles, where somebody else than `install` made them. */
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
  /** What stops being right without it: the upstreams too, or only what the platform team looks at. */
  readonly affects: Permission['affects'];
  readonly optional?: true;
}

interface Role extends RoleName {
  readonly rules: readonly Rule[];
}

/** Where Kubernetes takes Events about cluster-scoped objects. */
const EVENTS_NAMESPACE = 'default';

const rule = (
  group: string,
  resource: string,
  verbs: readonly string[],
  affects: Rule['affects'] = 'everything',
): Rule => ({ policy: { apiGroups: [group], resources: [resource], verbs }, affects });

const EVENTS = rule('events.k8s.io', 'events', ['create'], 'connections');

/** The rules for kinds that are followed. */
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

/** The rules for the kinds that a switch of the configuration includes. */
export function switchedRules(
  kinds: readonly FollowedKind[],
  enabledBy: NonNullable<FollowedKind['enabledBy']>,
): readonly PolicyRule[] {
  return rulesFor(kinds.filter((kind) => kind.enabledBy === enabledBy)).map(({ policy }) => policy);
}

/** The rules for kinds of one scope: those that are always followed, and those that `options` include. */
function scopeRules(
  kinds: readonly FollowedKind[],
  scope: FollowedKind['scope'],
  options: RbacOptions,
): { readonly always: readonly Rule[]; readonly switched: readonly Rule[] } {
  const found = kinds.filter((kind) => kind.scope === scope && kind.within === undefined);
  return {
    always: rulesFor(found.filter(({ enabledBy }) => enabledBy === undefined)),
    switched: rulesFor(
      found.filter(({ enabledBy }) => enabledBy !== undefined && options[enabledBy] === true),
    ),
  };
}

/** What it needs in its own namespace besides: the Secrets with admin keys and certificates, and its Lease. */
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
    // RBAC cannot narrow the creation of an object to its name.
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
    // The switched ones come last, as the chart puts them.
    const rules = [
      ...cluster.always,
      ...namespaced.always,
      EVENTS,
      ...cluster.switched,
      ...namespaced.switched,
    ];
    return [{ kind: 'ClusterRole', name, rules }, own, ...certificates];
  }
  const followed = [...new Set(namespaces)];
  const roles: Role[] = [
    { kind: 'ClusterRole', name, rules: [...cluster.always, ...cluster.switched] },
    own,
    ...certificates,
    // Under a name of its own: the operator's namespace may be one of them.
    ...followed.map(
      (one): Role => ({
        kind: 'Role',
        name: `${name}-namespace`,
        namespace: one,
        rules: [...namespaced.always, EVENTS, ...namespaced.switched],
      }),
    ),
  ];
  if (!followed.includes(EVENTS_NAMESPACE)) {
    roles.push({ kind: 'Role', name: `${name}-events`, namespace: EVENTS_NAMESPACE, rules: [EVENTS] });
  }
  return roles;
}

/** ServiceAccount, roles and bindings of the operator, in the order in which they are applied. */
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

/** Everything that the operator asks of the API server, one by one, and the object that should grant it. */
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

/** The settings of an operator that decide which permissions it needs, as its configuration has them. */
export interface OperatorSettings {
  readonly operatorNamespace: string;
  readonly namespaces: readonly string[];
  readonly secretNamespaces: readonly string[];
  readonly leaderElection: { readonly enabled: boolean; readonly leaseName: string };
  readonly roleName: string;
  readonly watchNodes: boolean;
  readonly readEndpoints: boolean;
}

/** What an operator with this configuration asks of the API server. */
export function permissionsNeeded(
  kinds: readonly FollowedKind[],
  { operatorNamespace: namespace, leaderElection, ...settings }: OperatorSettings,
): readonly Permission[] {
  const { namespaces, secretNamespaces, roleName, watchNodes, readEndpoints } = settings;
  return permissionsOf(kinds, {
    namespace,
    leaderElection: leaderElection.enabled,
    leaseName: leaderElection.leaseName,
    namespaces,
    secretNamespaces,
    roleName,
    watchNodes,
    readEndpoints,
  });
}

/** What `install --crds-only` needs in the whole cluster. */
export const CRDS_ONLY_RULES: readonly PolicyRule[] = [
  {
    apiGroups: ['apiextensions.k8s.io'],
    resources: ['customresourcedefinitions'],
    resourceNames: CUSTOM_RESOURCES.map(({ plural }) => `${plural}.${GROUP}`),
    verbs: ['get', 'patch'],
  },
  // To make what is missing by server-side apply.
  { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: ['create'] },
];

/** What `uninstall` needs in the operator's namespace to take its Lease. */
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

/** What `uninstall --keep-crds --keep-rbac` needs in the whole cluster, whatever becomes of the finalizers. */
export const RELEASE_RULES: readonly PolicyRule[] = [
  {
    apiGroups: [GROUP],
    resources: [GATEWAY_UPSTREAM.plural],
    verbs: ['get', 'list', 'patch', 'delete'],
  },
  { apiGroups: [GROUP], resources: [GATEWAY_CONNECTION.plural], verbs: ['get', 'list', 'patch'] },
  { apiGroups: [GROUP], resources: [GATEWAY_UPSTREAM_SET.plural], verbs: ['list', 'patch', 'delete'] },
  // To say that no operator maintains them any more.
  {
    apiGroups: [GROUP],
    resources: CUSTOM_RESOURCES.map(({ plural }) => `${plural}/status`),
    verbs: ['patch'],
  },
];
