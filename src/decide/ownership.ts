import { createHash } from 'node:crypto';
import { OPERATOR } from '../api/group.ts';
import type { ObjectKey } from '../model/keys.ts';
import { IDENTITY, type OwnerMark } from '../model/ownership.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { interned } from '../runtime/interned.ts';

/** Whose an upstream is. `cluster` is the `clusterId` of the operator. */
export interface Owner {
  readonly cluster: string;
  readonly connection: string;
  readonly namespace: string;
  readonly name: string;
}

/** An id and every part of a mark have at most so many characters, which every gateway can keep. */
const MAX_LENGTH = 64;

/** `text`, or its first 55 characters, `-` and 8 hexadecimal digits of the SHA-256 of all of it. */
function shortenedWithHash(text: string): string {
  if (text.length <= MAX_LENGTH) return text;
  return `${text.slice(0, 55)}-${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
}

/** What every id in `namespace` begins with, where the connection keeps tenants apart by prefix. */
export function idPrefixOf(idPrefix: string, namespace: string): string {
  return `${idPrefix}${namespace}.`;
}

/** The id of an upstream whose spec names none. */
export function defaultUpstreamId(idPrefix: string, namespace: string, name: string): UpstreamId {
  return interned(shortenedWithHash(`${idPrefixOf(idPrefix, namespace)}${name}`));
}

/** How the gateway marks an upstream of `owner`. `retain`: it stays when its object goes unseen. */
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
 * - `ours`: every part of the mark that identifies the owner is there and right.
 * - `stripped`: some of those parts are missing, none is wrong, and the gateway's create_time is the one that we
 *   know: the same object, overwritten by another client. Still ours.
 * - `unowned`: it carries no mark of this operator, whoever made it.
 * - `foreign`: anything else.
 */
export type Ownership = 'absent' | 'ours' | 'stripped' | 'unowned' | 'foreign';

/** Whether the owner wrote it, so that it may be replaced and deleted. */
export function isOwn(ownership: Ownership): boolean {
  return ownership === 'ours' || ownership === 'stripped';
}

/** `createTime`: the create_time (seconds) that the last accepted write of this owner was answered with. */
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

/** Whether it carries any mark of this operator. */
export function isMarked({ owner }: ObservedUpstream): boolean {
  return owner !== undefined;
}

/** Says whose an upstream is, for a message. `keptIn`: what the gateway keeps the mark in, e.g. `labels`. */
export function describeOwner({ owner }: ObservedUpstream, keptIn: string): string {
  if (owner?.operator !== OPERATOR) return `it has no ownership ${keptIn} of this operator`;
  if (IDENTITY.some((part) => owner[part] === undefined)) return `its ownership ${keptIn} are incomplete`;
  return `it is owned by ${owner.namespace}/${owner.name} of connection ${owner.connection} in cluster ${owner.cluster}`;
}

/** Whether the operator of `cluster` wrote it through `connection`, for whichever object. */
export function isWrittenBy({ owner }: ObservedUpstream, cluster: string, connection: string): boolean {
  return (
    owner?.operator === OPERATOR &&
    owner.cluster === shortenedWithHash(cluster) &&
    owner.connection === shortenedWithHash(connection) &&
    owner.namespace !== undefined &&
    owner.name !== undefined
  );
}

/** The object that an upstream names, in the form of `markedAs`; that of no object where it names none. */
export function markedObject({ owner }: ObservedUpstream): ObjectKey {
  return `${owner?.namespace ?? ''}/${owner?.name ?? ''}`;
}

/** How the mark of an upstream names this object. */
export function markedAs(namespace: string, name: string): ObjectKey {
  return `${namespace}/${shortenedWithHash(name)}`;
}

/** Whether the upstream was written to stay when its object goes. */
export function isRetained({ owner }: ObservedUpstream): boolean {
  return owner?.retain === true;
}
