import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM } from '../api/crd.ts';
import { GROUP, OPERATOR } from '../api/group.ts';

export interface RbacOptions {
  /** Namespace of the operator and of the Secrets that connections refer to. */
  readonly namespace: string;
}

interface PolicyRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

const FOLLOW = ['list', 'watch'];

/** What the operator needs in the whole cluster, and no more. */
const CLUSTER_RULES: readonly PolicyRule[] = [
  // get and patch: the finalizer is changed on top of what was just read.
  {
    apiGroups: [GROUP],
    resources: [GATEWAY_CONNECTION.plural, GATEWAY_UPSTREAM.plural],
    verbs: ['get', ...FOLLOW, 'patch'],
  },
  {
    apiGroups: [GROUP],
    resources: [`${GATEWAY_CONNECTION.plural}/status`, `${GATEWAY_UPSTREAM.plural}/status`],
    verbs: ['patch'],
  },
  { apiGroups: [''], resources: ['namespaces', 'services'], verbs: FOLLOW },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: FOLLOW },
  { apiGroups: ['events.k8s.io'], resources: ['events'], verbs: ['create'] },
];

/** What it needs in its own namespace besides: the Secrets with admin keys and certificates. */
const OWN_NAMESPACE_RULES: readonly PolicyRule[] = [
  { apiGroups: [''], resources: ['secrets'], verbs: FOLLOW },
];

/** ServiceAccount, roles and bindings of the operator, in the order in which they are applied. */
export function rbacObjects({ namespace }: RbacOptions): readonly object[] {
  const labels = { 'app.kubernetes.io/name': OPERATOR };
  const subjects = [{ kind: 'ServiceAccount', name: OPERATOR, namespace }];
  const apiVersion = 'rbac.authorization.k8s.io/v1';
  const roleRef = (kind: 'ClusterRole' | 'Role') => ({
    apiGroup: 'rbac.authorization.k8s.io',
    kind,
    name: OPERATOR,
  });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: OPERATOR, namespace, labels } },
    { apiVersion, kind: 'ClusterRole', metadata: { name: OPERATOR, labels }, rules: CLUSTER_RULES },
    {
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: { name: OPERATOR, labels },
      roleRef: roleRef('ClusterRole'),
      subjects,
    },
    { apiVersion, kind: 'Role', metadata: { name: OPERATOR, namespace, labels }, rules: OWN_NAMESPACE_RULES },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: { name: OPERATOR, namespace, labels },
      roleRef: roleRef('Role'),
      subjects,
    },
  ];
}
