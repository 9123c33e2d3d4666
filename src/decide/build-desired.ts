import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import { type GatewayUpstreamSpec, gatewayUpstreamSchema } from '../api/gateway-upstream.ts';
import { UPSTREAM_FINALIZER } from '../api/group.ts';
import type { GatewayFacts, Unsupported } from '../model/gateway.ts';
import type { FoundKeyPair } from '../model/key-pair.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import type { ResolvedBackend } from './backends.ts';
import { buildUpstream, type Identity } from './build-upstream.ts';
import { certificateOf } from './certificates.ts';
import type { Terms } from './change.ts';
import type { Desired } from './desired.ts';
import { foreignSections } from './foreign-sections.ts';
import { wantedId } from './id-conflicts.ts';
import { idProblem } from './id-problem.ts';
import { accessOf, accessWithoutSpec } from './object-access.ts';
import { ownerOf } from './owner.ts';
import { defaultUpstreamId, type Owner, ownerMark } from './ownership.ts';
import { resolveBackends } from './resolve-backends.ts';
import { patternProblem } from './selectors.ts';
import type { Snapshot } from './snapshot.ts';

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
      readonly identity: Identity;
      readonly terms: Terms;
      readonly backends: readonly ResolvedBackend[];
      readonly clientCertificate: FoundKeyPair | undefined;
      /** Before the removal guard. */
      readonly desired: Desired;
    };

export type Evaluated = Extract<DesiredState, { kind: 'evaluated' }>;

const ACCEPTED: Verdict = {
  status: 'True',
  reason: 'Accepted',
  message: 'The spec is valid and the connection allows it',
};

/** What `object` asks for, by everything that is known. */
export function buildDesired(snapshot: Snapshot, object: GatewayUpstream): DesiredState {
  const { spec } = object;
  if (!spec.ok) return withdrawn(snapshot, object) ?? refuse('InvalidSpec', spec.message);
  const usable = usableConnection(snapshot, object);
  if (!usable.ok) return refuse('ConnectionNotFound', usable.message);
  const { connection, settings } = usable;
  const id = wantedId(object, settings.idPrefix) ?? '';
  const owner = ownerOf(snapshot.clusterId, object);
  const denied = accessOf(snapshot, object, spec.value, settings) ?? idProblem(snapshot, object, id);
  const { deletionPolicy, syncPolicy } = spec.value;
  // UpsertOnly deletes nothing, not even by a sweep.
  const retain = deletionPolicy === 'Orphan' || syncPolicy === 'UpsertOnly';
  // Also where access is not known yet: the removal guard remembers what the backends were.
  const mayResolve = denied === undefined || denied.status === 'Unknown';
  const backends = mayResolve ? resolveBackends(snapshot, object, spec.value, settings) : [];
  const clientCertificate = mayResolve ? certificateOf(snapshot, object) : undefined;
  const vendor = snapshot.vendorOf(settings.type);
  const identity = { id, owner: ownerMark(owner, { retain }), section: vendor.section };
  const desired = buildUpstream(spec.value, identity, backends, [], clientCertificate);
  const problems = [
    ...foreignSections(spec.value, vendor),
    ...vendor.format.unsupported(desired.upstream, snapshot.gatewayInfo(connection)),
  ];
  const terms = termsOf(object, spec.value, settings, vendor);
  const evaluated = {
    kind: 'evaluated',
    spec: spec.value,
    id,
    owner,
    identity,
    terms,
    backends,
    clientCertificate,
  } as const;
  if (denied?.status === 'Unknown') {
    return { ...evaluated, accepted: denied, desired: { ...desired, action: 'wait' } };
  }
  if (denied !== undefined)
    return { ...evaluated, accepted: denied, desired: withoutNodes(desired, identity.owner) };
  if (problems.length > 0) {
    return { ...evaluated, accepted: unsupportedVerdict(problems), desired: { ...desired, action: 'wait' } };
  }
  return { ...evaluated, accepted: ACCEPTED, desired };
}

type UsableConnection =
  | { readonly ok: true; readonly connection: GatewayConnection; readonly settings: GatewayConnectionSpec }
  | { readonly ok: false; readonly message: string };

/** The connection of `object`, or why it cannot be used. */
function usableConnection({ connections }: Snapshot, object: GatewayUpstream): UsableConnection {
  const name = object.connection;
  const connection = connections.get('', name);
  if (connection === undefined) {
    return unusable(
      `GatewayConnection ${name} does not exist: create it, or refer to another one in a new object`,
    );
  }
  const { spec, deletionTimestamp } = connection;
  if (!spec.ok) return unusable(`GatewayConnection ${name} is not valid: ${spec.message}`);
  const patterns = patternProblem(spec.value.allowedNamespaces);
  if (patterns !== undefined) {
    return unusable(`GatewayConnection ${name} is not valid: spec.allowedNamespaces: ${patterns}`);
  }
  if (deletionTimestamp !== undefined && !object.finalizers.includes(UPSTREAM_FINALIZER)) {
    return unusable(
      `GatewayConnection ${name} is being deleted and accepts no new upstreams: refer to another one in a new object`,
    );
  }
  return { ok: true, connection, settings: spec.value };
}

function unusable(message: string): UsableConnection {
  return { ok: false, message };
}

/**
 * Whether the object's own upstream loses its nodes whatever the spec says: the connection does not allow the namespace,
 * and no setting of a tenant may keep what the platform team withdrew.
 */
export function isWithdrawn({ accepted }: Evaluated): boolean {
  return accepted.status === 'False' && accepted.reason === 'NamespaceNotAllowed';
}

/** Stands for a spec that is not valid: it asks for nothing. */
const NO_SPEC: GatewayUpstreamSpec = {
  ...gatewayUpstreamSchema([], []).parse({ backends: [{ serviceRef: { name: 'none', port: 1 } }] }),
  backends: [],
};

/** An object without a valid spec that the connection certainly denies; undefined where the spec decides. */
function withdrawn(snapshot: Snapshot, object: GatewayUpstream): Evaluated | undefined {
  const usable = usableConnection(snapshot, object);
  if (!usable.ok) return undefined;
  const { settings } = usable;
  const accepted = accessWithoutSpec(snapshot, object, settings);
  if (accepted === undefined) return undefined;
  const { namespace, name, status } = object;
  // The labels in the gateway decide whether that upstream is its own.
  const id = status?.upstreamId ?? defaultUpstreamId(settings.idPrefix, namespace, name);
  const owner = ownerOf(snapshot.clusterId, object);
  const vendor = snapshot.vendorOf(settings.type);
  const identity = { id, owner: ownerMark(owner, { retain: false }), section: vendor.section };
  return {
    kind: 'evaluated',
    accepted,
    spec: NO_SPEC,
    id,
    owner,
    identity,
    terms: termsOf(object, NO_SPEC, settings, vendor),
    backends: [],
    clientCertificate: undefined,
    desired: withoutNodes(buildUpstream(NO_SPEC, identity, [], [], undefined), identity.owner),
  };
}

/** An upstream that exists loses its nodes, and nothing else of it is written. */
function withoutNodes(desired: Desired, owner: OwnerMark): Desired {
  const { id, scheme } = desired.upstream;
  return {
    ...desired,
    action: 'onlyIfHeld',
    upstream: { id, owner, labels: {}, scheme, loadBalancing: { type: 'RoundRobin' }, nodes: [] },
  };
}

function unsupportedVerdict(problems: readonly Unsupported[]): Verdict {
  const all = problems.map(({ field, message }) => `${field} cannot be used because ${message}`).join('; ');
  return {
    status: 'False',
    reason: 'UnsupportedField',
    message: `${all}: change the spec, or upgrade the gateway; until then, the gateway's current configuration is unchanged, including its nodes`,
  };
}

function termsOf(
  { finalizers }: GatewayUpstream,
  { manage, adoptionPolicy }: GatewayUpstreamSpec,
  { tenantPolicy }: GatewayConnectionSpec,
  { ownership }: GatewayFacts,
): Terms {
  return {
    manage,
    mayAdopt: adoptionPolicy === 'IfUnowned' && tenantPolicy.adoption === 'Allow',
    // No labels say so, and the finalizer is put on right before the first write.
    keptBefore: manage === 'Nodes' && finalizers.includes(UPSTREAM_FINALIZER),
    marksIn: ownership.keptIn,
  };
}

function refuse(reason: Verdict['reason'], message: string): DesiredState {
  return { kind: 'refused', accepted: { status: 'False', reason, message } };
}
