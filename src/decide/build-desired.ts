import type { GatewayConnectionSpec } from '../api/gateway-connection.ts';
import { type GatewayUpstreamSpec, gatewayUpstreamSchema } from '../api/gateway-upstream.ts';
import { UPSTREAM_FINALIZER } from '../api/group.ts';
import type { GatewayFacts, Unsupported } from '../model/gateway.ts';
import type { FoundKeyPair } from '../model/key-pair.ts';
import type { GatewayConnection, GatewayUpstream } from '../model/objects.ts';
import type { OwnerMark } from '../model/ownership.ts';
import type { UpstreamId } from '../model/upstream.ts';
import type { Verdict } from '../model/verdict.ts';
import { backendsMark } from './backend-marks.ts';
import type { ResolvedBackend } from './backends.ts';
import { buildUpstream, type Identity } from './build-upstream.ts';
import { certificateOf } from './certificates.ts';
import type { Terms } from './change.ts';
import type { Desired } from './desired.ts';
import { foreignSections } from './foreign-sections.ts';
import { wantedId } from './id-conflicts.ts';
import { idProblem } from './id-problem.ts';
import { isUnlisted } from './last-answers.ts';
import { accessOf, accessWithoutSpec } from './object-access.ts';
import { ownerOf } from './owner.ts';
import { defaultUpstreamId, type Owner, ownerMark } from './ownership.ts';
import { resolveBackends } from './resolve-backends.ts';
import { patternProblem } from './selectors.ts';
import type { Snapshot } from './snapshot.ts';

/** The desired state of an object. */
export type DesiredState =
  /** The spec or the connection is unusable; the gateway stays unchanged. */
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
      /** The desired upstream before the removal guard. */
      readonly desired: Desired;
    };

export type Evaluated = Extract<DesiredState, { kind: 'evaluated' }>;

const ACCEPTED: Verdict = {
  status: 'True',
  reason: 'Accepted',
  message: 'The spec is valid and the connection allows it',
};

/** Builds the desired state of `object` from the snapshot. */
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
  // With UpsertOnly the operator deletes nothing, not even by orphan collection.
  const retain = deletionPolicy === 'Orphan' || syncPolicy === 'UpsertOnly';
  // Resolve also while access is unknown, because the removal guard records the state of the backends.
  const mayResolve = denied === undefined || denied.status === 'Unknown';
  const backends = mayResolve ? resolveBackends(snapshot, object, spec.value, settings) : [];
  const clientCertificate = mayResolve ? certificateOf(snapshot, object) : undefined;
  const vendor = snapshot.vendorOf(settings.type);
  const identity = identityIn(vendor, id, ownerMark(owner, { retain }), backends);
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

function identityIn(
  { section, format }: GatewayFacts,
  id: UpstreamId,
  owner: OwnerMark,
  resolved: readonly ResolvedBackend[],
) {
  const { keepsBackendMarks } = format;
  const targets = resolved.map(({ target }) => target);
  const backends = backendsMark(targets, keepsBackendMarks, (index) => isUnlisted(resolved[index]));
  return {
    id,
    owner: backends === undefined ? owner : { ...owner, backends },
    section,
    keepsBackendMarks,
  };
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
 * Whether the connection no longer allows the namespace. The object's own upstream then loses its nodes, whatever the spec
 * says, so that no tenant setting can bypass the platform team.
 */
export function isWithdrawn({ accepted }: Evaluated): boolean {
  return accepted.status === 'False' && accepted.reason === 'NamespaceNotAllowed';
}

/** An empty spec in place of an invalid one. */
const NO_SPEC: GatewayUpstreamSpec = {
  ...gatewayUpstreamSchema([], []).parse({ backends: [{ serviceRef: { name: 'none', port: 1 } }] }),
  backends: [],
};

/** The desired state of an object with an invalid spec that the connection denies; undefined if that depends on the spec. */
function withdrawn(snapshot: Snapshot, object: GatewayUpstream): Evaluated | undefined {
  const usable = usableConnection(snapshot, object);
  if (!usable.ok) return undefined;
  const { settings } = usable;
  const accepted = accessWithoutSpec(snapshot, object, settings);
  if (accepted === undefined) return undefined;
  const { namespace, name, status } = object;
  // The ownership labels in the gateway decide whether the object owns this upstream.
  const id = status?.upstreamId ?? defaultUpstreamId(settings.idPrefix, namespace, name);
  const owner = ownerOf(snapshot.clusterId, object);
  const vendor = snapshot.vendorOf(settings.type);
  const identity = identityIn(vendor, id, ownerMark(owner, { retain: false }), []);
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

/** An existing upstream loses its nodes; its other fields are not written. */
function withoutNodes(desired: Desired, owner: OwnerMark): Desired {
  const { id, scheme } = desired.upstream;
  return {
    ...desired,
    action: 'onlyIfPresent',
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
    // With manage Nodes there are no ownership labels; the finalizer is added right before the first write.
    keptBefore: manage === 'Nodes' && finalizers.includes(UPSTREAM_FINALIZER),
    marksIn: ownership.keptIn,
  };
}

function refuse(reason: Verdict['reason'], message: string): DesiredState {
  return { kind: 'refused', accepted: { status: 'False', reason, message } };
}
