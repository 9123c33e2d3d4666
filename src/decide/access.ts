import { CLUSTER_DNS_SUFFIX } from '../api/addressing.ts';
import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { registryBackendOf } from '../api/registry-section.ts';
import { upstreamSectionOf } from '../api/vendor-section.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { Verdict } from '../model/verdict.ts';
import type { NotPermitted } from './backends.ts';
import { hostPolicy } from './host-policy.ts';
import { idPrefixOf } from './ownership.ts';
import { isNamespaceAllowed, type NamespaceFacts } from './selectors.ts';

/** Why a backend may not use its own DNS suffix; with a suffix of the tenant's choice a name could resolve to any host. */
function dnsSuffixProblem(
  spec: GatewayUpstreamSpec,
  { name, spec: connection }: { readonly name: string; readonly spec: GatewayConnectionSpec },
): string | undefined {
  const usual = [CLUSTER_DNS_SUFFIX, connection.addressing?.dnsSuffix];
  for (const { addressing } of spec.backends) {
    const suffix = addressing?.dnsSuffix;
    if (suffix === undefined || usual.includes(suffix)) continue;
    if (connection.tenantPolicy.staticAddresses === 'Deny') {
      return `GatewayConnection ${name} does not allow dnsSuffix "${suffix}": remove it, or ask the platform team to set it in spec.addressing of the connection or to set spec.tenantPolicy.staticAddresses to Allow`;
    }
    // `<service>.<namespace>.other.svc...` is the name of a Pod in another namespace.
    const rest = suffix.replace(/^svc(\.|$)/, '');
    if (/(^|\.)(svc|pod)(\.|$)/.test(rest) || (rest === suffix && /(^|\.)cluster\.local$/.test(suffix))) {
      return `dnsSuffix "${suffix}" can resolve to something other than the Service: use ${CLUSTER_DNS_SUFFIX}, or the DNS suffix of this cluster`;
    }
  }
  return undefined;
}

/**
 * The first kind of shared machines among the backends, for a message; undefined if there is none. A tenant may not choose
 * the probe port of shared machines: a ReferenceGrant permits traffic to a Service's port, not to every port of its Pods.
 */
function sharedNodes(
  { backends }: GatewayUpstreamSpec,
  namespace: string,
  { addressing }: GatewayConnectionSpec,
): string | undefined {
  for (const backend of backends) {
    const { serviceRef, serviceName, addresses, addressing: own } = backend;
    if (addresses !== undefined) continue;
    if (registryBackendOf(backend) !== undefined) return 'instances in a ServiceRegistry';
    const { mode } = own ?? addressing ?? { mode: 'Pod' };
    if (mode === 'Node') return 'cluster nodes';
    if (mode === 'LoadBalancer') return 'a load balancer';
    const referred = serviceRef?.namespace ?? serviceName?.split('/')[0] ?? namespace;
    if (referred !== namespace) return `Pods in namespace ${referred}`;
  }
  return undefined;
}

/** Why `host`, the external name of a Service of type ExternalName, may not be used; undefined if it may. */
export function externalNameProblem(
  ref: ServicePortRef,
  host: string,
  connection: { readonly name: string; readonly spec: GatewayConnectionSpec },
  isNamespace: (name: string) => boolean,
): NotPermitted | undefined {
  const where = `Service ${ref.namespace}/${ref.name} is of type ExternalName`;
  if (connection.spec.tenantPolicy.staticAddresses === 'Deny') {
    return {
      state: 'notPermitted',
      reason: 'StaticAddressesDenied',
      message: `${where}, and GatewayConnection ${connection.name} does not allow addresses outside the cluster: ask the platform team to set spec.tenantPolicy.staticAddresses to Allow`,
    };
  }
  const problem = hostPolicy(connection.spec).ofHost(host, isNamespace);
  return (
    problem && {
      state: 'notPermitted',
      reason: problem.reason,
      message: `${where} and points to ${host}, which ${problem.message}`,
    }
  );
}

/** The part of a connection that access rules read. */
interface AccessConnection {
  readonly name: string;
  readonly spec: GatewayConnectionSpec;
  /** The field of a GatewayUpstream's spec that applies to this type of gateway. */
  readonly section: string;
}

/** The input of the access rules. */
interface AccessRequest {
  readonly spec: GatewayUpstreamSpec;
  readonly namespace: NamespaceFacts;
  readonly connection: AccessConnection;
  /** Whether the cluster has a namespace of this name. */
  readonly isNamespace: (name: string) => boolean;
}

/** Evaluated in order; the first problem is reported. */
const ACCESS_RULES: readonly ((request: AccessRequest) => Verdict | undefined)[] = [
  namespaceProblem,
  upstreamIdProblem,
  tenantPolicyProblem,
  probePortProblem,
  hostProblem,
];

/**
 * Why the object may not use the connection; undefined if it may. With status Unknown the answer is not known yet, and the
 * gateway must stay unchanged. `isNamespace` returns whether a namespace exists.
 */
export function accessProblem(
  spec: GatewayUpstreamSpec,
  namespace: NamespaceFacts,
  connection: AccessConnection,
  isNamespace: (name: string) => boolean = () => false,
): Verdict | undefined {
  const request = { spec, namespace, connection, isNamespace };
  for (const rule of ACCESS_RULES) {
    const problem = rule(request);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/**
 * Why the connection denies an object with an invalid spec, whatever the spec says; undefined if that depends on the spec.
 * Without this check a tenant could keep its nodes in the gateway by making the spec invalid. `hasOverrides`: the spec
 * contains invalid overrides.
 */
export function denialWithoutSpec(
  namespace: NamespaceFacts,
  connection: AccessConnection,
  hasOverrides: boolean,
): Verdict | undefined {
  const problem = namespaceProblem({ namespace, connection });
  if (problem !== undefined) return problem.status === 'False' ? problem : undefined;
  const isDenied = hasOverrides && connection.spec.tenantPolicy.overrides === 'Deny';
  return isDenied ? overridesDenied(connection) : undefined;
}

function overridesDenied({ name, section }: AccessConnection): Verdict {
  return denied(
    'OverridesDenied',
    `GatewayConnection ${name} does not allow ${section}.overrides: remove them, or ask the platform team to set spec.tenantPolicy.overrides to Allow`,
  );
}

function namespaceProblem({
  namespace,
  connection,
}: Pick<AccessRequest, 'namespace' | 'connection'>): Verdict | undefined {
  const allowed = isNamespaceAllowed(connection.spec.allowedNamespaces, namespace);
  if (allowed === 'unknown') {
    return {
      status: 'Unknown',
      reason: 'Pending',
      message: `The operator has not read namespace ${namespace.name} yet, and GatewayConnection ${connection.name} selects namespaces by label: the gateway's current configuration is unchanged until then`,
    };
  }
  if (allowed) return undefined;
  return denied(
    'NamespaceNotAllowed',
    `GatewayConnection ${connection.name} does not allow namespace ${namespace.name}: ask the platform team to add it to spec.allowedNamespaces`,
  );
}

function upstreamIdProblem({ spec, namespace, connection }: AccessRequest): Verdict | undefined {
  const { tenantPolicy, idPrefix } = connection.spec;
  const prefix = idPrefixOf(idPrefix, namespace.name);
  const { upstreamId } = spec;
  if (tenantPolicy.upstreamIds !== 'Prefixed' || upstreamId === undefined) return undefined;
  if (upstreamId.startsWith(prefix) && upstreamId.length > prefix.length) return undefined;
  return denied(
    'IdNotAllowed',
    `GatewayConnection ${connection.name} allows only upstream ids that begin with "${prefix}" and have at least one more character: use such an id in a new object, or ask the platform team to set spec.tenantPolicy.upstreamIds to Any`,
  );
}

function tenantPolicyProblem({ spec, connection }: AccessRequest): Verdict | undefined {
  const { tenantPolicy } = connection.spec;
  if (staticHosts(spec).length > 0 && tenantPolicy.staticAddresses === 'Deny') {
    return denied(
      'StaticAddressesDenied',
      `GatewayConnection ${connection.name} does not allow backends with addresses: use serviceRef, or ask the platform team to set spec.tenantPolicy.staticAddresses to Allow`,
    );
  }
  const { section } = connection;
  if (upstreamSectionOf(spec, section)?.overrides !== undefined && tenantPolicy.overrides === 'Deny') {
    return overridesDenied(connection);
  }
  return undefined;
}

function probePortProblem({ spec, namespace, connection }: AccessRequest): Verdict | undefined {
  const port = spec.healthCheck?.active.port;
  if (port === undefined || connection.spec.tenantPolicy.probePorts === 'Any') return undefined;
  const shared = sharedNodes(spec, namespace.name, connection.spec);
  if (shared === undefined) return undefined;
  return denied(
    'ProbePortDenied',
    `GatewayConnection ${connection.name} does not allow health probes to port ${port} of ${shared}: remove spec.healthCheck.active.port, so that the gateway probes the port that receives the traffic, or ask the platform team to set spec.tenantPolicy.probePorts to Any`,
  );
}

function hostProblem({ spec, connection, isNamespace }: AccessRequest): Verdict | undefined {
  const suffixProblem = dnsSuffixProblem(spec, connection);
  if (suffixProblem !== undefined) return denied('StaticAddressesDenied', suffixProblem);
  for (const host of staticHosts(spec)) {
    const problem = hostPolicy(connection.spec).ofHost(host, isNamespace);
    if (problem !== undefined) return denied(problem.reason, `${host} ${problem.message}`);
  }
  return undefined;
}

function staticHosts({ backends }: GatewayUpstreamSpec): readonly string[] {
  return backends.flatMap(({ addresses = [] }) => addresses.map(({ host }) => host));
}

function denied(reason: Verdict['reason'], message: string): Verdict {
  return { status: 'False', reason, message };
}

/**
 * Why the object may not take over or manage an upstream of another client; undefined if it may or does not ask for it.
 * `hasUpstream` returns whether the object already owns its upstream: a completed takeover remains valid.
 */
export function adoptionProblem(
  spec: Pick<GatewayUpstreamSpec, 'manage' | 'adoptionPolicy'>,
  connection: { readonly name: string; readonly spec: GatewayConnectionSpec },
  hasUpstream: () => boolean,
): Verdict | undefined {
  if (connection.spec.tenantPolicy.adoption === 'Allow') return undefined;
  const wish = spec.manage === 'Nodes' ? 'manage Nodes' : 'adoptionPolicy IfUnowned';
  if (spec.manage === 'Object' && (spec.adoptionPolicy === 'Never' || hasUpstream())) return undefined;
  return {
    status: 'False',
    reason: 'AdoptionDenied',
    message: `GatewayConnection ${connection.name} does not allow ${wish}, which changes upstreams that other clients created: remove it, or ask the platform team to set spec.tenantPolicy.adoption to Allow`,
  };
}
