import { createHash } from 'node:crypto';
import { GROUP, OPERATOR } from '../api/group.ts';
import type { ObjectKey } from '../model/keys.ts';
import type { ObservedUpstream, UpstreamId } from '../model/upstream.ts';
import { interned } from '../runtime/interned.ts';

/** Whose an upstream is. `cluster` is the `clusterId` of the operator. */
export interface Owner {
  readonly cluster: string;
  readonly connection: string;
  readonly namespace: string;
  readonly name: string;
}

const LABEL = {
  operator: `${GROUP}/operator`,
  cluster: `${GROUP}/cluster`,
  connection: `${GROUP}/connection`,
  namespace: `${GROUP}/namespace`,
  name: `${GROUP}/name`,
  deletionPolicy: `${GROUP}/deletion-policy`,
} as const;

const IDENTITY = [LABEL.operator, LABEL.cluster, LABEL.connection, LABEL.namespace, LABEL.name];

/** Ids and label values of the gateway hold 64 characters (APISIX; labels up to 256 in newer versions). */
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

/** The labels that say whose an upstream is, and what becomes of it if its object vanishes unseen. */
export function ownerLabels(owner: Owner, options: { readonly orphan: boolean }): Record<string, string> {
  return {
    [LABEL.operator]: OPERATOR,
    [LABEL.cluster]: shortenedWithHash(owner.cluster),
    [LABEL.connection]: shortenedWithHash(owner.connection),
    [LABEL.namespace]: owner.namespace,
    [LABEL.name]: shortenedWithHash(owner.name),
    // Written ahead of the deletion, so that Orphan needs no gateway that answers at that moment.
    ...(options.orphan ? { [LABEL.deletionPolicy]: 'Orphan' } : {}),
  };
}

/**
 * - `ours`: every label that identifies the owner is there and right.
 * - `stripped`: some of those labels are missing, none is wrong, and the gateway's create_time is the one that we
 *   know: the same object, overwritten by somebody. Still ours.
 * - `unowned`: it carries no label of this operator's domain, whoever made it.
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
  const expected = ownerLabels(owner, { orphan: false });
  let missing = false;
  for (const key of IDENTITY) {
    const value = observed.labels[key];
    if (value === undefined) missing = true;
    else if (value !== expected[key]) return 'foreign';
  }
  if (!missing) return 'ours';
  if (createTime !== undefined && observed.createTime === createTime) return 'stripped';
  return carriesOwnLabel(observed) ? 'foreign' : 'unowned';
}

/** Whether it carries any label of this operator's domain. */
export function carriesOwnLabel({ labels }: ObservedUpstream): boolean {
  return Object.keys(labels).some((key) => key.startsWith(`${GROUP}/`));
}

/** Says whose `observed` is, for a message. */
export function describeOwner(observed: ObservedUpstream): string {
  const { labels } = observed;
  if (labels[LABEL.operator] !== OPERATOR) return 'it carries no labels of this operator';
  if (IDENTITY.some((key) => labels[key] === undefined))
    return 'its labels do not say which object it belongs to';
  return `it belongs to ${labels[LABEL.namespace]}/${labels[LABEL.name]} of connection ${labels[LABEL.connection]} in cluster ${labels[LABEL.cluster]}`;
}

/** Whether the operator of `cluster` wrote `observed` through `connection`, for whichever object. */
export function isWrittenBy(observed: ObservedUpstream, cluster: string, connection: string): boolean {
  const { labels } = observed;
  return (
    labels[LABEL.operator] === OPERATOR &&
    labels[LABEL.cluster] === shortenedWithHash(cluster) &&
    labels[LABEL.connection] === shortenedWithHash(connection) &&
    labels[LABEL.namespace] !== undefined &&
    labels[LABEL.name] !== undefined
  );
}

/** The object that an upstream names, in the form of `labelledAs`; that of no object where it names none. */
export function labelledObject({ labels }: ObservedUpstream): ObjectKey {
  return `${labels[LABEL.namespace] ?? ''}/${labels[LABEL.name] ?? ''}`;
}

/** How the labels of an upstream name this object. */
export function labelledAs(namespace: string, name: string): ObjectKey {
  return `${namespace}/${shortenedWithHash(name)}`;
}

/** Whether the upstream was written to stay when its object goes. */
export function staysBehind(observed: ObservedUpstream): boolean {
  return observed.labels[LABEL.deletionPolicy] === 'Orphan';
}
