import { createHash } from 'node:crypto';
import { backends, type GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstreamSetSpec, SetProblemReason } from '../api/gateway-upstream-set.ts';
import { SET_LABEL, TEMPLATE_ANNOTATION } from '../api/group.ts';
import { serviceRefPort } from '../api/service-ref.ts';
import { isObject } from '../runtime/json.ts';
import { isNamespaceAllowed, matchesSelector, type NamespaceFacts } from './selectors.ts';
import { protocolOf } from './traffic.ts';

/** The part of a Service that a set reads. */
export interface SetService {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly type: string;
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
  /** Why the Service cannot be read; absent if it can. */
  readonly unreadable?: string;
}

/** A port of a Service that requires a GatewayUpstream. */
export interface SetPort {
  readonly namespace: string;
  readonly service: string;
  /** The creation time of the Service, RFC 3339. */
  readonly creationTimestamp: string;
  /** The suffix of the GatewayUpstream's name: the name of the port, or its number if it has no name. */
  readonly label: string;
  /** The value for `serviceRef.port`. */
  readonly port: string | number;
}

export interface SetProblem {
  /** `namespace/name`. */
  readonly service: string;
  readonly port?: string;
  readonly reason: SetProblemReason;
}

/** The ports and problems of one Service in a set. */
export interface Selection {
  readonly ports: readonly SetPort[];
  readonly problems: readonly SetProblem[];
}

/** The desired state of a GatewayUpstream of a set. */
export interface SetMember {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: GatewayUpstreamSpec;
}

/** Selects the ports of `service`; undefined if the set does not select the Service. */
export function selectPorts(
  spec: GatewayUpstreamSetSpec,
  service: SetService,
  namespace: NamespaceFacts,
): Selection | undefined {
  if (isNamespaceAllowed(spec.namespaceSelector, namespace) !== true) return undefined;
  if (spec.serviceSelector !== undefined && !matchesSelector(spec.serviceSelector, service.labels)) {
    return undefined;
  }
  const where = `${service.namespace}/${service.name}`;
  if (service.type === 'ExternalName') {
    return { ports: [], problems: [{ service: where, reason: 'ExternalName' }] };
  }
  if (service.ports.length === 0) return { ports: [], problems: [{ service: where, reason: 'NoPorts' }] };
  const protocol = protocolOf(spec.template.spec.scheme);
  const ports: SetPort[] = [];
  const problems: SetProblem[] = [];
  for (const { name, port, protocol: spoken } of service.ports) {
    if (spec.ports !== undefined && !spec.ports.some((one) => one === port || one === name)) continue;
    const label = name === '' ? String(port) : name;
    if (spoken !== protocol) {
      problems.push({ service: where, port: label, reason: 'UnsupportedProtocol' });
      continue;
    }
    ports.push({
      namespace: service.namespace,
      service: service.name,
      creationTimestamp: service.creationTimestamp,
      label,
      // Prefer the name, so that a port keeps its identity when its number changes.
      port: serviceRefPort.safeParse(name).success ? name : port,
    });
  }
  return { ports, problems };
}

/** `<service>-<port>`: at most 127 characters; the limit for a name is 253. */
export function plainName({ service, label }: SetPort): string {
  return `${service}-${label}`;
}

/** Distinguishes ports with the same plain name: `a` with `b-c`, and `a-b` with `c`. */
export function hashedName(port: SetPort): string {
  const digest = createHash('sha256').update(`${port.service}/${port.label}`).digest('hex');
  return `${plainName(port)}-${digest.slice(0, 8)}`;
}

/** Whether `a` and `b`, in one namespace, are the same port. */
export function isSamePort(a: SetPort, b: SetPort): boolean {
  return a.service === b.service && a.label === b.label;
}

/**
 * Assigns names to `ports`, which are in one namespace and have the same plain name. Each port keeps its existing name,
 * because routes refer to it. Among the ports without a name, the port of the oldest Service gets the plain name if it is
 * free.
 *
 * @param hasName whether a GatewayUpstream with this name exists for this port.
 */
export function memberNames(
  ports: readonly SetPort[],
  hasName: (name: string, port: SetPort) => boolean,
): ReadonlyMap<string, SetPort> {
  const names = new Map<string, SetPort>();
  const without: SetPort[] = [];
  for (const port of ports) {
    const kept = [plainName(port), hashedName(port)].find((name) => !names.has(name) && hasName(name, port));
    if (kept === undefined) without.push(port);
    else names.set(kept, port);
  }
  for (const port of without.toSorted(olderFirst)) {
    const plain = plainName(port);
    names.set(names.has(plain) ? hashedName(port) : plain, port);
  }
  return names;
}

function olderFirst(a: SetPort, b: SetPort): number {
  const [first, second] = [a, b].map(({ creationTimestamp, service }) => `${creationTimestamp} ${service}`);
  return (first ?? '') < (second ?? '') ? -1 : 1;
}

/** The GatewayUpstream of `set` for `port`. */
export function memberOf(
  set: { readonly name: string; readonly spec: GatewayUpstreamSetSpec },
  port: SetPort,
  name: string,
): SetMember {
  const { metadata = {}, spec: fields } = set.spec.template;
  const serviceRef = { name: port.service, port: port.port };
  const spec = { ...fields, backends: backends.parse([{ serviceRef }]) };
  const { labels = {}, annotations = {} } = metadata;
  const digest = createHash('sha256')
    .update(JSON.stringify([labels, annotations, spec]))
    .digest('hex');
  return {
    namespace: port.namespace,
    name,
    labels: { ...labels, [SET_LABEL]: set.name },
    // Applying the member again removes fields that are no longer in the template; only the digest reveals that change.
    annotations: { ...annotations, [TEMPLATE_ANNOTATION]: digest.slice(0, 16) },
    spec,
  };
}

/** Whether `actual` includes everything in `desired`. Additions by other clients are ignored. */
export function includesAll(actual: unknown, desired: unknown): boolean {
  if (Array.isArray(desired)) {
    return (
      Array.isArray(actual) &&
      actual.length === desired.length &&
      desired.every((item, index) => includesAll(actual[index], item))
    );
  }
  if (!isObject(desired)) return actual === desired;
  if (!isObject(actual)) return false;
  return Object.entries(desired).every(
    ([key, value]) => value === undefined || includesAll(actual[key], value),
  );
}

/** Whether the Service port that `spec` references no longer exists, which explains the deletion of the GatewayUpstream. */
export function isPortGone(spec: GatewayUpstreamSpec, service: SetService | undefined): boolean {
  const port = spec.backends[0]?.serviceRef?.port;
  if (service === undefined) return true;
  return !service.ports.some((one) => one.port === port || one.name === port);
}

export interface PruneInput {
  /** GatewayUpstreams that the set no longer selects although their Services exist. */
  readonly unwanted: number;
  /** Recently deleted ones for the same reason. */
  readonly recent: number;
  /** All GatewayUpstreams of the set, including `unwanted`. */
  readonly all: number;
  readonly maxPrunePercent: number;
  /** Since when pruning waits, wall clock; undefined if it does not wait. */
  readonly since: number | undefined;
  /** The accepted time, wall clock: a wait that began up to then is accepted. */
  readonly acceptedUntil: number | undefined;
  /** Wall clock. */
  readonly now: number;
}

export type PruneVerdict =
  | { readonly kind: 'free' }
  | { readonly kind: 'accepted'; readonly since: number }
  | { readonly kind: 'waits'; readonly since: number };

/**
 * Whether the unwanted GatewayUpstreams may be deleted. A wait ends when it is accepted or when there is nothing to delete.
 */
export function judgePruning(input: PruneInput): PruneVerdict {
  const { unwanted, recent, all, maxPrunePercent, acceptedUntil } = input;
  if (unwanted === 0 || maxPrunePercent >= 100) return { kind: 'free' };
  const total = all + recent;
  const tooMany =
    (unwanted + recent) * 100 > total * maxPrunePercent && (unwanted + recent > 1 || maxPrunePercent === 0);
  if (input.since === undefined && !tooMany) return { kind: 'free' };
  const since = input.since ?? input.now;
  return { kind: acceptedUntil !== undefined && since <= acceptedUntil ? 'accepted' : 'waits', since };
}
