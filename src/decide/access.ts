import { CLUSTER_DNS_SUFFIX } from '../api/addressing.ts';
import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { LabelSelector } from '../api/label-selector.ts';
import type { NamespaceSelector } from '../api/namespace-selector.ts';
import { registryBackendOf } from '../api/registry-section.ts';
import { upstreamSectionOf } from '../api/vendor-section.ts';
import type { ServicePortRef } from '../model/reference.ts';
import type { Verdict } from '../model/verdict.ts';
import type { NotPermitted } from './build-upstream.ts';
import { hostPolicy } from './host-policy.ts';
import { namePattern } from './name-pattern.ts';
import { idPrefixOf } from './ownership.ts';

/** A namespace as access rules see it. */
export interface NamespaceFacts {
  readonly name: string;
  /** Undefined while the namespace has not been read: unknown labels are not absent labels. */
  readonly labels: Readonly<Record<string, string>> | undefined;
}

/** Whether `labels` match, by the rules of Kubernetes; an empty selector matches everything. */
export function matchesSelector(selector: LabelSelector, labels: Readonly<Record<string, string>>): boolean {
  for (const [key, value] of Object.entries(selector.matchLabels ?? {})) {
    if (labels[key] !== value) return false;
  }
  return (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
    switch (operator) {
      case 'In':
        return value !== undefined && (values ?? []).includes(value);
      case 'NotIn':
        return value === undefined || !(values ?? []).includes(value);
      case 'Exists':
        return value !== undefined;
      case 'DoesNotExist':
        return value === undefined;
      default:
        return operator satisfies never;
    }
  });
}

/** Whether one of `patterns` matches the whole of `name`; `broken` is the answer of one that cannot be used. */
function matchesWhole(
  patterns: readonly string[] | undefined,
  name: string,
  broken: 'matches' | 'differs',
): boolean {
  return (patterns ?? []).some((source) => {
    const pattern = namePattern(source);
    // What cannot be used must not open a door: it allows nothing, and forbids all.
    return pattern.kind === 'usable' ? pattern.matches(name) : broken === 'matches';
  });
}

/** What is wrong with the patterns of `allowed`, for the condition of its object; undefined: nothing. */
export function patternProblem(allowed: NamespaceSelector | undefined): string | undefined {
  const problems = [...(allowed?.match ?? []), ...(allowed?.notMatch ?? [])].flatMap((source) => {
    const pattern = namePattern(source);
    return pattern.kind === 'usable' ? [] : [`${source} cannot be used, since ${pattern.why}`];
  });
  return problems.length === 0 ? undefined : problems.join('; ');
}

/**
 * Whether the connection lets objects of `namespace` use it: the union of names, match and selector, less notMatch.
 * `unknown`: its labels decide, and they are not known.
 */
export function isNamespaceAllowed(
  allowed: NamespaceSelector | undefined,
  { name, labels }: NamespaceFacts,
): boolean | 'unknown' {
  if (allowed === undefined || matchesWhole(allowed.notMatch, name, 'matches')) return false;
  if (
    allowed.all === true ||
    (allowed.names ?? []).includes(name) ||
    matchesWhole(allowed.match, name, 'differs')
  )
    return true;
  if (allowed.selector === undefined) return false;
  return labels === undefined ? 'unknown' : matchesSelector(allowed.selector, labels);
}

/**
 * Why a backend may not complete its name in its own way: with a suffix of somebody's choice the name of a Service leads
 * anywhere.
 */
function dnsSuffixProblem(
  spec: GatewayUpstreamSpec,
  { name, spec: connection }: { readonly name: string; readonly spec: GatewayConnectionSpec },
): string | undefined {
  const usual = [CLUSTER_DNS_SUFFIX, connection.addressing?.dnsSuffix];
  for (const { addressing } of spec.backends) {
    const suffix = addressing?.dnsSuffix;
    if (suffix === undefined || usual.includes(suffix)) continue;
    if (connection.tenantPolicy.staticAddresses === 'Deny') {
      return `GatewayConnection ${name} does not allow dnsSuffix "${suffix}": leave it out, or its owner sets it in spec.addressing of the connection, or spec.tenantPolicy.staticAddresses to Allow`;
    }
    // `<service>.<namespace>.other.svc...` is a Pod of another namespace.
    const rest = suffix.replace(/^svc(\.|$)/, '');
    if (/(^|\.)(svc|pod)(\.|$)/.test(rest) || (rest === suffix && /(^|\.)cluster\.local$/.test(suffix))) {
      return `dnsSuffix "${suffix}" leads to something else than the Service inside the cluster: use ${CLUSTER_DNS_SUFFIX}, or what stands there in this cluster`;
    }
  }
  return undefined;
}

/**
 * Which backend's nodes are machines that the tenant may not probe at any port it likes; undefined: none. A
 * ReferenceGrant permits traffic to the port of a Service, and not to every port of its Pods.
 */
function sharedNodes(
  { backends }: GatewayUpstreamSpec,
  namespace: string,
  { addressing }: GatewayConnectionSpec,
): string | undefined {
  for (const backend of backends) {
    const { serviceRef, serviceName, addresses, addressing: own } = backend;
    if (addresses !== undefined) continue;
    if (registryBackendOf(backend) !== undefined) return 'instances of a ServiceRegistry';
    const { mode } = own ?? addressing ?? { mode: 'Pod' };
    if (mode === 'Node') return 'nodes of the cluster';
    if (mode === 'LoadBalancer') return 'a load balancer';
    const referred = serviceRef?.namespace ?? serviceName?.split('/')[0] ?? namespace;
    if (referred !== namespace) return `Pods of namespace ${referred}`;
  }
  return undefined;
}

/** Why `host`, another name that a Service of type ExternalName gives, may not be used; undefined if it may. */
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
      message: `${where}, and GatewayConnection ${connection.name} does not allow places outside the cluster: its owner can set spec.tenantPolicy.staticAddresses to Allow`,
    };
  }
  const problem = hostPolicy(connection.spec).ofHost(host, isNamespace);
  return (
    problem && {
      state: 'notPermitted',
      reason: problem.reason,
      message: `${where} and names ${host}, which ${problem.message}`,
    }
  );
}

/**
 * What the connection says to this object; `undefined` if it may use it. Status Unknown: that cannot be told yet, and
 * nothing may be changed because of it. `isNamespace`: whether the cluster has one.
 */
export function accessProblem(
  spec: GatewayUpstreamSpec,
  namespace: NamespaceFacts,
  connection: {
    readonly name: string;
    readonly spec: GatewayConnectionSpec;
    /** The section of a GatewayUpstream that its gateway reads. */
    readonly section: string;
  },
  isNamespace: (name: string) => boolean = () => false,
): Verdict | undefined {
  const { allowedNamespaces, tenantPolicy, idPrefix } = connection.spec;
  const allowed = isNamespaceAllowed(allowedNamespaces, namespace);
  if (allowed === 'unknown') {
    return {
      status: 'Unknown',
      reason: 'Pending',
      message: `Namespace ${namespace.name} is not known yet, and GatewayConnection ${connection.name} allows namespaces by their labels: the gateway's current configuration is unchanged until the namespace is read`,
    };
  }
  if (!allowed) {
    return {
      status: 'False',
      reason: 'NamespaceNotAllowed',
      message: `GatewayConnection ${connection.name} does not allow namespace ${namespace.name}: its owner can add it to spec.allowedNamespaces`,
    };
  }
  const prefix = idPrefixOf(idPrefix, namespace.name);
  const { upstreamId } = spec;
  if (
    tenantPolicy.upstreamIds === 'Prefixed' &&
    upstreamId !== undefined &&
    !(upstreamId.startsWith(prefix) && upstreamId.length > prefix.length)
  ) {
    return {
      status: 'False',
      reason: 'IdNotAllowed',
      message: `GatewayConnection ${connection.name} takes only upstream ids that begin with "${prefix}" and go on: choose such an id, or its owner sets spec.tenantPolicy.upstreamIds to Any`,
    };
  }
  const addresses = spec.backends.flatMap((backend) => backend.addresses ?? []);
  if (addresses.length > 0 && tenantPolicy.staticAddresses === 'Deny') {
    return {
      status: 'False',
      reason: 'StaticAddressesDenied',
      message: `GatewayConnection ${connection.name} does not allow backends with addresses: use serviceRef, or its owner sets spec.tenantPolicy.staticAddresses to Allow`,
    };
  }
  if (
    upstreamSectionOf(spec, connection.section)?.overrides !== undefined &&
    tenantPolicy.overrides === 'Deny'
  ) {
    return {
      status: 'False',
      reason: 'OverridesDenied',
      message: `GatewayConnection ${connection.name} does not allow ${connection.section}.overrides: remove them, or its owner sets spec.tenantPolicy.overrides to Allow`,
    };
  }
  const port = spec.healthCheck?.active.port;
  const shared =
    port === undefined || tenantPolicy.probePorts === 'Any'
      ? undefined
      : sharedNodes(spec, namespace.name, connection.spec);
  if (shared !== undefined) {
    return {
      status: 'False',
      reason: 'ProbePortDenied',
      message: `GatewayConnection ${connection.name} does not allow health probes at port ${port} of ${shared}: remove spec.healthCheck.active.port, so that the node's own port is probed, or its owner sets spec.tenantPolicy.probePorts to Any`,
    };
  }
  const suffixProblem = dnsSuffixProblem(spec, connection);
  if (suffixProblem !== undefined) {
    return { status: 'False', reason: 'StaticAddressesDenied', message: suffixProblem };
  }
  for (const { host } of addresses) {
    const problem = hostPolicy(connection.spec).ofHost(host, isNamespace);
    if (problem !== undefined) {
      return { status: 'False', reason: problem.reason, message: `${host} ${problem.message}` };
    }
  }
  return undefined;
}

/**
 * What the connection says to this object about upstreams that others made; undefined where it allows them, or where
 * the object does without. `hasUpstream`: its upstream is its own already, and what was taken over stays.
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
    message: `GatewayConnection ${connection.name} does not allow ${wish}, since the upstream is somebody else's: remove it, or the connection's owner sets spec.tenantPolicy.adoption to Allow`,
  };
}
