import { createHash } from 'node:crypto';
import { OPERATOR } from '../api/group.ts';
import type { ObjectKey } from '../model/keys.ts';
import { IDENTITY, type OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { interned } from '../runtime/interned.ts';

/** The owner of an upstream. `cluster` is the `clusterId` of the operator. */
export interface Owner {
  readonly cluster: string;
  readonly connection: string;
  readonly namespace: string;
  readonly name: string;
}

/** The maximum length of an id and of each ownership label, which every gateway can store. */
const MAX_LENGTH = 64;

/** `text`; if too long, its first 55 characters, `-` and 8 hexadecimal digits of its SHA-256. */
function shortenedWithHash(text: string): string {
  if (text.length <= MAX_LENGTH) return text;
  return `${text.slice(0, 55)}-${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
}

/** The required prefix of upstream ids in `namespace` with `tenantPolicy.upstreamIds: Prefixed`. */
export function idPrefixOf(idPrefix: string, namespace: string): string {
  return `${idPrefix}${namespace}.`;
}

/** The upstream id if the spec sets none. */
export function defaultUpstreamId(idPrefix: string, namespace: string, name: string): UpstreamId {
  return interned(shortenedWithHash(`${idPrefixOf(idPrefix, namespace)}${name}`));
}

/** The ownership labels for `owner`. `retain`: the upstream stays after its object is deleted. */
export function ownerMark(owner: Owner, { retain }: { readonly retain: boolean }): OwnerMark {
  return {
    operator: OPERATOR,
    cluster: shortenedWithHash(owner.cluster),
    connection: shortenedWithHash(owner.connection),
    namespace: owner.namespace,
    name: shortenedWithHash(owner.name),
    retain,
  };
}

/**
 * - `ours`: all ownership labels are present and match the owner.
 * - `stripped`: some ownership labels are missing, none differs, and create_time equals the recorded one. Another client
 *   overwrote the upstream. It is still owned.
 * - `unowned`: the upstream has no ownership labels of this operator.
 * - `foreign`: anything else.
 */
export type Ownership = 'absent' | 'ours' | 'stripped' | 'unowned' | 'foreign';

/** Whether the owner may replace and delete the upstream. */
export function isOwn(ownership: Ownership): boolean {
  return ownership === 'ours' || ownership === 'stripped';
}

/** `createTime`: the create_time (seconds) in the response to this owner's last accepted write. */
export function ownershipOf(
  observed: ObservedUpstream | undefined,
  owner: Owner,
  createTime: number | undefined,
): Ownership {
  if (observed === undefined) return 'absent';
  const expected = ownerMark(owner, { retain: false });
  let missing = false;
  for (const part of IDENTITY) {
    const value = observed.owner?.[part];
    if (value === undefined) missing = true;
    else if (value !== expected[part]) return 'foreign';
  }
  if (!missing) return 'ours';
  if (createTime !== undefined && observed.createTime === createTime) return 'stripped';
  return isMarked(observed) ? 'foreign' : 'unowned';
}

/** Whether the upstream has any ownership label of this operator. */
export function isMarked({ owner }: ObservedUpstream): boolean {
  return owner !== undefined;
}

/** Describes the owner of an upstream for a message. `keptIn`: where the gateway stores ownership, e.g. `labels`. */
export function describeOwner({ owner }: ObservedUpstream, keptIn: string): string {
  if (owner?.operator !== OPERATOR) return `it has no ownership ${keptIn} of this operator`;
  if (IDENTITY.some((part) => owner[part] === undefined)) return `its ownership ${keptIn} are incomplete`;
  return `it is owned by ${owner.namespace}/${owner.name} of connection ${owner.connection} in cluster ${owner.cluster}`;
}

/** Whether the operator of `cluster` wrote the upstream through `connection`, for any object. */
export function isWrittenBy({ owner }: ObservedUpstream, cluster: string, connection: string): boolean {
  return (
    owner?.operator === OPERATOR &&
    owner.cluster === shortenedWithHash(cluster) &&
    owner.connection === shortenedWithHash(connection) &&
    owner.namespace !== undefined &&
    owner.name !== undefined
  );
}

/** The object that the ownership labels name, in the form of `markedAs`; `/` without ownership labels. */
export function markedObject({ owner }: ObservedUpstream): ObjectKey {
  return `${owner?.namespace ?? ''}/${owner?.name ?? ''}`;
}

/** The key of an object as in ownership labels. */
export function markedAs(namespace: string, name: string): ObjectKey {
  return `${namespace}/${shortenedWithHash(name)}`;
}

/** Whether the upstream stays after its object is deleted. */
export function isRetained({ owner }: ObservedUpstream): boolean {
  return owner?.retain === true;
}
