import { createHash } from 'node:crypto';
import { backends, type GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import type { GatewayUpstreamSetSpec, SetProblemReason } from '../api/gateway-upstream-set.ts';
import { SET_LABEL, TEMPLATE_ANNOTATION } from '../api/group.ts';
import { serviceRefPort } from '../api/service-ref.ts';
import { isObject } from '../runtime/json.ts';
import { isNamespaceAllowed, matchesSelector, type NamespaceFacts } from './selectors.ts';
import { protocolOf } from './traffic.ts';

/** A Service as a set sees it. */
export interface SetService {
  readonly namespace: string;
  readonly name: string;
  /** RFC 3339. */
  readonly creationTimestamp: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly type: string;
  readonly ports: readonly { readonly name: string; readonly port: number; readonly protocol: string }[];
  /** Why nothing else is known of it; absent for one that was read. */
  readonly unreadable?: string;
}

/** One port of one Service that should have a GatewayUpstream. */
export interface SetPort {
  readonly namespace: string;
  readonly service: string;
  /** Of the Service, RFC 3339. */
  readonly creationTimestamp: string;
  /** What the name ends with: the port's name, or its number where it has none. */
  readonly label: string;
  /** As `serviceRef.port` has it. */
  readonly port: string | number;
}

export interface SetProblem {
  /** `namespace/name`. */
  readonly service: string;
  readonly port?: string;
  readonly reason: SetProblemReason;
}

/** What a set makes of one Service. */
export interface Selection {
  readonly ports: readonly SetPort[];
  readonly problems: readonly SetProblem[];
}

/** A GatewayUpstream as its set wants it. */
export interface SetMember {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly spec: GatewayUpstreamSpec;
}

/** What a set makes of `service`; undefined where that does not match. */
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
      // By name where it can be: then a port that gets another number stays the same port.
      port: serviceRefPort.safeParse(name).success ? name : port,
    });
  }
  return { ports, problems };
}

/** `<service>-<port>`: at most 127 characters, of which a name may have 253. */
export function plainName({ service, label }: SetPort): string {
  return `${service}-${label}`;
}

/** Tells ports apart that come to the same plain name: `a` with `b-c`, and `a-b` with `c`. */
export function hashedName(port: SetPort): string {
  const digest = createHash('sha256').update(`${port.service}/${port.label}`).digest('hex');
  return `${plainName(port)}-${digest.slice(0, 8)}`;
}

/** Whether `a` and `b` of one namespace are the same port. */
export function isSamePort(a: SetPort, b: SetPort): boolean {
  return a.service === b.service && a.label === b.label;
}

/**
 * The names of `ports`, all of one namespace and of one plain name. Each keeps the name that it has, since routes refer
 * to it; of those that have none yet, the one of the oldest Service gets the plain name if that is free.
 *
 * @param hasName whether a GatewayUpstream of that name is there for this port.
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

/** The GatewayUpstream for `port` of the set `set`. */
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
    // What a template does not say any more is taken away by applying it again, and only this shows that it was said.
    annotations: { ...annotations, [TEMPLATE_ANNOTATION]: digest.slice(0, 16) },
    spec,
  };
}

/** Whether `held` says all that `wanted` says; what somebody else added is none of ours. */
export function holds(held: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(held) &&
      held.length === wanted.length &&
      wanted.every((item, index) => holds(held[index], item))
    );
  }
  if (!isObject(wanted)) return held === wanted;
  if (!isObject(held)) return false;
  return Object.entries(wanted).every(([key, value]) => value === undefined || holds(held[key], value));
}

/** Whether the Service's port that `spec` refers to is gone, which says why nobody wants it any more. */
export function isPortGone(spec: GatewayUpstreamSpec, service: SetService | undefined): boolean {
  const port = spec.backends[0]?.serviceRef?.port;
  if (service === undefined) return true;
  return !service.ports.some((one) => one.port === port || one.name === port);
}

export interface PruneInput {
  /** GatewayUpstreams that nobody wants any more though their Services are there. */
  readonly unwanted: number;
  /** Those that were deleted for the same reason a short while ago. */
  readonly recent: number;
  /** All of the set, `unwanted` included. */
  readonly all: number;
  readonly maxPrunePercent: number;
  /** Since when pruning waits, wall clock; undefined: it does not yet. */
  readonly since: number | undefined;
  /** Waits that began up to then are over, wall clock. */
  readonly acceptedUntil: number | undefined;
  /** Wall clock. */
  readonly now: number;
}

export type PruneVerdict =
  | { readonly kind: 'free' }
  | { readonly kind: 'accepted'; readonly since: number }
  | { readonly kind: 'waits'; readonly since: number };

/** Whether what nobody wants any more may be deleted. A wait that has begun ends by acceptance, or with nothing to delete. */
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
