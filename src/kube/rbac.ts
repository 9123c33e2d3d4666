import {
  CUSTOM_RESOURCES,
  GATEWAY_CONNECTION,
  GATEWAY_UPSTREAM,
  GATEWAY_UPSTREAM_SET,
  SERVICE_REGISTRY,
} from '../api/crd.ts';
import { GROUP, OPERATOR } from '../api/group.ts';
import { REFERENCE_GRANT } from './objects.ts';
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
  /** Whether a type of service registry is built in; false by default. */
  readonly registries?: boolean;
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

const FOLLOW = ['list', 'watch'];
/** get and patch: the finalizer is changed on top of what was just read. */
const KEEP = ['get', ...FOLLOW, 'patch'];
/** Where Kubernetes takes Events about cluster-scoped objects. */
const EVENTS_NAMESPACE = 'default';

const rule = (
  group: string,
  resource: string,
  verbs: readonly string[],
  affects: Rule['affects'] = 'everything',
): Rule => ({ policy: { apiGroups: [group], resources: [resource], verbs }, affects });

const EVENTS = rule('events.k8s.io', 'events', ['create'], 'connections');

const CLUSTER_SCOPED: readonly Rule[] = [
  rule(GROUP, GATEWAY_CONNECTION.plural, KEEP, 'connections'),
  rule(GROUP, `${GATEWAY_CONNECTION.plural}/status`, ['patch'], 'connections'),
  { ...rule(GROUP, GATEWAY_UPSTREAM_SET.plural, FOLLOW, 'sets'), optional: true },
  { ...rule(GROUP, `${GATEWAY_UPSTREAM_SET.plural}/status`, ['patch'], 'sets'), optional: true },
  rule('', 'namespaces', FOLLOW),
];

/** In every namespace that the operator looks at. */
const NAMESPACED: readonly Rule[] = [
  rule(GROUP, GATEWAY_UPSTREAM.plural, KEEP),
  rule(GROUP, `${GATEWAY_UPSTREAM.plural}/status`, ['patch']),
  // For those of sets.
  rule(GROUP, GATEWAY_UPSTREAM.plural, ['create', 'delete'], 'sets'),
  rule('', 'services', FOLLOW),
  rule('discovery.k8s.io', 'endpointslices', FOLLOW),
  { ...rule(REFERENCE_GRANT.group, REFERENCE_GRANT.plural, FOLLOW, 'references'), optional: true },
  EVENTS,
];

/** Where GatewayUpstreams may refer to Secrets. RBAC knows no types of Secrets: no others are asked for. */
const CERTIFICATES: readonly Rule[] = [rule('', 'secrets', FOLLOW, 'certificates')];
/** What `watchNodes` needs, of the whole cluster in any case. */
export const NODES = rule('', 'nodes', FOLLOW);
/** What backends that lead to registries need. */
const REGISTRIES = rule(GROUP, SERVICE_REGISTRY.plural, FOLLOW);
/** What `readEndpoints` needs, in every namespace that the operator looks at. */
export const ENDPOINTS = rule('', 'endpoints', FOLLOW);

/** What it needs in its own namespace besides: the Secrets with admin keys and certificates, and its Lease. */
function ownRules({ leaderElection = true, leaseName = OPERATOR }: RbacOptions): readonly Rule[] {
  const secrets = rule('', 'secrets', FOLLOW, 'connections');
  if (!leaderElection) return [secrets];
  const lease = (verbs: readonly string[]) => rule('coordination.k8s.io', 'leases', verbs, 'connections');
  const named = lease(['get', 'update']);
  return [
    secrets,
    { ...named, policy: { ...named.policy, resourceNames: [leaseName] } },
    // Whoever creates names nothing yet that a rule could be narrowed to.
    lease(['create']),
  ];
}

function rolesOf(options: RbacOptions): readonly Role[] {
  const {
    namespace,
    namespaces = [],
    secretNamespaces = [],
    roleName: name = OPERATOR,
    watchNodes,
    readEndpoints,
    registries,
  } = options;
  const own: Role = { kind: 'Role', name, namespace, rules: ownRules(options) };
  const certificates = [...new Set(secretNamespaces)].map(
    (one): Role => ({ kind: 'Role', name: `${name}-secrets`, namespace: one, rules: CERTIFICATES }),
  );
  // After the others, as the chart puts them.
  const clusterScoped = [...CLUSTER_SCOPED, ...(registries === true ? [REGISTRIES] : [])];
  const nodes = watchNodes === true ? [NODES] : [];
  const endpoints = readEndpoints === true ? [ENDPOINTS] : [];
  if (namespaces.length === 0) {
    const rules = [...clusterScoped, ...NAMESPACED, ...nodes, ...endpoints];
    return [{ kind: 'ClusterRole', name, rules }, own, ...certificates];
  }
  const looked = [...new Set(namespaces)];
  const roles: Role[] = [
    { kind: 'ClusterRole', name, rules: [...clusterScoped, ...nodes] },
    own,
    ...certificates,
    // Under a name of its own: the operator's namespace may be one of them.
    ...looked.map(
      (one): Role => ({
        kind: 'Role',
        name: `${name}-namespace`,
        namespace: one,
        rules: [...NAMESPACED, ...endpoints],
      }),
    ),
  ];
  if (!looked.includes(EVENTS_NAMESPACE)) {
    roles.push({ kind: 'Role', name: `${name}-events`, namespace: EVENTS_NAMESPACE, rules: [EVENTS] });
  }
  return roles;
}

/** ServiceAccount, roles and bindings of the operator, in the order in which they are applied. */
export function rbacObjects(options: RbacOptions): readonly object[] {
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
    ...rolesOf(options).flatMap(({ kind, name, namespace, rules }) => {
      const metadata = { name, ...(namespace === undefined ? {} : { namespace }), labels };
      return [
        { apiVersion, kind, metadata, rules: rules.map(({ policy }) => policy) },
        { apiVersion, kind: `${kind}Binding`, metadata, roleRef: { apiGroup, kind, name }, subjects },
      ];
    }),
  ];
}

/** Everything that the operator asks of the API server, one by one, and the object that should grant it. */
export function permissionsOf(options: RbacOptions): readonly Permission[] {
  return rolesOf(options).flatMap(({ kind, name, namespace, rules }) =>
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
