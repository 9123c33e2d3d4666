import { isDeepStrictEqual } from 'node:util';
import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import type { GatewayUpstreamSpec } from '../api/gateway-upstream.ts';
import { UPSTREAM_FINALIZER } from '../api/group.ts';
import { durationMs } from '../api/schema.ts';
import type { GatewayInfo, Unsupported } from '../gateways/driver.ts';
import { gatewayFormat } from '../gateways/index.ts';
import type { GatewayConnection, GatewayUpstream, NamespaceStored, NodeStored } from '../kube/objects.ts';
import type { StoreView } from '../kube/store.ts';
import {
  type FoundKeyPair,
  type ObjectKey,
  type ObservedUpstream,
  splitKey,
  type Upstream,
  type UpstreamId,
  type UpstreamNode,
} from '../model/model.ts';
import type { DiscoverySource } from '../sources/source.ts';
import { accessProblem, adoptionProblem, externalNameProblem, patternProblem } from './access.ts';
import { type KnownNodes, viaOf } from './addressing.ts';
import { allowedPlaces } from './allowed-places.ts';
import {
  backendTargets,
  buildUpstream,
  type Desired,
  type ResolvedBackend,
  type ServicePortRef,
} from './build-upstream.ts';
import { type CertificateRules, certificateOf } from './certificates.ts';
import { winnerOf } from './conflict-winner.ts';
import { withNodesOf } from './diff.ts';
import { type Change, diffUpstream, type Terms } from './diff-upstream.ts';
import { type HostPolicy, hostPolicy } from './host-policy.ts';
import { type IdConflicts, keyOf, wantedId } from './id-conflicts.ts';
import { unlisted } from './listing.ts';
import {
  isOwn,
  isWrittenBy,
  labelledObject,
  type Owner,
  type Ownership,
  ownerLabels,
  ownershipOf,
  staysBehind,
} from './ownership.ts';
import { type ReferenceRules, referenceRefused } from './references.ts';
import type { Basis, Remembered } from './remembered.ts';
import { acceptedUntil, type GuardInput, guardRemoval, placeOf } from './removal-guard.ts';
import { createRemovalReasonOf, type NodeRemoval } from './removal-reason.ts';
import { trueSince, type Verdict } from './status.ts';

/** What a gateway is known to hold as one id; `known: false` while it was not listed. */
export type Held =
  | { readonly known: true; readonly observed: ObservedUpstream | undefined }
  | { readonly known: false };

/** Everything that decides what becomes of an object. Only looked at, so that `plan` and `run` cannot differ. */
export interface Snapshot extends ReferenceRules, CertificateRules {
  readonly clusterId: string;
  /** With the index `label`. */
  readonly upstreams: StoreView<GatewayUpstream>;
  readonly connections: StoreView<GatewayConnection>;
  readonly namespaces: StoreView<NamespaceStored>;
  readonly source: DiscoverySource<ServicePortRef>;
  /** Absent: nobody watches them. */
  readonly nodes?: StoreView<NodeStored>;
  readonly claims: IdConflicts;
  readonly held: (connection: string, id: UpstreamId) => Held;
  /** What is known of the gateway of a connection. */
  readonly gatewayInfo: (connection: GatewayConnection) => GatewayInfo;
  /** What earlier looks left behind; undefined where this program has not looked before. */
  readonly recall: (key: ObjectKey) => Remembered | undefined;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}

/** What an object asks for. */
export type DesiredState =
  /** So wrong that there is nothing to look at: the gateway keeps what it has. */
  | { readonly kind: 'refused'; readonly accepted: Verdict }
  | {
      readonly kind: 'evaluated';
      readonly accepted: Verdict;
      readonly spec: GatewayUpstreamSpec;
      readonly id: UpstreamId;
      readonly owner: Owner;
      readonly terms: Terms;
      readonly backends: readonly ResolvedBackend[];
      readonly clientCertificate: FoundKeyPair | undefined;
      /** Before the removal guard. */
      readonly desired: Desired;
    };

type Evaluated = Extract<DesiredState, { kind: 'evaluated' }>;

/** What has to be done for an evaluated object. */
export interface Decision {
  readonly change: Change;
  readonly ownership: Ownership;
  /** The object's own upstream, which is replaced and deleted as a whole; undefined: the gateway has none. */
  readonly own: ObservedUpstream | undefined;
  /** After the removal guard. */
  readonly desired: Desired;
  /** The driver's canonical form of what the gateway should hold. */
  readonly canonical: string;
  /** Nodes that go though nothing explains it, since they are few. */
  readonly lost: readonly UpstreamNode[];
  /** Absent where nothing is held. */
  readonly guard?: {
    readonly held: readonly UpstreamNode[];
    /** Wall clock. */
    readonly since: number;
    /** When some of it may go, wall clock; undefined: only by somebody's word. */
    readonly until: number | undefined;
  };
}

const ACCEPTED: Verdict = {
  status: 'True',
  reason: 'Accepted',
  message: 'The spec is valid and the connection allows it',
};

export function buildDesired(snapshot: Snapshot, object: GatewayUpstream): DesiredState {
  const { spec } = object;
  if (!spec.ok) return refuse('InvalidSpec', spec.message);
  const connection = snapshot.connections.get('', object.connection);
  if (connection === undefined) {
    return refuse(
      'ConnectionNotFound',
      `There is no GatewayConnection ${object.connection}: create it, or refer to another one in a new object`,
    );
  }
  if (!connection.spec.ok) {
    return refuse(
      'ConnectionNotFound',
      `GatewayConnection ${object.connection} is not valid: ${connection.spec.message}`,
    );
  }
  const patterns = patternProblem(connection.spec.value.allowedNamespaces);
  if (patterns !== undefined) {
    return refuse(
      'ConnectionNotFound',
      `GatewayConnection ${object.connection} is not valid: spec.allowedNamespaces: ${patterns}`,
    );
  }
  if (connection.deletionTimestamp !== undefined && !object.finalizers.includes(UPSTREAM_FINALIZER)) {
    return refuse(
      'ConnectionNotFound',
      `GatewayConnection ${object.connection} is being deleted and takes no new upstreams: refer to another one in a new object`,
    );
  }
  const id = wantedId(object, connection.spec.value.idPrefix) ?? '';
  const owner = ownerOf(snapshot.clusterId, object);
  const denied =
    accessOf(snapshot, object, spec.value, connection.spec.value) ?? claimProblem(snapshot, object, id);
  const { deletionPolicy, syncPolicy } = spec.value;
  // UpsertOnly deletes nothing, not even by a sweep.
  const orphan = deletionPolicy === 'Orphan' || syncPolicy === 'UpsertOnly';
  const labels = ownerLabels(owner, { orphan });
  // Also where access is not known yet: the removal guard remembers what the backends were.
  const mayResolve = denied === undefined || denied.status === 'Unknown';
  const backends = mayResolve ? resolve(snapshot, object, spec.value, connection.spec.value) : [];
  const clientCertificate = mayResolve ? certificateOf(snapshot, object) : undefined;
  const desired = buildUpstream(spec.value, { id, labels }, backends, [], clientCertificate);
  const problems = unsupportedBy(snapshot, connection, desired.upstream);
  const terms = termsOf(object, spec.value, connection.spec.value);
  const evaluated = {
    kind: 'evaluated',
    spec: spec.value,
    id,
    owner,
    terms,
    backends,
    clientCertificate,
  } as const;
  if (denied?.status === 'Unknown') {
    return { ...evaluated, accepted: denied, desired: { ...desired, action: 'wait' } };
  }
  if (denied !== undefined) {
    const { scheme } = desired.upstream;
    return {
      ...evaluated,
      accepted: denied,
      desired: {
        ...desired,
        action: 'onlyIfHeld',
        upstream: { id, labels, scheme, loadBalancing: ANY_BALANCING, nodes: [] },
      },
    };
  }
  if (problems.length > 0) {
    return { ...evaluated, accepted: unsupportedVerdict(problems), desired: { ...desired, action: 'wait' } };
  }
  return { ...evaluated, accepted: ACCEPTED, desired };
}

const ANY_BALANCING = { type: 'RoundRobin' } as const;

/** What of `upstream` the gateway of `connection` cannot take. */
function unsupportedBy(
  { gatewayInfo }: Pick<Snapshot, 'gatewayInfo'>,
  connection: GatewayConnection,
  upstream: Upstream,
): readonly Unsupported[] {
  if (!connection.spec.ok) return [];
  return gatewayFormat(connection.spec.value.type).unsupported(upstream, gatewayInfo(connection));
}

function unsupportedVerdict(problems: readonly Unsupported[]): Verdict {
  const all = problems.map(({ field, message }) => `${field} cannot be used, since ${message}`).join('; ');
  return {
    status: 'False',
    reason: 'UnsupportedField',
    message: `${all}: change the spec, or upgrade the gateway; until then the gateway keeps what it has, nodes included`,
  };
}

/** What has to be done for an evaluated object where the gateway holds `observed`. */
export function planChange(
  snapshot: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream | undefined,
  canonicalOf: (upstream: Upstream) => string,
): Decision {
  const { accepted, owner, terms } = evaluation;
  const ownership = ownershipOf(observed, owner, createTimeSeconds(object));
  const own = terms.manage === 'Object' && isOwn(ownership) ? observed : undefined;
  if (accepted.status !== 'True') return planDenied(evaluation, ownership, own, canonicalOf);
  // What somebody else put there are no endpoints that could be lost.
  const kept = own ?? (terms.keptBefore && ownership !== 'foreign' ? observed : undefined);
  const guarded: Guarded =
    kept === undefined
      ? { desired: evaluation.desired, lost: [] }
      : guard(snapshot, evaluation, object, kept);
  const wanted = canonicalOf(guarded.desired.upstream);
  const canonical =
    terms.manage === 'Nodes' && observed !== undefined ? withNodesOf(wanted, observed.canonical) : wanted;
  const change = diffUpstream(guarded.desired, canonical, observed, ownership, terms);
  return { change, ownership, own, canonical, ...guarded };
}

/**
 * An object that is not accepted stops its own traffic: its upstream loses its nodes. Nothing else of the upstream is
 * written, since the spec may hold what the connection does not allow. Of an upstream that is not its own the object
 * learns nothing, not even whether the id exists.
 */
function planDenied(
  { desired }: Evaluated,
  ownership: Ownership,
  own: ObservedUpstream | undefined,
  canonicalOf: (upstream: Upstream) => string,
): Decision {
  const wanted = canonicalOf(desired.upstream);
  if (own === undefined || desired.action !== 'onlyIfHeld') {
    return { change: { kind: 'none' }, ownership, own, canonical: wanted, desired, lost: [] };
  }
  const upstream = { ...desired.upstream, labels: own.labels };
  const canonical = withNodesOf(wanted, own.canonical);
  return {
    change:
      own.canonical === canonical
        ? { kind: 'none' }
        : { kind: 'updateNodes', desired: upstream, observed: own },
    ownership,
    own,
    canonical,
    desired: { ...desired, upstream },
    lost: [],
  };
}

function termsOf(
  { finalizers }: GatewayUpstream,
  { manage, adoptionPolicy }: GatewayUpstreamSpec,
  { tenantPolicy }: GatewayConnectionSpec,
): Terms {
  return {
    manage,
    mayAdopt: adoptionPolicy === 'IfUnowned' && tenantPolicy.adoption === 'Allow',
    // No labels say so, and the finalizer is put on right before the first write.
    keptBefore: manage === 'Nodes' && finalizers.includes(UPSTREAM_FINALIZER),
  };
}

type Guarded = Pick<Decision, 'desired' | 'guard' | 'lost'>;

/** What the removal guard lets pass of what is desired. */
function guard(
  snapshot: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  observed: ObservedUpstream,
): Guarded {
  const { desired, spec, backends, clientCertificate } = evaluation;
  const wanted = new Set(desired.upstream.nodes.map(placeOf));
  const remembered = snapshot.recall(keyOf(object));
  if (
    observed.nodes.every((node) => wanted.has(placeOf(node))) ||
    // A reference that leads nowhere any more explains everything.
    desired.action !== 'write' ||
    isExplained(snapshot, evaluation, object, remembered)
  ) {
    return { desired, lost: [] };
  }
  const removals = fatesOf(snapshot, backends, policyOf(snapshot, object));
  const heldSince =
    remembered === undefined ? trueSince(object.status?.conditions, 'RemovalHeld') : remembered.heldSince;
  const now = snapshot.now();
  const judge = (removalReasonOf: GuardInput['removalReasonOf']) =>
    guardRemoval({
      policy: {
        maxRemovalPercent: spec.removalGuard.maxRemovalPercent,
        holdForMs: durationMs(spec.removalGuard.holdFor),
        whenExpired: spec.removalGuard.whenExpired,
      },
      // What somebody else added is drift, which is repaired at once.
      observed: observed.nodes.filter((node) => remembered?.put(node) ?? true),
      desired: desired.upstream.nodes,
      lost: remembered?.lost ?? [],
      removalReasonOf,
      heldSince,
      acceptedUntil: acceptedUntil(object.acceptRemoval),
      now,
    });
  let verdict = judge((node) => removals(node).fate);
  // A look at every slice, so only for what would be held.
  const elsewhere = listedElsewhere(snapshot, backends, verdict.held, removals);
  if (elsewhere.size > 0) {
    verdict = judge((node) => (elsewhere.has(node.host) ? 'explained' : removals(node).fate));
  }
  const { held, since, until, lost } = verdict;
  if (since === undefined) return { desired, lost };
  const { id, labels } = desired.upstream;
  return {
    desired: buildUpstream(
      spec,
      { id, labels },
      backends,
      held.map((node) => ({ node, backend: removals(node).backend })),
      clientCertificate,
    ),
    lost,
    guard: { held, since, until },
  };
}

/** Addresses of `held` that vanished from here and belong to another Service by now. */
function listedElsewhere(
  { source }: Snapshot,
  backends: readonly ResolvedBackend[],
  held: readonly UpstreamNode[],
  removals: (node: UpstreamNode) => NodeRemoval,
): ReadonlySet<string> {
  const vanished = held.filter((node) => removals(node).fate === 'vanished').map(({ host }) => host);
  if (vanished.length === 0) return new Set();
  return source.listedElsewhere(
    backends.flatMap(({ target }) => (target.kind === 'service' ? [target.ref] : [])),
    new Set(vanished),
  );
}

/** Whether something else than the endpoints themselves explains that they are not wanted any more. */
function isExplained(
  { namespaces }: Snapshot,
  evaluation: Evaluated,
  object: GatewayUpstream,
  remembered: Remembered | undefined,
): boolean {
  const looked = evaluation.backends.flatMap(({ target }) =>
    target.kind === 'service' ? [target.ref.namespace] : [],
  );
  if (looked.some((name) => namespaces.get('', name)?.terminating === true)) return true;
  if (remembered !== undefined) {
    return remembered.isSettling || !isDeepStrictEqual(remembered.basis, basisOf(evaluation));
  }
  // Looked at by an earlier process: only whether the spec changed since is known.
  const generation = object.status?.observedGeneration;
  // Kubernetes counts the deletion itself as a change; it was looked at once the status says what that waits for.
  const isNew =
    object.deletionTimestamp !== undefined &&
    !object.status?.conditions?.some(({ type, reason }) => type === 'Programmed' && reason === 'InUse');
  const newest = object.generation - (isNew ? 1 : 0);
  return generation !== undefined && generation < newest;
}

/** What decides which endpoints there are. */
export function basisOf({ spec, backends }: Evaluated): Basis {
  return [
    spec.backends,
    spec.scheme,
    spec.endpoints,
    ...backends.map((backend) =>
      'found' in backend
        ? [backend.target.addressing, 'basis' in backend.found ? backend.found.basis : null]
        : null,
    ),
  ];
}

function fatesOf(
  { source }: Snapshot,
  backends: readonly ResolvedBackend[],
  policy: HostPolicy | undefined,
): (node: UpstreamNode) => NodeRemoval {
  const removalReasonOf = createRemovalReasonOf(backends, (index, removedEndpoints) => {
    const target = backends[index]?.target;
    return target?.kind === 'service' ? source.departure(target.ref, removedEndpoints) : 'unknown';
  });
  // An address that the connection does not allow is never held, whatever its endpoint says.
  return (node) =>
    policy?.ofNode(node.host) === undefined
      ? removalReasonOf(node)
      : { fate: 'explained', backend: undefined };
}

function policyOf({ connections }: Snapshot, { connection }: GatewayUpstream): HostPolicy | undefined {
  const spec = connections.get('', connection)?.spec;
  return spec?.ok === true ? hostPolicy(spec.value) : undefined;
}

/** What an object that is being deleted wants done with its upstream, before the gateway is looked at. */
export type DeletionPlan =
  /** It never had one that is known of. */
  | { readonly kind: 'nothing' }
  /** The upstream stays as it is; no sweep may touch `id`. */
  | { readonly kind: 'left'; readonly why: string; readonly id: UpstreamId | undefined }
  | {
      readonly kind: 'ends';
      readonly id: UpstreamId;
      readonly policy: GatewayUpstreamSpec['deletionPolicy'];
    };

/** What `object`, which is being deleted and has our finalizer, wants done with its upstream. */
export function deletionPlanOf(
  { connections }: Pick<Snapshot, 'connections'>,
  object: GatewayUpstream,
): DeletionPlan {
  const { spec } = object;
  const connection = connections.get('', object.connection);
  if (connection === undefined) {
    return { kind: 'left', why: `GatewayConnection ${object.connection} is gone`, id: undefined };
  }
  // Written by a version whose spec this program cannot read: what the status says of it is what was written.
  const id =
    (connection.spec.ok ? wantedId(object, connection.spec.value.idPrefix) : undefined) ??
    object.status?.upstreamId;
  if (id === undefined) return { kind: 'nothing' };
  if (!spec.ok) return { kind: 'ends', id, policy: 'Orphan' };
  const { manage, syncPolicy, deletionPolicy } = spec.value;
  if (manage === 'Nodes') return { kind: 'left', why: 'manage is Nodes', id };
  if (syncPolicy === 'Observe') return { kind: 'left', why: 'syncPolicy is Observe', id };
  // Only Sync deletes.
  return { kind: 'ends', id, policy: syncPolicy === 'UpsertOnly' ? 'Orphan' : deletionPolicy };
}

/** What has to be done in a gateway so that an object can go. */
export type EndChange =
  | { readonly kind: 'none' }
  /** The upstream stays, and its labels say so from now on, so that it is never taken for an orphan to delete. */
  | {
      readonly kind: 'mark';
      readonly observed: ObservedUpstream;
      readonly labels: Readonly<Record<string, string>>;
    }
  | {
      readonly kind: 'delete';
      readonly observed: ObservedUpstream;
      readonly references: 'respect' | 'ignore';
    };

/** What `ending` of `object` means where the gateway holds `observed`. */
export function planDeletion(
  { clusterId }: Pick<Snapshot, 'clusterId'>,
  object: GatewayUpstream,
  { policy }: Extract<DeletionPlan, { kind: 'ends' }>,
  observed: ObservedUpstream | undefined,
): EndChange {
  const owner = ownerOf(clusterId, object);
  const ownership = ownershipOf(observed, owner, createTimeSeconds(object));
  if (observed === undefined || !isOwn(ownership)) return { kind: 'none' };
  if (policy !== 'Orphan') {
    return { kind: 'delete', observed, references: policy === 'Force' ? 'ignore' : 'respect' };
  }
  return staysBehind(observed)
    ? { kind: 'none' }
    : { kind: 'mark', observed, labels: ownerLabels(owner, { orphan: true }) };
}

/**
 * Whether an object wants `observed`, which the gateway of `connection` holds.
 * - `notOurs`: this operator did not write it, or its object left it behind on purpose.
 * - `wanted`: its object exists.
 * - `orphaned`: its object is gone, and was to take it along.
 * - `unknown`: its object would be in a namespace that this operator does not follow.
 */
export type Belonging = 'notOurs' | 'wanted' | 'orphaned' | 'unknown';

export function belongingOf(
  {
    clusterId,
    upstreams,
    connections,
    onlyNamespaces,
  }: Pick<Snapshot, 'clusterId' | 'upstreams' | 'connections' | 'onlyNamespaces'>,
  connection: string,
  observed: ObservedUpstream,
): Belonging {
  if (!isWrittenBy(observed, clusterId, connection) || staysBehind(observed)) return 'notOurs';
  const label = labelledObject(observed);
  if (onlyNamespaces.length > 0 && !onlyNamespaces.includes(splitKey(label).namespace)) return 'unknown';
  const owners = upstreams
    .byIndex('label', label)
    // One whose spec cannot be read may want any id, of any connection.
    .filter((object) => object.connection === connection || !object.spec.ok);
  const settings = connections.get('', connection)?.spec;
  const isOrphaned = owners.every((owner) => {
    const wanted = settings?.ok === true ? wantedId(owner, settings.value.idPrefix) : undefined;
    return wanted !== undefined && wanted !== observed.id;
  });
  return isOrphaned ? 'orphaned' : 'wanted';
}

function ownerOf(
  clusterId: string,
  { connection, namespace, name }: Pick<GatewayUpstream, 'connection' | 'namespace' | 'name'>,
): Owner {
  return { cluster: clusterId, connection, namespace, name };
}

/** The `create_time` of the upstream that the object's status tells, in seconds. */
export function createTimeSeconds(object: GatewayUpstream): number | undefined {
  const text = object.status?.upstreamCreateTime;
  return text === undefined ? undefined : Date.parse(text) / 1000;
}

function refuse(reason: Verdict['reason'], message: string): DesiredState {
  return { kind: 'refused', accepted: { status: 'False', reason, message } };
}

/** Why `object` may not use the connection; undefined if it may. */
function accessOf(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): Verdict | undefined {
  const { namespaces } = snapshot;
  const named = { name: object.connection, spec: connection };
  return (
    accessProblem(
      spec,
      namespaces.get('', object.namespace) ?? { name: object.namespace, labels: undefined },
      named,
      (name) => namespaces.get('', name) !== undefined,
    ) ?? adoptionProblem(spec, named, () => hasUpstream(snapshot, object, connection))
  );
}

/** Whether the upstream that `object` wants is its own, or was when the gateway answered last. */
function hasUpstream(
  snapshot: Snapshot,
  object: GatewayUpstream,
  { idPrefix }: GatewayConnectionSpec,
): boolean {
  if (createTimeSeconds(object) !== undefined) return true;
  const held = snapshot.held(object.connection, wantedId(object, idPrefix) ?? '');
  return held.known && isOwn(ownershipOf(held.observed, ownerOf(snapshot.clusterId, object), undefined));
}

/** What is said where another object keeps `id`. */
function claimProblem(snapshot: Snapshot, object: GatewayUpstream, id: UpstreamId): Verdict | undefined {
  const keeper = keeperFor(snapshot, object, id);
  if (keeper === undefined || keyOf(keeper) === keyOf(object)) return undefined;
  return {
    status: 'False',
    reason: 'IdTaken',
    message: `GatewayUpstream ${keyOf(keeper)} has upstream id ${id} of this connection already: choose another upstreamId in a new object`,
  };
}

/** The object that keeps `id`, of those that the connection lets have it. */
function keeperFor(snapshot: Snapshot, object: GatewayUpstream, id: UpstreamId): GatewayUpstream | undefined {
  const contenders = snapshot.claims.contenders(object.connection, id);
  if (contenders.length < 2) return object;
  const connection = snapshot.connections.get('', object.connection);
  const rivals = contenders.flatMap((key) => {
    const { namespace, name } = splitKey(key);
    const rival = snapshot.upstreams.get(namespace, name);
    if (rival === undefined || !rival.spec.ok || connection?.spec.ok !== true) return [];
    const problem = accessOf(snapshot, rival, rival.spec.value, connection.spec.value);
    return problem === undefined ? [rival] : [];
  });
  const held = snapshot.held(object.connection, id);
  if (held.known) {
    const { observed } = held;
    // Whoever lost its labels to somebody's PUT must not lose the id to a rival as well: the traffic would stop meanwhile.
    const stripped = rivals.find(
      (rival) =>
        ownershipOf(observed, ownerOf(snapshot.clusterId, rival), createTimeSeconds(rival)) === 'stripped',
    );
    return stripped ?? winnerOf(rivals, { kind: 'listed', observed });
  }
  return winnerOf(rivals, {
    kind: 'unknown',
    heldBefore: ({ status }) =>
      status?.upstreamId === id &&
      status.conditions?.some(({ type, status: was }) => type === 'Accepted' && was === 'True') === true,
  });
}

function resolve(
  snapshot: Snapshot,
  object: GatewayUpstream,
  spec: GatewayUpstreamSpec,
  connection: GatewayConnectionSpec,
): readonly ResolvedBackend[] {
  const isNamespace = (name: string) => snapshot.namespaces.get('', name) !== undefined;
  const policy = hostPolicy(connection);
  return backendTargets(spec, object.namespace, connection.addressing).map((target): ResolvedBackend => {
    if (target.kind === 'addresses') return { target };
    const { ref, addressing } = target;
    const refused = referenceRefused(snapshot, ref, object.namespace);
    if (refused !== undefined) return { target, found: refused };
    const found = snapshot.source.read(ref);
    if (found.state === 'external') {
      const named = { name: object.connection, spec: connection };
      return { target, found: externalNameProblem(ref, found.host, named, isNamespace) ?? found };
    }
    if (found.state !== 'known') return { target, found };
    const family = spec.endpoints?.family ?? found.preferredFamily;
    const via = viaOf(
      found,
      addressing,
      family,
      knownNodes(snapshot),
      (host) => policy.ofNode(host) === undefined,
    );
    if ('state' in via) return { target, found: via };
    return { target, ...allowedPlaces(ref, found, via, addressing, policy, isNamespace) };
  });
}

function knownNodes({ nodes }: Snapshot): KnownNodes {
  if (nodes === undefined) {
    return {
      kind: 'unknown',
      beginning: false,
      message:
        "Addressing mode Node needs the nodes, which the operator does not watch: set watchNodes to true in its configuration (config.watchNodes in the chart's values), or choose another mode",
    };
  }
  const unknown = unlisted('Nodes', nodes);
  if (unknown === undefined) return { kind: 'listed', nodes: nodes.list() };
  const { beginning, message } = unknown;
  return { kind: 'unknown', beginning, message };
}
