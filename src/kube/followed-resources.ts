import { GATEWAY_CONNECTION, GATEWAY_UPSTREAM, GATEWAY_UPSTREAM_SET, SERVICE_REGISTRY } from '../api/crd.ts';
import { GROUP, VERSION } from '../api/group.ts';
import { grantIndexes } from '../decide/references.ts';
import { upstreamIndexes } from '../decide/upstream-indexes.ts';
import { type FollowedResource, followed } from '../model/followed-resource.ts';
import type {
  CertificateSecret,
  GatewayConnection,
  GatewayUpstream,
  GatewayUpstreamSet,
  NamespaceStored,
  NodeStored,
  ReferenceGrantStored,
  SecretFacts,
  ServiceRegistry,
} from '../model/objects.ts';
import { MAX_CUSTOM_VALUES } from './large-object.ts';
import {
  CERTIFICATE_SECRETS,
  type CustomTransforms,
  NO_HELM_RELEASES,
  REFERENCE_GRANT,
  transformCertificateSecret,
  transformNamespace,
  transformNode,
  transformReferenceGrant,
  transformSecret,
  unreadableReferenceGrant,
} from './objects.ts';

/** `get` and `patch` are for finalizers: after a conflict the operator reads the object and patches it again. */
const WITH_FINALIZERS = ['get', 'list', 'watch', 'patch'];

const CUSTOM = { group: GROUP, version: VERSION, maxValues: MAX_CUSTOM_VALUES } as const;
const CORE = { group: '', version: 'v1' } as const;

/** The resources that the operator watches in every installation, independent of the built-in sources. */
export interface CommonResources {
  readonly connections: FollowedResource<GatewayConnection>;
  readonly sets: FollowedResource<GatewayUpstreamSet>;
  readonly namespaces: FollowedResource<NamespaceStored>;
  readonly upstreams: FollowedResource<GatewayUpstream>;
  readonly grants: FollowedResource<ReferenceGrantStored>;
  readonly nodes: FollowedResource<NodeStored>;
  /** Secrets that GatewayConnections refer to. */
  readonly secrets: FollowedResource<SecretFacts>;
  /** Secrets that GatewayUpstreams refer to. */
  readonly certificates: FollowedResource<CertificateSecret>;
}

export function commonResources(transforms: CustomTransforms): CommonResources {
  return { ...customKinds(transforms), ...CORE_KINDS, grants: GRANTS };
}

/** Undefined if no registry type is built in. */
export function registryResource({
  serviceRegistry,
}: CustomTransforms): FollowedResource<ServiceRegistry> | undefined {
  return (
    serviceRegistry && {
      ...SERVICE_REGISTRY,
      ...CUSTOM,
      // CRDs of an older release lack this kind. Everything else works without it.
      optional: true,
      enabledBy: 'watchRegistries',
      transform: serviceRegistry,
      indexes: {},
      permissions: [
        ...followed('registries'),
        { subresource: 'status', verbs: ['patch'], affects: 'connections' },
      ],
    }
  );
}

function customKinds({
  gatewayConnection,
  gatewayUpstream,
  gatewayUpstreamSet,
}: CustomTransforms): Pick<CommonResources, 'connections' | 'sets' | 'upstreams'> {
  return {
    connections: {
      ...GATEWAY_CONNECTION,
      ...CUSTOM,
      transform: gatewayConnection,
      indexes: {},
      permissions: [
        { verbs: WITH_FINALIZERS, affects: 'connections' },
        { subresource: 'status', verbs: ['patch'], affects: 'connections' },
      ],
    },
    sets: {
      ...GATEWAY_UPSTREAM_SET,
      ...CUSTOM,
      // CRDs of an older release lack this kind. Everything else works without it.
      optional: true,
      transform: gatewayUpstreamSet,
      indexes: {},
      permissions: [...followed('sets'), { subresource: 'status', verbs: ['patch'], affects: 'sets' }],
    },
    upstreams: {
      ...GATEWAY_UPSTREAM,
      ...CUSTOM,
      transform: gatewayUpstream,
      indexes: upstreamIndexes,
      permissions: [
        { verbs: WITH_FINALIZERS, affects: 'everything' },
        { subresource: 'status', verbs: ['patch'], affects: 'everything' },
        // GatewayUpstreamSets create and delete their GatewayUpstreams.
        { verbs: ['create', 'delete'], affects: 'sets' },
      ],
    },
  };
}

const CORE_KINDS: Pick<CommonResources, 'namespaces' | 'nodes' | 'secrets' | 'certificates'> = {
  namespaces: {
    ...CORE,
    kind: 'Namespace',
    plural: 'namespaces',
    scope: 'Cluster',
    transform: transformNamespace,
    indexes: {},
    permissions: followed(),
  },
  nodes: {
    ...CORE,
    kind: 'Node',
    plural: 'nodes',
    scope: 'Cluster',
    enabledBy: 'watchNodes',
    transform: transformNode,
    indexes: {},
    permissions: followed(),
  },
  secrets: {
    ...CORE,
    kind: 'Secret',
    plural: 'secrets',
    scope: 'Namespaced',
    within: 'operatorNamespace',
    query: NO_HELM_RELEASES,
    transform: transformSecret,
    indexes: {},
    permissions: followed('connections'),
  },
  certificates: {
    ...CORE,
    kind: 'Secret',
    plural: 'secrets',
    scope: 'Namespaced',
    within: 'secretNamespaces',
    // Distinguishes this watch from `secrets`, which may be in the same namespace.
    name: 'certificates',
    query: CERTIFICATE_SECRETS,
    transform: transformCertificateSecret,
    indexes: {},
    // RBAC cannot restrict access by Secret type.
    permissions: followed('certificates'),
  },
};

const GRANTS: CommonResources['grants'] = {
  ...REFERENCE_GRANT,
  kind: 'ReferenceGrant',
  scope: 'Namespaced',
  optional: true,
  transform: transformReferenceGrant,
  unreadable: unreadableReferenceGrant,
  indexes: grantIndexes,
  permissions: followed('references'),
};
